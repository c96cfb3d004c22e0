"""Every file in ``adapt/task`` is a Task: it reads its fields, and gold, targets, head and answers fit each other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from tunewright import extensions
from tunewright.adapt.task.classify import Classify
from tunewright.config.base import config_of
from tunewright.config.load import load
from tunewright.infer.predict import predict_logits
from tunewright.recipe import Recipe
from tunewright.train.batches import Examples
from tunewright.train.train import make_loss
from tunewright.types import (
    Base,
    Choice,
    ColumnProfile,
    Dataset,
    Facts,
    Label,
    Labels,
    Ledger,
    Likelihood,
    Plan,
    Preferred,
    Spans,
    Text,
)

FAMILY = "adapt.task"
TEXTS = ["a good film", "这部电影很好看", "bad", "not wonderful at all", "a boring movie", "很好"]
LABELS = ["good", "good", "bad", "bad", "bad", "good"]


class EvenOrOdd(Classify):
    """The seam's fake: a task with fields of its own, whose label is read from a number."""

    fields = (replace(Classify.fields[0], name="sentence"), replace(Classify.fields[1], name="number"))
    stored = fields

    def read(self, fields: Mapping[str, object]) -> Mapping[str, object]:
        text, number = fields.get("sentence"), fields.get("number")
        if not isinstance(text, str) or not text.strip():
            raise ValueError("empty text")
        if isinstance(number, list):
            return {"sentence": text, "number": number}
        if not number:
            raise ValueError("no label")
        return {"sentence": text, "number": ["even" if len(str(number)) % 2 == 0 else "odd"]}

    def identity(self, fields: Mapping[str, object]) -> str:
        return str(fields["sentence"])

    def stratum(self, fields: Mapping[str, object]) -> str:
        return str(fields["number"])

    def with_labels(self, *arguments: Any, **options: Any) -> Classify:
        bound = super().with_labels(*arguments, **options)
        bound.__class__ = type(self)
        return bound

    def bind(self, dataset: Dataset) -> Classify:
        return self.with_labels(dataset.labels, multi_label=False, label_counts=dataset.label_counts["train"])

    def texts(self, rows: pa.Table) -> list[str]:
        return super().texts(_renamed(rows))

    def gold(self, rows: pa.Table) -> Any:
        return super().gold(_renamed(rows))


def _renamed(rows: pa.Table) -> pa.Table:
    return rows.rename_columns(
        ["text" if n == "sentence" else "label" if n == "number" else n for n in rows.column_names]
    )


@pytest.fixture(params=[*extensions.names(FAMILY), "a fake"])
def task(request: pytest.FixtureRequest) -> Any:
    """Each task with its own defaults, and the fake."""
    if request.param == "a fake":
        return EvenOrOdd()
    return extensions.load(FAMILY, request.param)(config_of(FAMILY, request.param)())


def given_rows(task: Any) -> list[dict[str, object]]:
    """What a user might hand in: a text in every text field, a label in every label field, a dialogue as messages."""
    return [
        {
            field.name: {
                "text": text,
                "label": label,
                "messages": dialogue(text, "neither" if field.name == "rejected" else label),
                "located": text,
                "spans": [{"start": 0, "end": 2, "label": label}],
            }[field.kind]
            for field in task.fields
            if field.required
        }
        for text, label in zip(TEXTS, LABELS, strict=True)
    ]


def dialogue(text: str, label: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}, {"role": "assistant", "content": f"It is {label}."}]


@pytest.fixture
def dataset(task: Any, tmp_path: Path) -> Dataset:
    """The rows as the task reads them."""
    rows = [task.read(row) for row in given_rows(task)]
    kinds = {field.name: pa.list_(pa.string()) if field.kind == "label" else pa.string() for field in task.stored}
    columns = {name: pa.array([row[name] for row in rows], kind) for name, kind in kinds.items()}
    size = len(rows)
    table = pa.table({"id": pa.array(range(size)), "file": ["f"] * size, "line": pa.array(range(size)), **columns})
    splits = {"train": table.slice(0, 4), "validation": table.slice(4, 1), "test": table.slice(5, 1)}
    counts = {}
    for split, part in splits.items():
        with pa.OSFile(str(tmp_path / f"{split}.arrow"), "wb") as sink, pa.ipc.new_file(sink, part.schema) as writer:
            writer.write_table(part)
        names = [field.name for field in task.stored if field.kind == "label"]
        counts[split] = Counter(label for name in names for cell in part[name].to_pylist() for label in cell)
    return Dataset(
        folder=tmp_path, splits={split: part.num_rows for split, part in splits.items()},
        columns={field.name: field.name for field in task.fields}, labels=tuple(sorted(sum(counts.values(), Counter()))),
        label_counts=counts, ledger=Ledger(used=size, truncated=0, duplicate=0, rejected=0, total=size), findings=(),
        facts=Facts(num_rows=size, mean_characters=9.0, p99_characters=20, scripts={}), files=(), choices=(),
        fingerprint="f",
    )  # fmt: skip


