"""What the page says of refusing: in words, with the rows it came to, and nothing where nothing is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tunewright.report.render import render
from tunewright.report.terminal import summary

Result = dict[str, Any]


@pytest.fixture
def refusing(result: Result) -> Result:
    """The binary English run as if its second label stood for what is out of scope."""

    def measure(value: float | None, num_rows: int) -> dict[str, Any]:
        return {"value": value, "interval": None, "num_rows": num_rows, "method": "", "note": ""}

    result["metrics"] |= {
        "in_scope_accuracy": measure(0.93, 4500),
        "in_scope_refused": measure(0.05, 4500),
        "out_of_scope_recall": measure(0.62, 1000),
        "out_of_scope_auroc": measure(0.95, 5500),
    }
    result |= {"out_of_scope": "<其他>", "thresholds": {"<其他>": 0.4312}}
    result["config"]["values"]["evaluate"] = {"refuse_share": 0.05}
    return result


def told(page: str) -> str:
    """The text of the part, without its marks."""
    found = re.search(r"<h3>What is refused</h3>(.*?)<h3>", page, re.DOTALL)
    assert found is not None
    return " ".join(re.sub(r"<[^>]+>", " ", found.group(1)).split())


def test_the_rule_and_the_rows_are_told(refusing: Result) -> None:
    text = told(render(refusing))
    assert "answered &lt;其他&gt; , where that is its likeliest label" in text
    assert "no other label has a probability of 0.431 or more" in text
    assert "at most 5 % of the validation rows in scope" in text
    assert "In scope 4,500 93.0 % 2.0 % 5.0 %" in text
    assert "Out of scope 1,000 – 38.0 % 62.0 %" in text
    page = render(refusing)
    assert "Decision thresholds" not in page, "one number, and it is told in words"
    assert "Out of scope: ROC area" in page


def test_without_limit_rows_or_label_it_says_less(refusing: Result) -> None:
    assert "There is no limit on the others." in told(render(refusing | {"thresholds": {}}))
    refusing["metrics"]["out_of_scope_recall"]["value"] = None
    text = told(render(refusing))
    assert "Out of scope" not in text.split("Refused")[1].split("No judged row")[0]
    assert "what refusing gains is not known" in text
    assert "limits chosen on the other folds" in told(render(refusing | {"judged_on": "out-of-fold"}))
    assert "What is refused" not in render(refusing | {"out_of_scope": None})


def test_the_terminal_says_it_in_two_lines(refusing: Result) -> None:
    assert summary(refusing).scope == (
        "In scope: 93.0 % answered rightly, 5.0 % refused.",
        "Out of scope: 62.0 % refused.",
    )
    for name in [name for name in refusing["metrics"] if "scope" in name]:
        del refusing["metrics"][name]
    assert summary(refusing).scope == ()
