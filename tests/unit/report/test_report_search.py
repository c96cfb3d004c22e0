"""The page of a search: every trial, the best so far, what mattered, and the winner; nothing it holds can break it."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from tunewright.report.render import render

Result = dict[str, Any]


def trial(number: int, value: float | None, state: str, lr: float, name: object, reason: str = "") -> Result:
    return {
        "number": number, "value": value, "state": state, "seconds": 3.2, "reason": reason, "validations": {"1": value},
        "parameters": {"train.lr": lr, "model.name": name},
    }  # fmt: skip


def searched(**changes: Any) -> Result:
    search: Result = {
        "metric": "log_loss",
        "higher_is_better": False,
        "strategy": {"name": "tpe", "startup": 8},
        "pruner": "median",
        "space": {"train.lr": {"low": 1e-5, "high": 1e-2, "log": True, "step": None}, "model.name": ["甲", "b"]},
        "trials": [
            trial(0, 0.61, "complete", 1e-5, "甲"),
            trial(1, 0.44, "complete", 3e-4, "b"),
            trial(2, 0.93, "pruned", 1e-2, "甲"),
            trial(3, None, "failed", 2e-2, "b", "out of memory: 显存不足"),
            trial(4, 0.52, "complete", 1e-3, "甲"),
        ],
        "importance": {"train.lr": 0.81, "model.name": 0.19},
        "best": {
            "number": 1,
            "value": 0.44,
            "parameters": {"train.lr": 3e-4, "model.name": "b"},
            "recipe": "version: 1\ntrain:\n  lr: 0.0003  # trial 1 of 5\n",
            "file": "runs/a/best.yaml",
            "command": "tunewright run runs/a/best.yaml",
        },
    }
    return {
        "format": 1,
        "id": "films-tune-1a2b3c4d",
        "command": "tunewright tune films.yaml",
        "search": search | changes,
    }


def test_the_page_leads_with_the_best_value_and_its_command() -> None:
    page = render(searched())
    assert "Log loss 0.4400 on the validation rows." in page
    assert "tunewright run runs/a/best.yaml" in page
    assert "# trial 1 of 5" in page
    assert "tunewright replay" not in page
    assert "There is no verdict" not in page
    for name in ("winner", "trials", "importance"):
        assert f'href="#{name}"' in page
        assert f'<section id="{name}"' in page


def test_every_trial_is_in_the_table_and_the_best_is_marked() -> None:
    page = render(searched())
    rows = re.findall(r'<tr( class="marked")?><th scope="row"><bdi>(\d+)</bdi></th>', page)
    assert [(int(number), bool(mark)) for mark, number in rows] == [(n, n == 1) for n in range(5)]
    assert "显存不足" in page
    assert page.count("complete</bdi>") == 3


def test_the_best_so_far_goes_down_where_lower_is_better() -> None:
    says = re.search(r"Best Log loss so far: (\S+) at first, (\S+) at the end", render(searched()))
    assert says is not None
    assert says.groups() == ("0.61", "0.44")
    other = render(searched(higher_is_better=True))
    assert "Best Log loss so far: 0.61 at first, 0.61 at the end" in other


def test_slices_are_drawn_for_numbers_and_for_names() -> None:
    page = render(searched())
    assert page.count("complete trials over") == 2
    assert "1e\N{MINUS SIGN}4" in page, "a rate lies on a logarithmic axis"
    assert ">甲</text>" in page


def test_a_search_without_a_complete_trial_says_so() -> None:
    page = render(searched(best=None, trials=[trial(0, None, "failed", 1.0, "b", "broken")], importance={}))
    assert "No trial was completed." in page
    assert "The winning recipe" not in page


@pytest.mark.parametrize(
    "path", [("trials",), ("best",), ("space",), ("importance",), ("best", "parameters"), ("metric",)]
)
@pytest.mark.parametrize("junk", [None, 7, "x", [], [1, [2]], {"a": {"b": None}}, float("nan")])
def test_no_shape_makes_it_fail(path: tuple[str, ...], junk: object) -> None:
    result = copy.deepcopy(searched())
    place = result["search"]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = junk
    assert render(result).startswith("<!DOCTYPE html>")


def test_what_comes_from_outside_is_escaped() -> None:
    attack = "<script>alert(1)</script>"
    result = searched(trials=[trial(n, 0.1 * n, "complete", 1e-3, attack + str(n), attack) for n in range(4)])
    result["search"]["best"]["recipe"] = attack
    result["search"]["space"] = {attack: [1]}
    result["search"]["importance"] = {attack: 1.0}
    assert "<script" not in render(result)
