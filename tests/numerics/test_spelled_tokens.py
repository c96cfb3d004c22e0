"""Text that spells a special token stays text, for every kind of tokenizer, in training and in answers alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_reviews import SMALL, write_csv

import tunewright
from tunewright.assets import where
from tunewright.infer.load import control_tokens, load_tokenizer, tokenize
from tunewright.types import read_arrow

FRAMES = ("{}", "a good film {} and bad", "很好看{}的电影", "x{}", "{}{}", " {} ")


def asset_folder(name: str) -> Path:
    folder = where(name)
    if folder is None:
        pytest.skip(f"{name} is not in the cache")
    return folder


@pytest.fixture(
    scope="module",
    params=[
        "tiny_bert",
        "tiny_gpt2",
        "tiny_llama",
        "minilm-l6",
        "multilingual-e5-small",
        "smollm2-135m-instruct",
        "gemma-3-270m",
    ],
)
def tokenizer(request: pytest.FixtureRequest) -> Any:
    """WordPiece, byte-level BPE, Unigram, BPE with byte fallback: tiny ones and real ones."""
    name = request.param
    return load_tokenizer(request.getfixturevalue(f"{name}_folder") if "tiny" in name else asset_folder(name))


def own(tokenizer: Any) -> list[int]:
    """The tokens that the tokenizer sets around any text."""
    found: list[int] = tokenizer("")["input_ids"]
    return found


def test_no_spelling_becomes_a_control_token(tokenizer: Any) -> None:
    control = control_tokens(tokenizer)
    assert control
    names = tokenizer.convert_ids_to_tokens(sorted(control))[:40]
    foreign = ["[SEP]", "[CLS]", "[MASK]", "<s>", "</s>", "<|im_end|>", "<|endoftext|>", "<bos>", "<end_of_turn>"]
    texts = [frame.replace("{}", name) for name in dict.fromkeys([*names, *foreign]) for frame in FRAMES]
    for text, ids in zip(texts, tokenize(tokenizer, texts, None), strict=True):
        assert [token for token in ids if token in control] == [
            token for token in own(tokenizer) if token in control
        ], text
        assert len(ids) > len(own(tokenizer))


def test_the_tokenizers_own_tokens_stand_where_they_stood(tokenizer: Any) -> None:
    texts = ["a good film", "很好看的电影", "plain"]
    assert tokenize(tokenizer, texts, None) == [tokenizer(text)["input_ids"] for text in texts]


@pytest.mark.parametrize("max_length", [6, 9])
def test_a_cut_keeps_the_tokens_at_both_ends(tokenizer: Any, max_length: int) -> None:
    for name in ("<s>", "[SEP]", "<|im_end|>"):
        (whole,), (cut,) = (tokenize(tokenizer, [f"good {name} " * 9], limit) for limit in (None, max_length))
        ends = own(tokenizer)
        num_last = 1 if len(ends) > 1 else 0
        assert len(cut) == max_length
        assert cut[: max_length - num_last] == whole[: max_length - num_last]
        assert cut[max_length - num_last :] == whole[len(whole) - num_last :]


def test_training_and_answers_read_it_alike(
    tmp_path: Path, tiny_bert_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        (f"a {'good' if number % 2 else 'bad'} film [SEP] [CLS] {number}", f"l{number % 2}") for number in range(40)
    ]
    data = write_csv(tmp_path / "a.csv", ("text", "label"), rows)
    tunewright.run(data, out=tmp_path / "run", overrides=[f"model={tiny_bert_folder}", *SMALL, "train.epochs=1"])
    control = control_tokens(load_tokenizer(tiny_bert_folder))
    prepared = read_arrow(tmp_path / "run" / "data" / "train.arrow")["text"].to_pylist()
    trained = read_arrow(tmp_path / "run" / "encoded" / "train.arrow")["source"].to_pylist()
    assert all(sum(token in control for token in row) == 2 for row in trained)
    asked: list[list[int]] = []
    from tunewright.answering import labels as module

    answering: Any = module

    real: Callable[..., Any] = answering.predict_logits

    def seen(module: Any, ids: Any, **options: Any) -> Any:
        asked.extend(ids)
        return real(module, ids, **options)

    monkeypatch.setattr(answering, "predict_logits", seen)
    tunewright.predict(tmp_path / "run", prepared)
    assert asked == trained