@pytest.fixture
def base(task: Any, tiny_bert_folder: Path, tiny_llama_folder: Path) -> Base:
    writes = task.needs == "decoder"
    folder = tiny_llama_folder if writes else tiny_bert_folder
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return Base(
        name="tiny", folder=folder, architecture="llama" if writes else "bert",
        kind="decoder" if writes else "encoder", num_parameters=1, max_positions=128,
        vocabulary_size=config["vocab_size"], licence="", source="", digest="", reason="",
    )  # fmt: skip


def test_its_fields_are_described(task: Any) -> None:
    assert task.fields
    assert {field.kind for field in (*task.fields, *task.stored)} <= {
        "text",
        "label",
        "messages",
        "located",
        "spans",
        "words",
    }
    assert all(field.description for field in task.fields)
    assert len({field.name for field in task.fields}) == len(task.fields)


def test_reading_gives_every_field_in_its_form_and_again_the_same(task: Any) -> None:
    for row in given_rows(task):
        read = task.read(row)
        assert set(read) == {field.name for field in task.stored}
        for field in task.stored:
            assert isinstance(read[field.name], list if field.kind == "label" else str)
        assert task.read(read) == read
        assert isinstance(task.identity(read), str)
        assert isinstance(task.stratum(read), str)


def test_an_unusable_row_is_rejected_with_a_reason(task: Any) -> None:
    for missing in (field.name for field in task.fields if field.required):
        for value in (None, "", "  "):
            with pytest.raises(ValueError, match=r".+"):
                task.read({**given_rows(task)[0], missing: value.strip() if value else value})


def test_identity_tells_texts_apart(task: Any) -> None:
    assert len({task.identity(task.read(row)) for row in given_rows(task)}) == len(TEXTS)


def test_it_recognises_columns_or_says_that_it_cannot(task: Any) -> None:
    def profile(name: str, **facts: Any) -> ColumnProfile:
        usual: dict[str, Any] = {
            "position": 0, "num_values": 100, "num_distinct": 100, "fraction_empty": 0.0, "fraction_distinct": 1.0,
            "mean_length": 80.0, "max_length": 200, "mean_words": 15.0, "fraction_numeric": 0.0, "fraction_integer": 0.0,
            "is_list": False, "is_sequential": False, "examples": ("a good film that lasts",),
        }  # fmt: skip
        return ColumnProfile(name=name, **{**usual, **facts})

    assert task.recognise([]) is None
    found = task.recognise(
        [
            profile("text"),
            profile("label", position=1, num_distinct=2, fraction_distinct=0.02, mean_length=3.0, max_length=4,
                    mean_words=1.0, examples=("good", "bad"), counts={"good": 50, "bad": 50}),
        ]
    )  # fmt: skip
    if found is not None:
        assert set(found.columns.values()) <= {"text", "label"}
        assert 0 <= found.confidence <= 1
        assert set(found.reasons) == set(found.columns)


def test_binding_leaves_the_task_itself_unbound(task: Any, dataset: Dataset) -> None:
    before = dict(vars(task))
    task.bind(dataset)
    assert vars(task) == before


def test_rows_are_tokenized_whole_or_cut(task: Any, dataset: Dataset, base: Base) -> None:
    bound, rows = task.bind(dataset), dataset.table("train")
    encoder = bound.open_encoder(base)
    whole = encoder.encode(rows)
    assert len(whole) == rows.num_rows == len(bound.texts(rows))
    assert all(each.ids and all(0 <= token < base.vocabulary_size for token in each.ids) for each in whole)
    for max_length in (4, max(len(each.ids) for each in whole) - 1):
        longer = [each for each in whole if len(each.ids) > max_length]
        cut = [encoder.cut(each, max_length) for each in longer]
        assert longer
        assert all(len(each.ids) == max_length for each in cut)
        if encoder.per_token:
            assert all(len(each.ids) == len(each.target) for each in [*whole, *cut])
        else:
            assert [each.target for each in cut] == [each.target for each in longer]
    for each in whole:
        for part in (parts := encoder.divide(each, 6)) if len(each.ids) > 6 else ():
            assert len(part.ids) <= 6
            assert len(part.target) == len(part.ids) or not encoder.per_token
        if len(each.ids) > 6 and len(parts) > 1:  # nothing is lost, and nothing learnt twice
            assert sum(map(sum, (part.target for part in parts))) == sum(each.target)
    encoder.inspect(whole, [False] * len(whole))
    _, findings = encoder.seen()
    assert not [finding for finding in findings if finding.severity == "violation"]


