"""Rows are read or rejected with a reason, and every answer has the shape of its gold."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit, softmax

from tunewright.adapt.task.classify import Classify
from tunewright.errors import InputError
from tunewright.types import ColumnProfile, Dataset, Label, Labels

MakeDataset = Callable[..., Dataset]
MakeTable = Callable[..., pa.Table]


def task(**options: Any) -> Classify:
    return Classify(Classify.Config(**options))


def read(label: object, **options: Any) -> object:
    return task(**options).read({"text": "x", "label": label})["label"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("positive", ["positive"]),
        ("  好评 ", ["好评"]),
        ("a b", ["a b"]),
        (True, ["true"]),
        (False, ["false"]),
        (3, ["3"]),
        (0, ["0"]),
        (3.0, ["3"]),
        (-0.0, ["0"]),
        (2.5, ["2.5"]),
        (math.inf, ["inf"]),
        (1e300, [str(int(1e300))]),
        (["b", "a", "b", " a "], ["b", "a"]),
        (("a", 1, 2.0, None, math.nan, ""), ["a", "1", "2"]),
        ([], []),
        ('["rain", "wind"]', ["rain", "wind"]),
        (' ["雨", 3, null] ', ["雨", "3"]),
        ("[]", []),
        ("[not json", ["[not json"]),
        ("[not json]", ["[not json]"]),
        ("[" * 5000 + "]" * 5000, ["[" * 5000 + "]" * 5000]),
        ("a|b", ["a|b"]),
    ],
)
def test_labels_in_every_form(value: object, expected: list[str]) -> None:
    assert read(value) == expected


@pytest.mark.parametrize(
    ("separator", "value", "expected"),
    [
        ("|", "rain|wind", ["rain", "wind"]),
        ("|", " rain | wind |rain| ", ["rain", "wind"]),
        ("；", "雨；风", ["雨", "风"]),
        ("、", "雨、风、雪", ["雨", "风", "雪"]),
        (",", "rain", ["rain"]),
        (", ", "new york, rome", ["new york", "rome"]),
        ("|", 3.0, ["3"]),
        ("|", ["a|b"], ["a|b"]),
        ("|", '["a"]', ['["a"]']),
        ("", '["a"]', ['["a"]']),
        ("", "a|b", ["a|b"]),
        ("list", '["a", "b"]', ["a", "b"]),
        ("list", "a,b", ["a,b"]),
    ],
)
def test_a_separator_is_obeyed(separator: str, value: object, expected: list[str]) -> None:
    assert read(value, separator=separator) == expected


@pytest.mark.parametrize("value", [None, math.nan, "", "   ", "\u3000"])
def test_a_missing_label_is_a_reason_to_reject(value: object) -> None:
    with pytest.raises(ValueError, match=r"^no label$"):
        read(value)


@pytest.mark.parametrize("separator", ["|", "；"])
def test_separators_alone_are_no_label(separator: str) -> None:
    with pytest.raises(ValueError, match=r"^no label$"):
        read(f" {separator} {separator}", separator=separator)


@pytest.mark.parametrize("value", [{"a": 1}, [["a"]], [{"a": 1}], '[["a"]]', '[{"a": 1}]'])
def test_a_nested_label_is_a_reason_to_reject(value: object) -> None:
    with pytest.raises(ValueError, match=r"^the label is not a plain value$"):
        read(value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "empty text"),
        ("", "empty text"),
        (" \t\n\u3000", "empty text"),
        (3, "the text is not a string"),
        (["a"], "the text is not a string"),
        (math.nan, "the text is not a string"),
    ],
)
def test_an_unusable_text_is_a_reason_to_reject(text: object, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"^{reason}$"):
        task().read({"text": text, "label": "a"})


def test_reading_twice_changes_nothing() -> None:
    once = task().read({"text": " 好 film ", "label": "b"})
    assert task().read(once) == once == {"text": " 好 film ", "label": ["b"]}


def test_identity_and_stratum() -> None:
    rows = [{"text": "x", "label": labels} for labels in (["b", "a"], ["a", "b"], ["ab"])]
    assert task().identity(rows[0]) == "x"
    assert task().stratum(rows[0]) == task().stratum(rows[1]) != task().stratum(rows[2])


ONE = {"train": [("x", ["坏"]), ("y", ["好"]), ("z", ["好"])], "test": [("w", ["坏"])]}
SEVERAL = {"train": [("x", ["a", "c"]), ("y", []), ("z", ["b"])], "test": [("w", ["a"])]}


def test_binding_takes_labels_and_kind_from_the_data(make_dataset: MakeDataset) -> None:
    unbound = task()
    bound = unbound.bind(make_dataset(ONE))
    assert bound.labels == tuple(sorted(["坏", "好"]))
    assert (bound.multi_label, bound.sigmoid, bound.num_outputs) == (False, False, 2)
    assert unbound.labels == ()
    bound = unbound.bind(make_dataset(SEVERAL))
    assert (bound.labels, bound.multi_label, bound.sigmoid, bound.num_outputs) == (("a", "b", "c"), True, True, 3)


@pytest.mark.parametrize(
    ("train", "test", "multi_label"),
    [
        ([("x", ["a"])], [("y", ["b"])], False),
        ([("x", ["a"])], [("y", [])], True),
        ([("x", ["a"])], [("y", ["a", "b"])], True),
        ([("x", ["a"])], [], False),
    ],
)
def test_one_row_with_none_or_several_labels_anywhere_makes_it_multi_label(
    make_dataset: MakeDataset, train: Any, test: Any, multi_label: bool
) -> None:
    assert task().bind(make_dataset({"train": train, "test": test})).multi_label is multi_label


@pytest.mark.parametrize(
    ("output", "labels", "multi_label", "num_outputs"),
    [
        ("auto", ["a", "b"], False, 2),
        ("softmax", ["a", "b"], False, 2),
        ("sigmoid", ["a", "b"], False, 1),
        ("auto", ["a", "b", "c"], False, 3),
        ("auto", ["a"], True, 1),
        ("sigmoid", ["a", "b", "c"], True, 3),
    ],
)
def test_outputs(output: str, labels: list[str], multi_label: bool, num_outputs: int) -> None:
    bound = task(output=output).with_labels(labels, multi_label=multi_label)
    assert bound.num_outputs == num_outputs
    assert bound.objective().name == ("binary_cross_entropy" if output == "sigmoid" or multi_label else "cross_entropy")


@pytest.mark.parametrize(
    ("output", "labels", "multi_label"), [("softmax", ["a", "b"], True), ("sigmoid", ["a", "b", "c"], False)]
)
def test_an_output_that_does_not_fit_the_labels_is_refused(output: str, labels: list[str], multi_label: bool) -> None:
    with pytest.raises(InputError) as caught:
        task(output=output).with_labels(labels, multi_label=multi_label)
    assert caught.value.where == "task.output"
    assert caught.value.hint.startswith("task.output=")


def test_targets_and_gold_for_one_label(make_table: MakeTable) -> None:
    rows = make_table([("x", ["c"]), ("y", ["a"])])
    bound = task().with_labels(["a", "b", "c"], multi_label=False)
    gold = bound.gold(rows)
    assert isinstance(gold, Label)
    assert gold.chosen.tolist() == [2, 0]
    assert gold.probabilities is None
    assert bound.targets(rows) == [[2.0], [0.0]]
    sigmoid = task(output="sigmoid").with_labels(["a", "c"], multi_label=False)
    assert sigmoid.targets(rows) == [[1.0], [0.0]]


def test_targets_and_gold_for_several_labels(make_table: MakeTable) -> None:
    rows = make_table([("x", ["c", "a"]), ("y", []), ("z", ["b"])])
    bound = task().with_labels(["a", "b", "c"], multi_label=True)
    gold = bound.gold(rows)
    assert isinstance(gold, Labels)
    assert gold.chosen.tolist() == [[True, False, True], [False, False, False], [False, True, False]]
    assert bound.targets(rows) == [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


LOGITS = np.array([[1.0, -2.0, 0.5], [800.0, -800.0, 0.0], [-800.0, -799.0, -801.0], [0.0, 0.0, 0.0]])


def test_softmax_answers() -> None:
    answer = task().with_labels(["a", "b", "c"], multi_label=False).decode(LOGITS)
    assert isinstance(answer, Label)
    assert answer.chosen.tolist() == [0, 0, 1, 0]
    assert answer.probabilities == pytest.approx(softmax(LOGITS, axis=1), rel=1e-12)


def test_independent_answers() -> None:
    answer = task().with_labels(["a", "b", "c"], multi_label=True).decode(LOGITS)
    assert isinstance(answer, Labels)
    assert answer.chosen.tolist() == (LOGITS >= 0).tolist()
    assert answer.probabilities == pytest.approx(expit(LOGITS), rel=1e-12)


def test_one_sigmoid_answers_with_two_probabilities() -> None:
    logits = np.array([[0.0], [40.0], [-40.0], [1e9], [-1e9], [0.3]])
    answer = task(output="sigmoid").with_labels(["no", "yes"], multi_label=False).decode(logits)
    assert isinstance(answer, Label)
    assert answer.probabilities is not None
    assert answer.chosen.tolist() == [0, 1, 0, 1, 0, 1]
    assert answer.probabilities[:, 1] == pytest.approx(expit(logits[:, 0]), rel=1e-12)
    assert answer.probabilities[:, 0] == pytest.approx(expit(-logits[:, 0]), rel=1e-12)
    assert answer.probabilities[1, 0] > 0, "no precision is lost beside one"


@pytest.mark.parametrize("multi_label", [False, True])
def test_no_rows_give_an_empty_answer(multi_label: bool) -> None:
    answer = task().with_labels(["a", "b", "c"], multi_label=multi_label).decode(np.empty((0, 0)))
    assert len(answer) == 0
    assert answer.probabilities is not None
    assert answer.probabilities.shape == (0, 3)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    y = ["a"] * 6 + ["b"] * 3 + ["c"]
    bound = task(class_weights="balanced").with_labels(
        ["a", "b", "c"], multi_label=False, label_counts={"a": 6, "b": 3, "c": 1}, num_rows=10
    )
    wanted = compute_class_weight("balanced", classes=np.array(["a", "b", "c"]), y=y)
    assert bound.objective().options["class_weights"] == pytest.approx(wanted.tolist())


def test_balanced_weights_of_a_sigmoid_make_yes_and_no_weigh_the_same(make_dataset: MakeDataset) -> None:
    bound = task(class_weights="balanced", output="sigmoid").bind(make_dataset({"train": ONE["train"]}))
    counts = bound.label_counts
    first, second = bound.labels
    assert bound.objective().options["positive_weights"] == [counts[first] / counts[second]]
    several = task(class_weights="balanced").bind(make_dataset(SEVERAL))
    assert several.objective().options["positive_weights"] == [2.0, 2.0, 2.0]


def test_a_label_without_training_rows_has_a_finite_weight() -> None:
    bound = task(class_weights="balanced").with_labels(["a", "b"], multi_label=False, label_counts={"a": 4}, num_rows=4)
    assert bound.objective().options["class_weights"] == [0.5, 2.0]


def test_smoothing_reaches_every_objective() -> None:
    for multi_label in (False, True):
        bound = task(label_smoothing=0.2).with_labels(["a", "b"], multi_label=multi_label)
        assert bound.objective().options["label_smoothing"] == 0.2


def profile(values: list[str], **changes: Any) -> ColumnProfile:
    counts = {value: values.count(value) for value in dict.fromkeys(values)}
    facts: dict[str, Any] = {
        "name": "tags", "position": 1, "num_values": len(values), "num_distinct": len(counts), "fraction_empty": 0.0,
        "fraction_distinct": len(counts) / len(values), "mean_length": 5.0, "max_length": 12, "mean_words": 1.0,
        "fraction_numeric": 0.0, "fraction_integer": 0.0, "is_list": False, "is_sequential": False,
        "examples": tuple(counts)[:5], "counts": counts,
    }  # fmt: skip
    return ColumnProfile(**{**facts, **changes})


@pytest.mark.parametrize(
    ("column", "separator", "said"),
    [
        (profile(["a", "a|b", "b", "a|b"] * 9), "|", "'a|b'"),
        (profile(["雨", "雨；风", "风"] * 9), "；", "'雨；风'"),
        (profile(["a", "b"] * 9), "", "each cell is one label"),
        (profile(['["a", "b"]'] * 9, is_list=True), "list", '["a", "b"]'),
    ],
)
def test_the_separator_is_decided_from_the_column_and_said(column: ColumnProfile, separator: str, said: str) -> None:
    tuned, (choice,) = task(dropout=0.3).tuned_to([column], {"text": "text", "label": "tags"})
    assert tuned.config.separator == choice.value == separator
    assert tuned.config.dropout == 0.3
    assert choice.path == "task.separator"
    assert said in choice.reason


def test_a_separator_that_was_given_is_left_alone() -> None:
    asked = task(separator="/")
    assert asked.tuned_to([profile(["a|b"] * 9)], {"label": "tags"}) == (asked, ())


def test_a_label_column_that_was_not_profiled_holds_one_label_a_cell() -> None:
    tuned, _ = task().tuned_to([], {"label": "elsewhere"})
    assert tuned.config.separator == ""


def test_the_label_out_of_scope_belongs_to_the_labels_with_or_without_rows(make_dataset: MakeDataset) -> None:
    unbound = task(out_of_scope=" 其他 ")
    assert [field.labels for field in unbound.stored] == [(), ("其他",)]
    bound = unbound.bind(make_dataset(ONE))
    assert bound.labels == tuple(sorted(["坏", "好", "其他"]))
    assert bound.num_outputs == 3
    gold, answer = bound.gold(make_dataset(ONE).table("train")), bound.decode(np.eye(3))
    assert isinstance(gold, Label)
    assert isinstance(answer, Label)
    assert gold.out_of_scope == answer.out_of_scope == gold.take(np.array([0])).out_of_scope == "其他"
    again = task(**bound.config.model_dump()).with_labels(bound.labels, multi_label=False)
    assert (again.labels, again.out_of_scope) == (bound.labels, "其他")
    assert {"in_scope_accuracy", "in_scope_refused", "out_of_scope_recall", "out_of_scope_auroc"} <= set(bound.metrics)
    plain = task().bind(make_dataset(ONE))
    assert not any("scope" in name for name in plain.metrics)
    assert plain.out_of_scope is None


@pytest.mark.parametrize(
    ("options", "multi_label", "given"),
    [({"output": "sigmoid"}, False, "task.output=sigmoid"), ({}, True, "rows of none or several labels")],
)
def test_out_of_scope_needs_one_label_a_row_and_one_output_a_label(
    options: dict[str, str], multi_label: bool, given: str
) -> None:
    with pytest.raises(InputError) as caught:
        task(out_of_scope="oos", **options).with_labels(["a", "oos"], multi_label=multi_label)
    assert caught.value.where == "task.out_of_scope"
    assert given in str(caught.value.given)
    assert "softmax" in str(caught.value.allowed)
    assert caught.value.hint
