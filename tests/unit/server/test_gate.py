"""What every request passes: the Host header, the key, the limits; and what happens when somebody goes away."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from openai import AuthenticationError, OpenAI
from parrot import Parrot, Serve, talk

from tunewright.errors import GateError, InputError, MachineError
from tunewright.server.following import following
from tunewright.server.limits import Limits
from tunewright.server.listen import check_address, listening, read_key
from tunewright.server.served import Model, Served

KEY = "a-long-enough-key"


def ask(address: str, **body: Any) -> httpx2.Response:
    return httpx2.post(f"{address}/v1/completions", json={"prompt": "x", **body}, timeout=20)


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# ----------------------------------------------------------------------------------------------------------------- limits


def test_each_limit_has_its_status(serve: Serve, talking: Model) -> None:
    limits = {"max_body_bytes": 300, "max_batch": 2, "max_input_tokens": 20, "max_tokens": 6}
    with serve(talking, **limits) as address:
        assert ask(address, prompt="x" * 300).status_code == 413
        assert ask(address, prompt=["a", "b", "c"]).json()["error"]["param"] == "prompt"
        assert ask(address, prompt="x" * 21).json()["error"]["code"] == "context_length_exceeded"
        assert ask(address, max_tokens=7).json()["error"]["param"] == "max_tokens"
        assert ask(address).json()["choices"][0]["text"] == "Hello ", "the limit is the default"
        assert ask(address, prompt="").status_code == 400


def test_a_body_without_a_length_is_counted(serve: Serve, talking: Model) -> None:
    with serve(talking, max_body_bytes=300) as address:
        for size, status in ((100, 200), (400, 413)):
            content = iter([b'{"prompt": "', b"x" * size, b'"}'])
            answer = httpx2.post(
                f"{address}/v1/completions", content=content, headers={"content-type": "application/json"}
            )
            assert answer.status_code == status


def test_a_prompt_and_its_answer_fit_into_the_model(serve: Serve, talking: Model, parrot: Parrot) -> None:
    with serve(replace(talking, context_tokens=10)) as address:
        assert ask(address, prompt="x" * 7).json()["choices"][0]["text"] == "Hel"
        assert ask(address, prompt="x" * 7, max_tokens=4).status_code == 400
        assert ask(address, prompt="x" * 10).status_code == 400


def test_texts_to_classify_are_limited(serve: Serve, labelling: Model) -> None:
    with serve(labelling, max_batch=2, max_input_tokens=8) as address:
        for given, status in ((["a", "b"], 200), (["a", "b", "c"], 400), ("good " * 10, 400)):
            assert httpx2.post(f"{address}/v1/classify", json={"input": given}).status_code == status


def test_one_request_too_many_is_told_to_wait(serve: Serve, talking: Model, parrot: Parrot) -> None:
    parrot.may_go.clear()
    with serve(talking, max_requests=2) as address, ThreadPoolExecutor(2) as clients:
        waiting = [clients.submit(ask, address) for _ in range(2)]
        until(lambda: parrot.under_way == 2)
        refused = ask(address)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert httpx2.get(f"{address}/v1/models").status_code == 200, "a look takes no place"
        parrot.may_go.set()
        assert [one.result().status_code for one in waiting] == [200, 200]
        assert ask(address).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_takes_too_long_ends(stream: bool, serve: Serve, talking: Model, parrot: Parrot) -> None:
    parrot.pause = 0.1
    with serve(talking, max_seconds=0.3) as address:
        answer = ask(address, stream=stream)
        assert answer.status_code == (200 if stream else 504)
        assert '"code": "timeout"' in answer.text
        assert "[DONE]" not in answer.text
        until(lambda: parrot.under_way == 0)


def test_a_body_that_does_not_arrive_is_given_up(serve: Serve, talking: Model) -> None:
    with serve(talking, max_seconds=0.3) as address:
        answer = raw(address, b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert ask(address).status_code == 200


def raw(address: str, request: bytes) -> bytes:
    """The first bytes that come back."""
    place = urlsplit(address)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=10) as connection:
        connection.sendall(request)
        return connection.recv(4096)


# ------------------------------------------------------------------------------------------------------------ going away


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_ends_its_generation(
    stream: bool, serve: Serve, talking: Model, parrot: Parrot
) -> None:
    parrot.pause = 0.05
    body = json.dumps({"prompt": "x", "stream": stream}).encode()
    with serve(talking) as address:
        place = urlsplit(address)
        connection = socket.create_connection((place.hostname or "", place.port or 0))
        head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        until(lambda: parrot.under_way == 1)
        started = time.monotonic()
        connection.close()
        until(lambda: parrot.under_way == 0)
        assert time.monotonic() - started < len(parrot.reply.encode()) * parrot.pause / 2
        parrot.pause = 0
        assert ask(address).status_code == 200


def test_a_server_that_ends_lets_go_of_what_is_under_way(serve: Serve, talking: Model, parrot: Parrot) -> None:
    parrot.pause = 0.01
    with ThreadPoolExecutor(1) as clients:
        with serve(talking) as address:
            waiting = clients.submit(ask, address)
            until(lambda: parrot.under_way == 1)
        assert waiting.result().status_code == 200, "there is time to finish"
    assert parrot.is_closed
    with pytest.raises(httpx2.ConnectError):
        ask(address)


# ------------------------------------------------------------------------------------------------------------- exchanged


def test_the_model_is_exchanged_between_requests(serve: Serve, talking: Model, parrot: Parrot, tokenizer: Any) -> None:
    served = Served(talking)
    newer = Parrot(tokenizer, "新")
    parrot.may_go.clear()
    with serve(served) as address, ThreadPoolExecutor(1) as clients:
        old = clients.submit(ask, address)
        until(lambda: parrot.under_way == 1)
        served.replace(replace(talking, conversation=talk(newer)))
        assert ask(address).json()["choices"][0]["text"] == "新"
        assert not parrot.is_closed, "a request is under way on it"
        parrot.may_go.set()
        assert old.result().json()["choices"][0]["text"] == parrot.reply
        until(lambda: parrot.is_closed)
        assert not newer.is_closed
    assert newer.is_closed


def test_a_server_follows_what_is_live_and_passes_over_what_does_not_open(
    serve: Serve, talking: Model, tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    live = 1

    def open_live() -> Model:
        if live == 2:
            raise MachineError("damaged")
        return replace(talking, conversation=talk(Parrot(tokenizer, f"第{live}")))

    served = Served(talking)
    with serve(served) as address, following(served, lambda: live, open_live, known=1, seconds_between=0.01):
        live = 2
        until(lambda: "damaged" in caplog.text)
        assert "Bye" in ask(address).json()["choices"][0]["text"]
        live = 3
        until(lambda: ask(address).json()["choices"][0]["text"] == "第3")


def test_leases_and_exchanges_from_many_threads_close_every_model_once(talking: Model, tokenizer: Any) -> None:
    parrots = [Parrot(tokenizer) for _ in range(50)]
    models = [replace(talking, name=str(n), conversation=talk(one)) for n, one in enumerate(parrots)]
    served = Served(models[0])
    wrong: list[str] = []

    def lease() -> None:
        for _ in range(300):
            with served.lease() as model:
                if parrots[int(model.name)].is_closed:
                    wrong.append(model.name)

    threads = [threading.Thread(target=lease) for _ in range(4)]
    for thread in threads:
        thread.start()
    for model in models[1:]:
        served.replace(model)
    for thread in threads:
        thread.join()
    assert not wrong
    assert [one.is_closed for one in parrots] == [True] * 49 + [False]


# ------------------------------------------------------------------------------------------------------------- who comes


def test_a_key_is_asked_for_where_there_is_one(serve: Serve, talking: Model) -> None:
    with serve(talking, key=KEY) as address:
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": KEY},
            {"authorization": f"Basic {KEY}"},
        ):
            answer = httpx2.get(f"{address}/v1/models", headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert httpx2.get(f"{address}/openapi.json").status_code == 401
        assert httpx2.get(f"{address}/health").json() == {"status": "ok"}
        with (
            OpenAI(base_url=f"{address}/v1", api_key=KEY) as right,
            OpenAI(base_url=f"{address}/v1", api_key="k") as wrong,
        ):
            assert right.models.list().data[0].id == "parrot"
            with pytest.raises(AuthenticationError):
                wrong.models.list()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:1234", 200),
        ("[::1]:8000", 200),
        ("LOCALHOST:80", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example:80", 403),
        ("evil.example:127.0.0.1", 403),
        ("", 403),
    ],
)
def test_a_name_bound_anew_is_seen_through(host: str, status: int, client: httpx2.Client) -> None:
    assert client.get("/v1/models", headers={"host": host}).status_code == status


def test_other_interfaces_need_a_key() -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8"):
        assert check_address(host, None)[1] >= {"localhost", "127.0.0.1"}
    for host in ("0.0.0.0", "::", "192.168.1.5"):
        with pytest.raises(GateError) as caught:
            check_address(host, None)
        assert "--key-file" in caught.value.hint
        assert check_address(host, KEY)[1] == frozenset()
    with pytest.raises(InputError, match="not an address"):
        check_address("example.org", KEY)


def test_a_key_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n", encoding="utf-8")
    assert read_key(file, {}) == KEY
    assert read_key(None, {"TUNEWRIGHT_SERVER_KEY": KEY}) == KEY
    assert read_key(None, {}) is None
    for bad in ("", "short", "with a space in it 123", "密钥密钥密钥密钥密钥密钥密钥密钥"):
        file.write_text(bad, encoding="utf-8")
        with pytest.raises(InputError) as caught:
            read_key(file, {})
        assert not bad or bad not in str(caught.value)
    with pytest.raises(InputError, match="cannot be read"):
        read_key(tmp_path / "none", {})


def test_a_taken_port_is_said(serve: Serve, talking: Model) -> None:
    with serve(talking) as address:
        port = urlsplit(address).port or 0
        with (
            pytest.raises(InputError, match="cannot be listened on"),
            listening(Served(talking), Limits.Config(), port=port),
        ):
            pass


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from tunewright.server.listen import require_extra

    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(InputError) as caught:
        require_extra()
    assert caught.value.hint == "pip install 'tunewright[serve]'"
