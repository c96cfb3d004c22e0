"""Taggers: the stock class computes the same from the saved folder, the best path is the best, seqeval counts the same."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from tunewright.adapt.adapter import CONFIG
from tunewright.adapt.save_tagger import STOCK, load_tagger, save_tagger
from tunewright.adapt.tag_encoder import TagEncoder
from tunewright.adapt.task.tag import Tag
from tunewright.evaluate.score import score
from tunewright.infer.load import load_tokenizer
from tunewright.infer.predict import predict_logits
from tunewright.infer.tagging import find_spans, word_logits
from tunewright.infer.tags import Scheme, Tags
from tunewright.infer.words import Unit
from tunewright.store.artifact import commit_artifact
from tunewright.types import Base, Span, Spans

LABELS = ("person", "地点")
ROWS: list[dict[str, Any]] = [
    {"text": "Ada slept in London.", "spans": [[0, 3, "person"], [13, 19, "地点"]]},
    {"text": "小明去了北京，很好看。", "spans": [[0, 2, "person"], [4, 6, "地点"]]},
    {"text": "not good at all", "spans": []},
]


def table(task: Tag) -> pa.Table:
    return pa.Table.from_pylist([dict(task.read(row)) for row in ROWS])


def saved(base: Base, folder: Path, scheme: Scheme = "bio") -> tuple[Tag, Any, Path]:
    task = Tag(Tag.Config(scheme=scheme)).with_labels(LABELS)
    module: Any = task.attach(base, seed=3)
    for parameter in module.head.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    commit_artifact(folder / "model", "key", lambda draft: save_tagger(draft, module, task, base, {"max_length": 64}))
    return task, module.eval(), folder / "model"


@pytest.mark.parametrize("architecture", STOCK)
def test_the_stock_class_gives_the_same_logits(make_base: Any, architecture: str, tmp_path: Path) -> None:
    from transformers import AutoModelForTokenClassification

    task, module, folder = saved(make_base(architecture), tmp_path)
    stock: Any
    stock, loading = AutoModelForTokenClassification.from_pretrained(folder, output_loading_info=True)
    assert not any(loading.values()), loading
    assert [stock.config.id2label[at] for at in range(5)] == list(task.tags.names)
    examples = TagEncoder(task, load_tokenizer(folder)).encode(table(task))
    ours = word_logits(module, [each.ids for each in examples], [range(len(each.ids)) for each in examples])
    for each, found in zip(examples, ours, strict=True):
        with torch.no_grad():
            expected = stock.eval()(input_ids=torch.tensor([each.ids])).logits[0].double().numpy()
        np.testing.assert_allclose(found, expected, atol=2e-5)
    dropouts = [layer.p for layer in stock.modules() if isinstance(layer, torch.nn.Dropout)]
    assert module.head.dropout.p == stock.dropout.p in dropouts


@pytest.mark.parametrize("architecture", ["bert", "gemma3_text"])
def test_a_saved_tagger_is_loaded_and_taken_up(make_base: Any, architecture: str, tmp_path: Path) -> None:
    base = make_base(architecture)
    task, module, folder = saved(base, tmp_path, "bioes")
    loaded = load_tagger(folder)
    assert loaded.tags == task.tags
    texts = [str(row["text"]) for row in ROWS]
    tokenizer = load_tokenizer(folder)
    assert find_spans(loaded.module, loaded.tokenizer, loaded.tags, texts, 64) == find_spans(
        module, tokenizer, task.tags, texts, 64
    )
    again: Any = task.attach(replace(base, folder=folder), seed=9)
    assert torch.equal(again.head.output.weight, module.head.output.weight)
    fresh: Any = Tag().with_labels(("other",)).attach(replace(base, folder=folder), seed=9)
    assert fresh.head.output.weight.shape[0] == 3


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_the_adapter_of_a_tagger_is_peft_s(make_base: Any, tmp_path: Path) -> None:
    import json

    from peft import PeftModel
    from transformers import AutoModelForTokenClassification

    from tunewright.adapt.method.lora import Lora

    base = make_base("bert")
    task = Tag().with_labels(LABELS)
    method = Lora(Lora.Config())
    trainable = method.wrap(task.attach(base, seed=1), task.objective(), seed=1)
    for name, parameter in trainable.module.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    adapter = method.adapter(trainable)
    assert adapter is not None
    commit_artifact(
        tmp_path / "adapter", "key", lambda draft: task.save_adapter(draft, adapter, trainable.module, base)
    )
    assert json.loads((tmp_path / "adapter" / CONFIG).read_text())["task_type"] == "TOKEN_CLS"
    stock = AutoModelForTokenClassification.from_pretrained(base.folder, num_labels=5)
    adapted: Any = PeftModel.from_pretrained(stock, str(tmp_path / "adapter"))
    examples = TagEncoder(task, load_tokenizer(base.folder)).encode(table(task))
    folded = method.fold(trainable)
    for each in examples:
        [found] = word_logits(folded, [each.ids], [range(len(each.ids))])
        with torch.no_grad():
            expected = adapted.eval()(input_ids=torch.tensor([each.ids])).logits[0].double().numpy()
        np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("scheme", ["bio", "bioes"])
def test_the_best_path_is_the_best_of_all_that_obey_the_scheme(scheme: Scheme) -> None:
    tags = Tags(("a", "b"), scheme)
    random = np.random.default_rng(0)
    for length in (1, 2, 4):
        logits = random.normal(size=(length, len(tags.names)))
        found, logs = tags.decode(logits)
        np.testing.assert_allclose(np.exp(logs).sum(axis=1), 1.0)
        allowed = [
            path
            for path in product(range(len(tags.names)), repeat=length)
            if obeys([tags.names[tag] for tag in path], scheme)
        ]
        best = max(allowed, key=lambda path: sum(logs[at, tag] for at, tag in enumerate(path)))
        assert tuple(found) == best


def obeys(names: list[str], scheme: str) -> bool:
    """Written down from the definition, apart from the code: what stands before and after each tag."""
    for at, name in enumerate(names):
        before = names[at - 1] if at else "O"
        after = names[at + 1] if at + 1 < len(names) else "O"
        if scheme == "bio":
            if name[0] == "I" and (before[0] == "O" or before[2:] != name[2:]):
                return False
            continue
        if name[0] in "IE" and not (before[0] in "BI" and before[2:] == name[2:]):
            return False
        if name[0] in "BI" and not (after[0] in "IE" and after[2:] == name[2:]):
            return False
    return True


@pytest.mark.parametrize("scheme", ["bio", "bioes"])
def test_spans_become_tags_and_spans_again(scheme: Scheme) -> None:
    tags = Tags(("a", "b"), scheme)
    units = [Unit(2 * at, 2 * at + 1, at) for at in range(9)]
    spans = (Span(0, 1, "a"), Span(2, 5, "a"), Span(6, 11, "b"), Span(14, 15, "b"))
    numbers, num_moved = tags.of_spans(spans, units)
    assert num_moved == 0
    assert tags.to_spans(numbers, units) == spans
    assert obeys([tags.names[number] for number in numbers], scheme)
    assert tags.of_spans((Span(1, 4, "a"),), units)[1] == 1


def test_counts_are_those_of_seqeval() -> None:
    from seqeval.metrics import f1_score, precision_score, recall_score
    from seqeval.scheme import IOB2

    random = np.random.default_rng(5)
    tags = Tags(("a", "b", "c"))
    units = [Unit(at, at + 1, at) for at in range(12)]
    true, given = [], []
    for _ in range(60):
        right = tags.decode(random.normal(size=(12, 7)) * 3)[0]
        noise = np.where(random.random((12, 1)) < 0.3, random.normal(size=(12, 7)) * 9, 0.0)
        true.append(right)
        given.append(tags.decode(np.eye(7)[right] * 6 + noise)[0])
    named = [[[tags.names[number] for number in row] for row in rows] for rows in (true, given)]
    gold, answer = (Spans(tags.labels, tuple(tags.to_spans(row, units) for row in rows)) for rows in (true, given))
    names = ["entity_f1", "entity_precision", "entity_recall", "entity_macro_f1"]
    found = score(answer, gold, names)
    options: dict[str, Any] = {"mode": "strict", "scheme": IOB2}
    assert found["entity_f1"] == pytest.approx(f1_score(*named, **options))
    assert found["entity_precision"] == pytest.approx(precision_score(*named, **options))
    assert found["entity_recall"] == pytest.approx(recall_score(*named, **options))
    assert found["entity_macro_f1"] == pytest.approx(f1_score(*named, average="macro", **options))
    assert 0.2 < f1_score(*named, **options) < 0.95


def test_what_is_followed_counts_as_what_is_answered(make_base: Any, tmp_path: Path) -> None:
    task, module, folder = saved(make_base("bert"), tmp_path)
    rows = table(task)
    examples = TagEncoder(task, load_tokenizer(folder)).encode(rows)
    targets = [torch.tensor(each.target) for each in examples]
    tally = task.decode(predict_logits(module, [each.ids for each in examples], weights=targets))
    spans = find_spans(module, load_tokenizer(folder), task.tags, task.texts(rows), 64)
    answer, gold = Spans(task.labels, tuple(spans)), task.gold(rows)
    names = list(task.metrics)
    assert score(tally, gold, names) == score(answer, gold, names)
    assert tally.num_words.tolist() == [int((each > 0).sum()) for each in targets]


def test_a_long_text_is_read_in_windows_that_agree_with_a_reader_of_few_words(make_base: Any, tmp_path: Path) -> None:
    """A model without context answers a long text as its parts, wherever its windows begin."""
    task, module, folder = saved(make_base("bert"), tmp_path)
    tokenizer = load_tokenizer(folder)
    for layer in module.trunk.encoder.layer:  # what a token's neighbours say is not heard, nor where it stands
        for parameter in layer.attention.output.dense.parameters():
            torch.nn.init.zeros_(parameter)
    torch.nn.init.zeros_(module.trunk.embeddings.position_embeddings.weight)
    text = " ".join(str(row["text"]) for row in ROWS)
    [whole] = find_spans(module, tokenizer, task.tags, [text], 96)
    for length in (8, 11, 30):
        [cut] = find_spans(module, tokenizer, task.tags, [text], length)
        assert cut == whole
        assert [span.score for span in cut] == pytest.approx([span.score for span in whole])
    assert find_spans(module, tokenizer, task.tags, ["", "  "], 8) == [(), ()]