def test_targets_outputs_and_answers_fit_each_other(task: Any, dataset: Dataset, base: Base) -> None:
    bound, rows = task.bind(dataset), dataset.table("train")
    encoder = bound.open_encoder(base)
    examples = encoder.encode(rows)
    targets = [torch.tensor(each.target) for each in examples]
    module = bound.attach(base, seed=1)
    outputs = predict_logits(module, [each.ids for each in examples], weights=targets if encoder.per_token else None)
    assert bound.objective().name in extensions.names("train.objective")
    columns = {"target": torch.cat(targets) if encoder.per_token else torch.stack(targets)}
    loss, count = make_loss(bound.objective()).judge(torch.from_numpy(outputs), columns)
    assert torch.isfinite(loss)
    assert count > 0
    gold, answer = bound.gold(rows), bound.decode(outputs)
    assert len(gold) == len(answer) == rows.num_rows
    assert len(bound.decode(np.empty((0, 0)))) == 0


def test_a_step_along_the_gradient_lowers_the_loss(task: Any, dataset: Dataset, base: Base) -> None:
    bound, rows = task.bind(dataset), dataset.table("train")
    encoder = bound.open_encoder(base)
    found = encoder.encode(rows)
    targets = [torch.tensor(each.target) for each in found]
    joined = torch.cat(targets) if encoder.per_token else torch.stack(targets)
    examples = Examples([np.asarray(each.ids) for each in found], joined, np.arange(len(found)), encoder.per_token)
    module, loss_function = bound.attach(base, seed=1).eval(), make_loss(bound.objective())
    losses = []
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    for _ in range(5):
        batch = examples.batch(np.arange(len(found)))
        loss, count = loss_function(module(batch), batch.columns)
        losses.append(float(loss.detach() / count))
        optimizer.zero_grad()
        torch.autograd.backward(loss / count)
        optimizer.step()
    assert losses[-1] < losses[0]


def labelled(task: Any) -> None:
    if not any(field.kind == "label" and field.required for field in task.stored):
        pytest.skip("this task gives no text a label")


def test_labels_are_named_and_gold_has_no_probabilities(task: Any, dataset: Dataset) -> None:
    labelled(task)
    bound, rows = task.bind(dataset), dataset.table("train")
    assert bound is not task
    width = bound.num_outputs
    gold, answer = bound.gold(rows), bound.decode(np.zeros((rows.num_rows, width)))
    assert type(gold) is type(answer)
    assert isinstance(answer, (Label, Labels))
    assert gold.names == answer.names == dataset.labels
    assert gold.probabilities is None
    assert answer.probabilities is not None
    assert answer.probabilities.shape == (rows.num_rows, len(answer.names))


def test_logits_that_fit_the_targets_better_have_a_smaller_loss_and_the_right_answers(
    task: Any, dataset: Dataset
) -> None:
    """Following the gradient of the objective leads ``decode`` to the gold."""
    labelled(task)
    bound, rows = task.bind(dataset), dataset.table("train")
    columns = {"target": torch.tensor(bound.targets(rows))}
    width = (
        bound.decode(np.zeros((0, 0))).probabilities.shape[1]
        if not hasattr(bound, "num_outputs")
        else bound.num_outputs
    )
    logits = torch.zeros(rows.num_rows, width, requires_grad=True)
    loss_function = make_loss(bound.objective())
    for _ in range(20):
        logits.grad = None
        torch.autograd.backward(loss_function(logits, columns)[0])
        assert logits.grad is not None
        logits.data -= logits.grad
    assert np.array_equal(bound.decode(logits.detach().double().numpy()).chosen, bound.gold(rows).chosen)


def test_its_metrics_and_baselines_exist_and_fit_its_answers(task: Any, dataset: Dataset) -> None:
    bound = task.bind(dataset)
    assert bound.metrics
    given = type(bound.gold(dataset.table("train")))
    answers = {Text: {Text, Likelihood}, Preferred: {Preferred, Text}}.get(given)
    for name in bound.metrics:
        accepted = extensions.load("evaluate.metric", name)().accepts
        assert (answers or {type(bound.gold(dataset.table("train")))}) & set(accepted)
    if answers is None:
        assert set(bound.baselines) <= set(extensions.names("evaluate.baseline"))
        kind = "spans" if isinstance(bound.gold(dataset.table("train")), Spans) else "labels"
        made = [extensions.load("evaluate.baseline", name) for name in bound.baselines]
        assert made
        assert {getattr(each, "answers", "labels") for each in made} == {kind}


def test_what_it_would_search_is_there_to_be_set(task: Any) -> None:
    plan = Plan((Choice("train.lr", 1e-4, ""), Choice("train.epochs", 3, "")))
    space = task.search_space(plan)
    assert "train.lr" in space
    name = "classify" if isinstance(task, Classify) else type(task).__name__.lower()
    for path, one in space.items():
        for value in one if isinstance(one, tuple) else (one.low, one.high):
            load(Recipe, values={"data": "rows.csv", "task": name}, overrides=[f"{path}={json.dumps(value)}"])
