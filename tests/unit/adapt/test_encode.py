"""Rows become token ids, whole or cut by a stated rule, and the Ledger closes."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunewright.adapt.encode import Encode, bin_edge, decide_max_length, encode, encoding_key
from tunewright.adapt.task.classify import Classify
from tunewright.adapt.texts import TextEncoder
from tunewright.adapt.whole import keep_examples, kept_examples
from tunewright.errors import InputError
from tunewright.infer.load import load_tokenizer
from tunewright.store.artifact import open_artifact
from tunewright.types import Base, Dataset, Encoded, Example

MakeDataset = Callable[..., Dataset]

LONG = "这部电影很好看" * 10
ROWS: Any = {
    "train": [("a good film", ["good"]), (LONG, ["good"]), ("bad", ["bad"]), ("terrible film", ["bad"])],
    "validation": [("not bad", ["good"])],
    "test": [(LONG, ["good"]), ("boring", ["bad"])],
}


@pytest.fixture
def work(bert: Base, tmp_path: Path) -> Callable[..., Encoded]:
    def run(dataset: Dataset, **options: Any) -> Encoded:
        return encode(
            Encode.Config(**options), dataset=dataset, base=bert,
            encoder=Classify().bind(dataset).open_encoder(bert), target=tmp_path / "encoded", key="key",
        )  # fmt: skip

    return run


def test_every_row_is_whole_cut_duplicate_or_rejected(work: Callable[..., Encoded], make_dataset: MakeDataset) -> None:
    encoded = work(make_dataset(ROWS, duplicate=3, rejected=2), max_length=16)
    ledger = encoded.ledger
    assert (ledger.used, ledger.truncated, ledger.duplicate, ledger.rejected, ledger.total) == (5, 2, 3, 2, 12)
    assert ledger.reasons == {"empty text": 2}
    assert encoded.splits == {"train": 4, "validation": 1, "test": 2}
    assert encoded.tokens_cut == 2 * (72 - 16)
    assert encoded.choices == ()
    assert encoded.max_length == 16


def test_ids_targets_and_order_are_those_of_the_rows(
    work: Callable[..., Encoded], make_dataset: MakeDataset, bert: Base
) -> None:
    dataset = make_dataset(ROWS)
    encoded = work(dataset, max_length=16)
    tokenizer = load_tokenizer(bert.folder)
    position = {label: index for index, label in enumerate(dataset.labels)}
    num_tokens = 0
    for split, rows in ROWS.items():
        table = encoded.table(split)
        assert table["id"].to_pylist() == dataset.table(split)["id"].to_pylist()
        for (text, labels), ids, target, truncated in zip(
            rows, *(table[name].to_pylist() for name in ("source", "target", "truncated")), strict=True
        ):
            assert ids == tokenizer(text, truncation=True, max_length=16)["input_ids"]
            assert target == [float(position[labels[0]])]
            assert truncated is (text == LONG)
            num_tokens += len(ids)
    assert encoded.num_tokens == num_tokens
    assert sum(encoded.length_histogram.values()) == 7
    assert encoded.length_histogram == {8: 5, 80: 2}, "of the lengths before the cut"


@pytest.mark.parametrize("asked", [{}, {"max_length": 16}], ids=["open", "given"])
def test_every_row_is_tokenized_once_and_cut_as_the_tokenizer_cuts(
    asked: dict[str, Any], make_dataset: MakeDataset, bert: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset({**ROWS, "train": [*ROWS["train"], (f"{LONG} {LONG}", ["good"])] * 3})
    encoder: Any = Classify().bind(dataset).open_encoder(bert)
    plain, seen = encoder.encode, list[int]()

    def counting(rows: Any) -> list[Example]:
        seen.extend(rows["id"].to_pylist())
        found: list[Example] = plain(rows)
        return found

    monkeypatch.setattr(encoder, "encode", counting)
    target = tmp_path / "encoded"
    encoded = encode(Encode.Config(**asked), dataset=dataset, base=bert, encoder=encoder, target=target, key="key")
    assert sorted(seen) == list(range(sum(dataset.splits.values())))
    assert encoded.ledger.truncated == (3 if not asked else 7)
    tokenizer = load_tokenizer(bert.folder)
    options = {"truncation": True, "max_length": encoded.max_length}
    for split in dataset.splits:
        texts = dataset.table(split)["text"].to_pylist()
        assert encoded.table(split)["source"].to_pylist() == tokenizer(texts, **options)["input_ids"]
    assert sorted(path.name for path in target.iterdir()) == sorted(
        ["manifest.json", "test.arrow", "train.arrow", "validation.arrow"]
    )


@pytest.mark.parametrize("model", ["bert", "gpt2", "two at the end"])
def test_cutting_what_was_tokenized_is_tokenizing_what_is_cut(
    model: str, make_dataset: MakeDataset, bert: Base, gpt2: Base
) -> None:
    from tokenizers import processors

    tokenizer = load_tokenizer((gpt2 if model == "gpt2" else bert).folder)
    if model == "two at the end":
        ends = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("[CLS]", "[SEP]")]
        own = processors.TemplateProcessing(single="[CLS] $A [SEP] [SEP]", special_tokens=ends)
        tokenizer.backend_tokenizer.post_processor = own
    texts = [LONG, "a good film, 很好 " * 5, "terrible [SEP] not " * 9]
    dataset = make_dataset({"train": [(text, ["good"]) for text in texts]})
    task = Classify().bind(make_dataset({**ROWS, "train": [(text, ["good", "bad"]) for text in texts]}))
    encoder = TextEncoder(task, tokenizer)
    for text, example in zip(texts, encoder.encode(dataset.table("train")), strict=True):
        for max_length in range(4, len(example.ids)):
            options = {"truncation": True, "max_length": max_length, "split_special_tokens": True}
            assert encoder.cut(example, max_length).ids == tokenizer(text, **options)["input_ids"]


def test_what_was_committed_is_opened_again_and_verifies(
    work: Callable[..., Encoded], make_dataset: MakeDataset, tmp_path: Path
) -> None:
    dataset = make_dataset(ROWS)
    first = work(dataset, max_length=16)
    assert work(dataset, max_length=16) == first
    artifact = open_artifact(tmp_path / "encoded", "key")
    assert artifact is not None
    assert artifact.digest == first.fingerprint


def test_a_length_left_open_keeps_every_row_whole_where_the_model_can(
    work: Callable[..., Encoded], make_dataset: MakeDataset
) -> None:
    encoded = work(make_dataset(ROWS))
    assert encoded.max_length == 128
    assert encoded.ledger.truncated == encoded.tokens_cut == 0
    (choice,) = encoded.choices
    assert (choice.path, choice.value) == ("encode.max_length", 128)
    assert choice.reason == "the longest row has 72 tokens; no row is cut"


def test_a_split_without_rows_is_encoded_as_such(work: Callable[..., Encoded], make_dataset: MakeDataset) -> None:
    encoded = work(make_dataset({**ROWS, "validation": []}), max_length=16)
    assert encoded.splits["validation"] == encoded.table("validation").num_rows == 0


def test_more_than_the_model_can_read_is_refused_and_nothing_is_written(
    work: Callable[..., Encoded], make_dataset: MakeDataset, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        work(make_dataset(ROWS), max_length=129)
    assert (caught.value.where, caught.value.given) == ("encode.max_length", 129)
    assert caught.value.allowed == "at most 128 tokens"
    assert not (tmp_path / "encoded").exists()


def test_a_ledger_that_does_not_fit_the_rows_is_not_closed(
    work: Callable[..., Encoded], make_dataset: MakeDataset
) -> None:
    dataset = make_dataset(ROWS)
    wrong = replace(dataset, ledger=replace(dataset.ledger, used=8, total=8))
    with pytest.raises(AssertionError):
        work(wrong, max_length=16)


@pytest.mark.parametrize(
    ("lengths", "max_positions", "limit", "reason"),
    [
        ({5: 10}, 512, 128, "the longest row has 5 tokens; no row is cut"),
        ({128: 1}, 512, 128, "the longest row has 128 tokens; no row is cut"),
        ({50: 99, 400: 1}, 512, 128, "99% of the rows have at most 50; 1 of 100 rows are cut (the longest has 400 tokens)"),
        ({50: 98, 400: 2}, 512, 400, "the longest row has 400 tokens; no row is cut"),
        ({50: 98, 393: 2}, 512, 400, "the longest row has 393 tokens; no row is cut"),
        ({50: 989, 200: 1, 300: 10}, 512, 208, ("99% of the rows have at most 200; 10 of 1,000 rows are "
         "cut (the longest has 300 tokens)")),
        ({600: 3}, 512, 512, "all that the model can read; 3 of 3 rows are cut (the longest has 600 tokens)"),
        ({60: 3}, 64, 64, "the longest row has 60 tokens; no row is cut"),
        ({}, 512, 128, "the longest row has 0 tokens; no row is cut"),
    ],
)  # fmt: skip
def test_the_rule_for_the_length(lengths: dict[int, int], max_positions: int, limit: int, reason: str) -> None:
    choice = decide_max_length(Counter(lengths), max_positions)
    assert (choice.path, choice.value, choice.reason) == ("encode.max_length", limit, reason)


def test_bins_are_eight_wide_up_to_64_and_then_four_to_each_doubling() -> None:
    edges = sorted({bin_edge(length) for length in range(1, 513)})
    assert edges == [*range(8, 65, 8), 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512]
    for length in range(1, 5000):
        edge = bin_edge(length)
        assert edge >= length
        assert bin_edge(edge) == edge
    assert bin_edge(0) == 0


def test_the_key_changes_with_every_input_and_with_nothing_else(make_dataset: MakeDataset, bert: Base) -> None:
    dataset = make_dataset(ROWS)
    config = Encode.Config(max_length=16)
    key = encoding_key(config, dataset, bert, "task")
    assert key == encoding_key(Encode.Config(max_length=16), make_dataset(ROWS), replace(bert), "task")
    assert key == encoding_key(
        config, dataset, replace(bert, name="other", reason="other", folder=Path("/else")), "task"
    )
    changed = {
        encoding_key(Encode.Config(max_length=17), dataset, bert, "task"),
        encoding_key(Encode.Config(), dataset, bert, "task"),
        encoding_key(config, replace(dataset, fingerprint="g"), bert, "task"),
        encoding_key(config, dataset, replace(bert, digest="other"), "task"),
        encoding_key(config, dataset, replace(bert, max_positions=64), "task"),
        encoding_key(config, dataset, bert, "another task"),
    }
    assert len(changed - {key}) == 6


def test_the_key_changes_with_the_versions_of_the_tokenizer(
    make_dataset: MakeDataset, bert: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunewright.adapt import encode as module

    before = encoding_key(Encode.Config(), make_dataset(ROWS), bert, "task")
    monkeypatch.setattr(module, "version", lambda name: "0.0")
    assert encoding_key(Encode.Config(), make_dataset(ROWS), bert, "task") != before


def test_facts_are_json(work: Callable[..., Encoded], make_dataset: MakeDataset, tmp_path: Path) -> None:
    work(make_dataset(ROWS))
    artifact = open_artifact(tmp_path / "encoded")
    assert artifact is not None
    assert json.loads(json.dumps(dict(artifact.facts)))["ledger"]["total"] == 7


def test_what_waits_on_the_drive_comes_back_as_it_was() -> None:
    pieces = [
        [
            Example([1, 2, 70_000], [0.1, 1.0, 0.0], [-1, 0, 1], ["user", "assistant"]),
            Example([3], [0.0], [0], ["用户"]),
        ],
        [Example([4, 5], [1.0, 0.0, 0.5], [], [])],
        [],
    ]
    scratch = io.BytesIO()
    kept = keep_examples(pieces, scratch)
    assert list(kept) == pieces
    assert list(kept_examples(scratch)) == pieces


def test_long_rows_are_read_few_at_once() -> None:
    import pyarrow as pa

    from tunewright.adapt import encode

    rows = pa.table({"text": ["x" * 1_000_000] * 40})
    sizes = [piece.num_rows for piece in encode._pieces(rows)]
    assert sum(sizes) == 40
    assert max(sizes) <= 17
    assert [piece.num_rows for piece in encode._pieces(pa.table({"text": ["x"] * 5000}))] == [2048, 2048, 904]
    assert list(encode._pieces(rows.slice(0, 0))) == []
