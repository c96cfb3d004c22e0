"""The routes over a real socket: OpenAI's form by OpenAI's own client, in both languages, whole and in pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from openai import APIError, BadRequestError, NotFoundError, OpenAI
from parrot import CONTEXT, REPLY, Parrot, Serve

from tunewright.errors import MachineError
from tunewright.server.served import Model

HELLO: list[Any] = [{"role": "user", "content": "你好 👋"}]


@pytest.fixture
def openai(client: httpx2.Client) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{client.base_url}/v1", api_key="unused", max_retries=0) as made:
        yield made


# ---------------------------------------------------------------------------------------------------------------- chat


def test_the_official_client_chats(openai: OpenAI, parrot: Parrot) -> None:
    answer = openai.chat.completions.create(model="parrot", messages=HELLO, seed=5, temperature=0.5, user="x")
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (REPLY, "stop")
    assert (answer.model, answer.object) == ("parrot", "chat.completion")
    prompt, sampling = parrot.asked[0]
    assert parrot.tokenizer.decode(prompt) == "user: 你好 👋\nassistant:"
    assert (sampling.seed, sampling.temperature, sampling.max_tokens) == (5, 0.5, 1024)
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (len(prompt), len(REPLY.encode()))


def test_the_official_client_streams_whole_characters(openai: OpenAI) -> None:
    pieces = list(
        openai.chat.completions.create(
            model="parrot", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    texts = [piece.choices[0].delta.content or "" for piece in pieces if piece.choices]
    assert "".join(texts) == REPLY
    assert "你" in texts, "three bytes, three tokens, one piece"
    assert not any("\ufffd" in text for text in texts)
    assert len(texts) > 10
    assert pieces[0].choices[0].delta.role == "assistant"
    assert [piece.choices[0].finish_reason for piece in pieces if piece.choices][-1] == "stop"
    assert pieces[-1].usage is not None
    assert pieces[-1].usage.completion_tokens == len(REPLY.encode())


def test_a_stream_ends_as_openai_ends_it(client: httpx2.Client) -> None:
    body = {"messages": HELLO, "stream": True, "max_tokens": 2}
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = [line for line in answer.iter_lines() if line]
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    assert json.loads(lines[-2].removeprefix("data: "))["choices"][0]["finish_reason"] == "length"


def test_messages_in_parts_and_a_developer_are_read(client: httpx2.Client, parrot: Parrot) -> None:
    parts = [{"type": "text", "text": "天"}, {"type": "text", "text": "气"}]
    messages = [{"role": "developer", "content": "short"}, {"role": "user", "content": parts}]
    assert client.post("/v1/chat/completions", json={"messages": messages}).status_code == 200
    assert parrot.tokenizer.decode(parrot.asked[0][0]) == "system: short\nuser: 天气\nassistant:"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("stop", "text"), [("你好", "Hello 👩‍👩‍👧‍👦, "), (["Bye", "llo"], "He"), ("nowhere", REPLY), ("Bye..", REPLY)]
)
def test_a_stop_text_ends_the_answer_before_it(
    stop: Any, text: str, stream: bool, openai: OpenAI, parrot: Parrot
) -> None:
    if stream:
        pieces = openai.chat.completions.create(model="parrot", messages=HELLO, stop=stop, stream=True)
        told = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    else:
        answer = openai.chat.completions.create(model="parrot", messages=HELLO, stop=stop)
        told = answer.choices[0].message.content or ""
    assert told == text
    assert parrot.under_way == 0


def test_an_answer_cut_in_a_character_tells_what_there_is(client: httpx2.Client) -> None:
    answer = client.post("/v1/chat/completions", json={"messages": HELLO, "max_tokens": 8}).json()
    assert answer["choices"][0]["message"]["content"] == "Hello \ufffd"
    assert answer["choices"][0]["finish_reason"] == "length"


# --------------------------------------------------------------------------------------------------------- completions


def test_the_official_client_completes_several_prompts(openai: OpenAI, parrot: Parrot) -> None:
    answer = openai.completions.create(model="parrot", prompt=["一", "two"], max_tokens=5)
    assert [(choice.index, choice.text) for choice in answer.choices] == [(0, "Hello"), (1, "Hello")]
    assert sorted(parrot.tokenizer.decode(ids) for ids, _ in parrot.asked) == ["two", "一"]
    assert answer.usage is not None
    assert answer.usage.total_tokens == 3 + 3 + 10
    pieces = list(openai.completions.create(model="parrot", prompt=["一", "two"], max_tokens=5, stream=True))
    for index in (0, 1):
        assert "".join(piece.choices[0].text for piece in pieces if piece.choices[0].index == index) == "Hello"


# --------------------------------------------------------------------------------------------------------------- labels


def test_texts_are_classified_as_by_predict(serve: Serve, labelling: Model) -> None:
    texts = ["a good film", "<b>这部电影很好看</b>", "", " ", "long " * 40]
    with serve(labelling) as address:
        answer = httpx2.post(f"{address}/v1/classify", json={"input": texts}).json()
        one = httpx2.post(f"{address}/v1/classify", json={"input": "a good film", "model": "标签"}).json()
        chat = httpx2.post(f"{address}/v1/chat/completions", json={"messages": HELLO})
    results = answer["results"]
    assert [each["index"] for each in results] == [0, 1, 2, 3, 4]
    assert (answer["thresholds"], answer["out_of_scope"]) == ({"好": 0.3}, None)
    for each in (results[0], results[1], results[4]):
        assert sum(each["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert each["label"] == ("好" if each["probabilities"]["好"] >= 0.3 else "bad"), "the run's threshold"
        assert each["confidence"] == each["probabilities"][each["label"]]
    assert [each["label"] for each in results[2:4]] == [None, None]
    assert [each["truncated"] for each in results] == [False, False, False, False, True]
    assert one["results"][0]["probabilities"]["好"] == pytest.approx(results[0]["probabilities"]["好"], abs=1e-5)
    assert chat.status_code == 404
    assert "/v1/classify" in chat.json()["error"]["message"]


# --------------------------------------------------------------------------------------------------- what else there is


def test_models_and_health(openai: OpenAI, client: httpx2.Client) -> None:
    assert [model.id for model in openai.models.list()] == ["parrot"]
    assert openai.models.retrieve("parrot").owned_by == "tunewright"
    assert client.get("/v1/models").json()["data"][0]["answers"] == ["chat", "completions"]
    assert client.get("/health").json() == {"status": "ok"}
    with pytest.raises(NotFoundError):
        openai.models.retrieve("macaw")
    with pytest.raises(NotFoundError) as caught:
        openai.chat.completions.create(model="macaw", messages=HELLO)
    assert caught.value.code == "model_not_found"
    assert "parrot" in str(caught.value)


def test_sixteen_clients_at_once_each_get_their_own_answer(client: httpx2.Client, parrot: Parrot) -> None:
    def ask(number: int) -> str:
        body = {"prompt": f"第{number}", "stream": number % 2 == 0}
        answer = client.post("/v1/completions", json=body)
        assert answer.status_code == 200
        return answer.text

    with ThreadPoolExecutor(16) as clients:
        texts = list(clients.map(ask, range(16)))
    assert all("Bye" in text or '"B"' in text for text in texts)
    assert sorted(parrot.tokenizer.decode(ids) for ids, _ in parrot.asked) == sorted(f"第{n}" for n in range(16))
    assert parrot.under_way == 0


# -------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format.type"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"temperatur": 1}, "temperatur"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 5000}, "max_completion_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": "长" * CONTEXT}]}, "messages"),
        ({"stop": ["a"] * 5}, "stop"),
    ],
)
def test_what_would_silently_be_broken_is_refused(change: dict[str, Any], param: str, openai: OpenAI) -> None:
    with pytest.raises(BadRequestError) as caught:
        openai.chat.completions.create(model="parrot", messages=HELLO, extra_body=change)
    assert str(caught.value.param).startswith(param)
    assert caught.value.type == "invalid_request_error"
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize(
    "change",
    [
        {"n": 1, "logprobs": False, "tools": [], "logit_bias": {}, "presence_penalty": 0, "frequency_penalty": 0.0},
        {"user": "x", "metadata": {"a": "b"}, "store": True, "service_tier": "auto", "parallel_tool_calls": False},
        {"temperature": None, "stop": None, "max_tokens": None, "stream": None, "seed": None},
        {"seed": -(2**63), "temperature": 2, "top_p": 1e-9, "top_k": 3},
        {"response_format": {"type": "text"}, "tool_choice": "none", "modalities": ["text"]},
    ],
)
def test_what_changes_nothing_is_taken(change: dict[str, Any], client: httpx2.Client) -> None:
    answer = client.post("/v1/chat/completions", json={"messages": HELLO, **change})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"[]", "application/json"),
        (b"null", "application/json"),
        (b'"x"', "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"messages": ' + b"9" * 5000 + b"}", "application/json"),
        (b'{"messages": NaN}', "application/json"),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', "application/json"),
        (b'{"\\ud800": 1}', "application/json"),
        (json.dumps({"messages": HELLO}).encode(), "text/plain"),
        (json.dumps({"messages": HELLO}).encode(), "application/x-www-form-urlencoded"),
        (json.dumps({"messages": HELLO}).encode(), "nonsense"),
    ],
)
def test_a_malformed_body_is_explained(content: bytes, kind: str, client: httpx2.Client) -> None:
    answer = client.post("/v1/chat/completions", content=content, headers={"content-type": kind})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_unknown_routes_and_methods_have_the_same_form(client: httpx2.Client) -> None:
    for method, path, status in (
        ("GET", "/", 404),
        ("GET", "/docs", 404),
        ("GET", "/v1/models/", 404),
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models", 405),
        ("OPTIONS", "/v1/completions", 405),
    ):
        answer = client.request(method, path)
        assert answer.status_code == status, (method, path)
        assert answer.json()["error"]["message"]
        assert "access-control-allow-origin" not in answer.headers
    assert client.put("/v1/models").headers["allow"] == "GET"


@pytest.mark.parametrize("stream", [False, True])
def test_an_engine_that_fails_is_told_without_its_secrets(stream: bool, client: httpx2.Client, parrot: Parrot) -> None:
    parrot.fails = RuntimeError("a secret path")
    answer = client.post("/v1/completions", json={"prompt": "x", "stream": stream})
    assert answer.status_code == (200 if stream else 500)
    assert "secret" not in answer.text
    assert "server_error" in answer.text
    assert "[DONE]" not in answer.text
    parrot.fails = MachineError("out of memory")
    assert client.post("/v1/completions", json={"prompt": "x"}).status_code == 503


def test_the_official_client_hears_of_a_failing_stream(openai: OpenAI, parrot: Parrot) -> None:
    parrot.fails = MachineError("out of memory")
    with pytest.raises(APIError, match="out of memory"):
        list(openai.completions.create(model="parrot", prompt="x", stream=True))
