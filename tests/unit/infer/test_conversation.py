"""Messages in, whole characters out: alone, in a batch, in pieces, and by a real model as transformers writes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tunewright.errors import InputError
from tunewright.infer.conversation import Conversation, open_conversation
from tunewright.infer.load import load_tokenizer
from tunewright.infer.template import ChatTemplate
from tunewright.types import Sampling

TEXTS = (
    "Plain words, and more.",
    " 你好，世界！再见。",
    "👩‍👩‍👧 und 🌟 naïve café\n\n\tcode()  ",
    "a\ufffdb\ufffd",
    "",
)


class Played:
    """A stream of given tokens that knows whether it was closed."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = iter(tokens)
        self.is_closed = False

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        return next(self._tokens)

    def close(self) -> None:
        self.is_closed = True


def conversation_over(folder: Path) -> Conversation:
    tokenizer = load_tokenizer(folder)
    engine: Any = None
    return Conversation(engine, ChatTemplate.of(folder, tokenizer), tokenizer)


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_are_whole_characters_and_lose_nothing(tiny_llama_folder: Path, text: str) -> None:
    """Each byte is a token here, so that every character but ASCII comes in parts."""
    conversation = conversation_over(tiny_llama_folder)
    ids = conversation.tokenizer(text)["input_ids"]
    pieces = list(conversation.pieces(iter(ids)))
    assert "".join(pieces) == text
    assert all(piece in text for piece in pieces)
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)
        assert len(pieces) == len(text)


def test_bytes_that_are_no_text_are_shown_as_such_in_the_end(tiny_llama_folder: Path) -> None:
    conversation = conversation_over(tiny_llama_folder)
    ids = conversation.tokenizer("好")["input_ids"]
    for broken in (ids[:2], [*ids, ids[0]], [ids[1], *ids], ids[1:] * 3):
        assert "".join(conversation.pieces(iter(broken))) == conversation.tokenizer.decode(broken)


@pytest.mark.parametrize("text", [text for text in TEXTS if text])
def test_the_pieces_of_a_real_tokenizer(smollm2_folder: Path, text: str) -> None:
    conversation = conversation_over(smollm2_folder)
    ids = conversation.tokenizer(text * 3)["input_ids"]
    assert "".join(conversation.pieces(iter(ids))) == text * 3


def test_leaving_the_pieces_cancels_the_answer(tiny_llama_folder: Path) -> None:
    played = Played([50, 51, 52])
    tokens: Any = played
    pieces: Any = conversation_over(tiny_llama_folder).pieces(tokens)
    next(pieces)
    pieces.close()
    assert played.is_closed


@pytest.mark.parametrize("fixture", ["tiny_llama_folder", "tiny_gpt2_folder"])
def test_a_stream_says_what_an_answer_says(fixture: str, request: pytest.FixtureRequest) -> None:
    conversation = open_conversation(request.getfixturevalue(fixture), capacity=2)
    dialogues = [[{"role": "user", "content": text}] for text in ("Hi", "你好吗？", "Tell me more.")]
    sampling = Sampling(max_tokens=20, temperature=1.0, seed=2)
    told: list[float] = []
    answer = conversation.answer(dialogues, sampling, lambda label, done, total, note: told.append(done))
    assert told == [1, 2, 3]
    assert list(answer.texts) == ["".join(conversation.stream(messages, sampling)) for messages in dialogues]
    assert (answer.num_tokens <= 20).all()
    assert [bool(one) for one in answer.stopped] == [bool(number < 20) for number in answer.num_tokens]
    conversation.close()


def test_a_dialogue_that_is_too_long_is_refused_at_once(tiny_llama_folder: Path) -> None:
    conversation = open_conversation(tiny_llama_folder)
    messages = [{"role": "user", "content": "x" * 200}]
    with pytest.raises(InputError, match="longer than the model can read"):
        conversation.stream(messages, Sampling(max_tokens=8))
    with pytest.raises(InputError, match="longer than the model can read"):
        conversation.answer([messages], Sampling(max_tokens=8))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not load"):
        open_conversation(tmp_path)


def test_smollm2_answers_as_transformers_generates(smollm2_folder: Path) -> None:
    import torch

    conversation = open_conversation(smollm2_folder)
    questions = ("What is the capital of France? One word.", "Hi!", "你好！请用中文回答：一加一等于几？")
    dialogues = [[{"role": "user", "content": question}] for question in questions]
    answer = conversation.answer(dialogues, Sampling(max_tokens=9))
    engine: Any = conversation.engine
    for messages, text in zip(dialogues, answer.texts, strict=True):
        ids = torch.tensor([conversation.template.prompt(messages)])
        out = engine._model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=9, do_sample=False, pad_token_id=0
        )
        assert conversation.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True) == text
    assert "Paris" in answer.texts[0]
    assert answer.stopped[0]
    conversation.close()
