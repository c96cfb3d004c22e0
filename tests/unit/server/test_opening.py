"""What is served: a base with the real engine, what cannot answer, and the command that does it."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest
from parrot import Serve

from tunewright.cli.serve import example
from tunewright.errors import CorruptError, InputError
from tunewright.server.opening import open_folder, open_model

if TYPE_CHECKING:
    from conftest import StartProcess


def test_a_base_answers_through_the_real_engine(serve: Serve, tiny_llama_folder: Path) -> None:
    model = open_model(str(tiny_llama_folder))
    assert (model.name, model.context_tokens) == (tiny_llama_folder.name, 128)
    with serve(model, max_tokens=20) as address:
        body = {"messages": [{"role": "user", "content": "你好"}], "max_tokens": 12, "temperature": 1, "seed": 4}
        answers = [httpx2.post(f"{address}/v1/chat/completions", json=body).json()["choices"][0] for _ in range(2)]
        assert answers[0] == answers[1], "the same seed"
        with httpx2.stream("POST", f"{address}/v1/chat/completions", json={**body, "stream": True}) as streamed:
            events = [line.removeprefix("data: ") for line in streamed.iter_lines() if line][:-1]
        pieces = [json.loads(event)["choices"][0] for event in events]
        assert "".join(piece["delta"]["content"] for piece in pieces) == answers[0]["message"]["content"]
        assert pieces[-1]["finish_reason"] == answers[0]["finish_reason"]
        long = httpx2.post(f"{address}/v1/completions", json={"prompt": "x" * 128})
        assert (long.status_code, long.json()["error"]["code"]) == (400, "context_length_exceeded")


def test_what_cannot_answer_is_refused(tiny_bert_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to answer with"):
        open_model(str(tiny_bert_folder))
    with pytest.raises(InputError):
        open_model("no-such-model")
    with pytest.raises(InputError):
        open_model(str(tmp_path / "nowhere"))


def test_a_damaged_model_is_not_served(classifier_folder: Path, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(classifier_folder, tmp_path / "model"))
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(CorruptError, match="damaged"):
        open_folder(folder, "x")


@pytest.mark.parametrize(
    ("key_file", "shown"),
    [
        (None, "Bearer $TUNEWRIGHT_SERVER_KEY"),
        (Path("server.key"), "Bearer $(cat server.key)"),
        (Path("my 密钥"), "Bearer $(cat 'my 密钥')"),
    ],
)
def test_the_example_takes_the_key_from_where_it_is(key_file: Path | None, shown: str, classifier_folder: Path) -> None:
    model = open_folder(classifier_folder, "x")
    assert f'-H "Authorization: {shown}"' in example(model, "http://x", needs_key=True, key_file=key_file)
    assert "Bearer" not in example(model, "http://x", needs_key=False, key_file=None)


def test_the_command_serves_until_it_is_interrupted(classifier_folder: Path, start_process: StartProcess) -> None:
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "tunewright",
        "serve",
        str(classifier_folder),
        "--port",
        "0",
        "--json",
    ]
    process = start_process(*command, environment={"TUNEWRIGHT_SERVER_KEY": "a-long-enough-key"})
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    assert said.get("needs_key"), said
    assert {"english", "chinese"} <= set(said["golden"])
    headers = {"authorization": "Bearer a-long-enough-key"}
    answer = httpx2.post(f"{said['address']}/v1/classify", json={"input": "好看"}, headers=headers)
    assert answer.json()["results"][0]["label"] in ("bad", "好")
    assert httpx2.get(f"{said['address']}/v1/models").status_code == 401
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")
