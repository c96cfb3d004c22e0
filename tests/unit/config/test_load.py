"""Layers in their order, every origin known, every problem told at once with its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.config.load import load, with_automatic
from tunewright.errors import Problem, RecipeError
from tunewright.types import Choice

Write = Callable[[str], Path]

RECIPE = """\
version: 1
data: reviews.csv
model: {name: e5, layers: 2}
task: classify
train:
  lr: 1e-4
  epochs: 2
"""


def problems_of(root: Any, **given: Any) -> tuple[Problem, ...]:
    with pytest.raises(RecipeError) as caught:
        load(root, **given)
    for problem in caught.value.problems:
        assert problem.where
        assert problem.problem
        assert problem.allowed or problem.hint, problem
    return caught.value.problems


def test_every_layer_wins_over_those_below(root: Any, write: Write) -> None:
    loaded = load(
        root,
        path=write(RECIPE),
        environment={
            "TUNEWRIGHT_TRAIN__EPOCHS": "4",
            "TUNEWRIGHT_MODEL__LAYERS": "3",
            "TUNEWRIGHT_HOME": "x",
            "HOME": "y",
        },
        values={"model": {"layers": 5}, "train": {"warmup": 7}},
        overrides=["train.warmup=9"],
    )
    config = loaded.config
    assert (config.train.lr, config.train.epochs, config.model.layers, config.train.warmup) == (1e-4, 4, 5, 9)
    assert config.model.name == "e5"
    origins = {path: str(origin).rpartition("/")[2] for path, origin in loaded.origins.items()}
    assert origins == {
        "name": "default",
        "data.path": "recipe.yaml:2",
        "data.columns": "default",
        "data.clean": "default",
        "data.test": "default",
        "model.name": "recipe.yaml:3",
        "model.layers": "argument model",
        "task.name": "recipe.yaml:4",
        "task.max_length": "default",
        "task.head.dropout": "default",
        "method.name": "default",
        "method.max_length": "default",
        "method.head.dropout": "default",
        "train.lr": "recipe.yaml:6",
        "train.optimizer": "default",
        "train.shuffle": "default",
        "train.epochs": "TUNEWRIGHT_TRAIN__EPOCHS",
        "train.warmup": "override train.warmup",
        "extra": "default",
    }


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("train.lr=1e-5", "train.lr", 1e-5),
        ("train.shuffle=false", "train.shuffle", False),
        ("data.columns.text=review", "data.columns", {"text": "review"}),
        ("data.columns={text: a=b, label: 标签}", "data.columns", {"text": "a=b", "label": "标签"}),
        ("data.clean=[html, 'no']", "data.clean", ("html", "no")),
        ("model=e5", "model.name", "e5"),
        ("model.layers=", "model.layers", None),
        ("name=no", "name", "no"),
        ("method.head.dropout=0", "method.config.head.dropout", 0.0),
        ("extra={lr: 1}", "extra.lr", 1.0),
        ("extra=null", "extra", None),
    ],
)
def test_overrides_are_read_as_yaml(root: Any, override: str, path: str, value: object) -> None:
    found = load(root, values={"data": "x.csv"}, overrides=[override]).config
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value


def test_mappings_add_up_and_lists_are_replaced(root: Any) -> None:
    values = {"data": {"path": "x", "columns": {"text": "a"}, "clean": ["html", "trim"]}}
    config = load(root, values=values, overrides=["data.columns.label=b", "data.clean=[space]"]).config
    assert dict(config.data.columns) == {"text": "a", "label": "b"}
    assert config.data.clean == ("space",)


def test_a_section_left_empty_is_a_section_of_defaults(root: Any, write: Write) -> None:
    assert load(root, path=write("version: 1\ndata: x\ntrain:\nextra: {}\n")).config.train.epochs == 3


def test_an_empty_mapping_takes_nothing_away(root: Any) -> None:
    assert load(root, values={"data": "x", "train": {"epochs": 9}}, overrides=["train={}"]).config.train.epochs == 9


def test_naming_another_extension_drops_the_options_of_the_first(root: Any, write: Write) -> None:
    path = write("version: 1\ndata: x\ntask: {name: classify, max_length: 64}\n")
    assert load(root, path=path, overrides=["task.head.dropout=0.5"]).config.task.config.max_length == 64
    assert load(root, path=path, overrides=["task=classify"]).config.task.config.max_length == 64
    loaded = load(root, path=path, overrides=["task={name: rank, depth: 2}"])
    assert loaded.config.task.config.model_dump() == {"depth": 2}
    assert load(root, path=path, overrides=["task=tag"]).config.task.name == "tag"


def test_options_of_the_default_extension_need_no_name(root: Any) -> None:
    chosen = load(root, values={"data": "x"}, overrides=["method.max_length=32"]).config.method
    assert (chosen.family, chosen.name, chosen.config.max_length) == ("toy.task", "classify", 32)


def test_records_of_an_earlier_configuration_can_be_given(root: Any) -> None:
    first = load(root, values={"data": "x", "method": {"name": "rank", "depth": 3}, "train": {"epochs": 5}}).config
    again = load(root, values={"data": first.data, "method": first.method, "train": first.train}).config
    assert again == first


def test_automatic_choices_carry_their_reason(root: Any) -> None:
    loaded = load(root, values={"data": "x"})
    assert (loaded.config.task.name, loaded.config.task.config.model_dump()) == ("auto", {})
    choices = [Choice("task", "classify", "two labels"), Choice("task.max_length", 128, "99 % of the rows are shorter")]
    filled = with_automatic(loaded, choices)
    assert filled.config.task.config.max_length == 128
    assert str(filled.origins["task.name"]) == "automatic: two labels"
    assert str(filled.origins["task.max_length"]) == "automatic: 99 % of the rows are shorter"
    assert loaded.config.task.name == "auto"


def test_an_automatic_choice_is_validated_too(root: Any) -> None:
    with pytest.raises(RecipeError) as caught:
        with_automatic(load(root, values={"data": "x"}), [Choice("train.epochs", 0, "no rows")])
    assert caught.value.problems[0].allowed == "a whole number >= 1"


def test_every_problem_is_told_at_once_in_the_order_of_the_file(root: Any, write: Write) -> None:
    path = write(
        "version: 2\ndata:\n  path: x\n  tets: 0.3\n  clean: [html,\n    3]\n  test: 0.7\n  test: 0.1\n"
        "task: {name: clasify}\nmethod: {name: rank, depth: 0}\ntrain:\n  optimizer: adam\n  epochs: many\n  lr: .nan\n"
    )
    problems = problems_of(
        root,
        path=path,
        environment={"TUNEWRIGHT_TRAIN__SHUFLE": "true"},
        overrides=["train", "modle=x", "model.layers=-1", "extra.warmup=[1", "train.warmup=1000", "train.epochs=2"],
    )
    told = [
        (problem.where.replace(str(path), "F"), problem.problem, problem.allowed, problem.hint) for problem in problems
    ]
    assert told == [
        ("F:1", "this version of the format is not known", "version: 1", "begin the file with the line `version: 1`"),
        ("F:4", "there is no option `data.tets`", "clean, columns, path, test", "did you mean data.test?"),
        ("F:6", "`data.clean[1]` is of the wrong kind", "a list, each text", 'put it in quotes: "3"'),
        ("F:7", "`data.test` is out of range", "a number > 0 and < 0.5", "data.test=0.2 (the default)"),
        ("F:8", "the same key is given twice", "each key once", "keep one of them (the first is on line 7)"),
        ("F:9", "`task`: there is no task of this name", "classify, rank, tag", "did you mean classify?"),
        ("F:10", "`method.depth` is out of range", "a whole number >= 1", "method.depth=1"),
        ("F:12", "`train.optimizer` is not one of the choices", "one of adamw, sgd", "did you mean adamw?"),
        ("F:14", "`train.lr` is out of range", "a number > 0", "train.lr=5e-05 (the default)"),
        ("override", "an override sets one option", "key=value, as in train.lr=1e-5", "train=VALUE"),
        ("override extra.warmup", problems[10].problem, problems[10].allowed, problems[10].hint),
        (
            "TUNEWRIGHT_TRAIN__SHUFLE",
            "there is no option `train.shufle`",
            problems[11].allowed,
            "did you mean train.shuffle?",
        ),
        ("override modle", "there is no option `modle`", problems[12].allowed, "did you mean model?"),
        ("override model.layers", "`model.layers` is out of range", "a whole number > 0 or null", "model.layers=1"),
    ]
    assert "this is not YAML" in problems[10].problem


def test_a_rule_over_several_options_is_told_at_their_section(root: Any, write: Write) -> None:
    path = write("version: 1\ndata: x\ntrain:\n  warmup: 1000\n")
    [problem] = problems_of_any(root, path)
    assert (problem.where, problem.problem) == (f"{path}:3", "`train`: the warm-up is longer than the training")


def problems_of_any(root: Any, path: Path) -> tuple[Problem, ...]:
    with pytest.raises(RecipeError) as caught:
        load(root, path=path)
    return caught.value.problems


@pytest.mark.parametrize(
    ("override", "given", "problem", "hint"),
    [
        ("name=5", 5, "`name` is of the wrong kind", 'put it in quotes: "5"'),
        ("train=3", 3, "`train` is of the wrong kind", "train.lr=5e-05 (the default)"),
        ("train.epochs=2.5", 2.5, "`train.epochs` is of the wrong kind", "train.epochs=3 (the default)"),
        ("train.epochs=", "null", "`train.epochs` is of the wrong kind", "train.epochs=3 (the default)"),
        ("train.lr=.inf", float("inf"), "`train.lr` is out of range", "train.lr=5e-05 (the default)"),
        (
            "task.max_length=9",
            None,
            "`task`: options are given to something that is not named",
            "name it beside its options",
        ),
        ("task=[1]", "[1]", "`task`: there is no task of this name", "task=classify"),
        ("method.max_length=3", 3, "`method.max_length` is out of range", "method.max_length=auto (the default)"),
        (
            "method.head.dropuot=3",
            "dropuot",
            "there is no option `method.head.dropuot`",
            "did you mean method.head.dropout?",
        ),
        ("epochs=2", "epochs", "there is no option `epochs`", "did you mean train.epochs?"),
        ("epoch=2", "epoch", "there is no option `epoch`", "did you mean train.epochs?"),
        ("max_lenght=9", "max_lenght", "there is no option `max_lenght`", "did you mean task.max_length?"),
        ("zzzz=9", "zzzz", "there is no option `zzzz`", "remove it"),
        ("extra.epochs=x", "x", "`extra.epochs` is of the wrong kind", "extra.epochs=3 (the default)"),
        ("method=rank", None, "`method.depth` is required", "add method.depth: How many are put in order."),
        (
            f"name={'x' * 41}",
            "x" * 41,
            "`name` is refused: string should have at most 40 characters",
            "name=TEXT",
        ),
    ],
)
def test_one_problem_in_four_parts(root: Any, override: str, given: object, problem: str, hint: str) -> None:
    [found] = problems_of(root, values={"data": "x"}, overrides=[override])
    if given is not None:
        assert found.given == given
    assert (found.problem, found.hint) == (problem, hint)


def test_what_is_required_is_missed_where_it_belongs(root: Any, write: Write) -> None:
    path = write("version: 1\nname: a\n")
    [found] = problems_of(root, path=path)
    assert (found.where, found.problem) == (f"{path}:1", "`data` is required")
    [found] = problems_of(root)
    assert (found.where, found.problem) == ("data", "`data` is required")
