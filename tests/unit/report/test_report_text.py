"""The page and the terminal of a text run: shown for what the result holds, not for the task; texts only as allowed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tunewright.report.config import Report
from tunewright.report.privacy import Policy
from tunewright.report.render import render
from tunewright.report.terminal import summary

Result = dict[str, Any]
SECTIONS = ("predicted", "dialogues", "supervision")


def sections(page: str) -> set[str]:
    return set(re.findall(r'<section id="(\w+)"', page))


@pytest.fixture
def chat(results: dict[str, Result]) -> Result:
    return results["chat"]


def test_sections_follow_the_result_and_not_the_task(chat: Result, result: Result) -> None:
    assert sections(render(chat)) >= {*SECTIONS, "verdict", "numbers"}
    assert not sections(render(chat)) & {"confusion", "curves", "errors"}
    assert not sections(render(result)) & set(SECTIONS)
    assert set(SECTIONS) <= sections(render(chat | {"task": "something else"}))
    for name, key in zip(SECTIONS, ("figures", "dialogues", "xray"), strict=True):
        assert name not in sections(render(chat | {key: {}}))


def test_every_check_stands_in_the_page_with_its_limit(chat: Result) -> None:
    page = render(chat)
    for check in chat["verdict"]["checks"]:
        assert check["limit"] in page
    assert page.count('class="bad">failed') == 1
    assert "Not called better: 1 check failed." in page


def test_less_is_better_where_it_is(chat: Result, result: Result) -> None:
    page = render(chat)
    assert "◂ tuned better" in page
    assert "opponent better ▸" in page
    assert "whisker bad" not in page
    assert "◂ opponent better" in render(result) or "tuned better ▸" in render(result)
    lines = summary(chat).lines
    assert [line.style for line in lines[1:]] == ["good"] * 3
    lost = chat["verdict"]["comparisons"][0]
    lost |= {"difference": 5.0, "interval": [3.0, 7.0]}
    assert "bad" in [line.style for line in summary(chat).lines]


@pytest.mark.parametrize(
    ("rows", "mask", "shown", "hidden"),
    [
        ("text", True, ("[email]", "[phone]", "How do I reset"), ("ann@example.org", "13812345678")),
        ("text", False, ("ann@example.org", "13812345678"), ("[email]",)),
        ("ids", True, ("chats.jsonl:",), ("How do I reset", "退款")),
        ("none", True, (), ("How do I reset", "退款", "chats.jsonl:2")),
    ],
)
def test_texts_are_shown_as_the_recipe_allows(
    chat: Result, rows: Any, mask: bool, shown: tuple[str, ...], hidden: tuple[str, ...]
) -> None:
    page = render(chat, Report.Config(rows=rows, mask=mask))
    assert all(text in page for text in shown)
    assert not [text for text in hidden if text in page]


def test_selecting_twice_changes_nothing_and_masks_answers_too(chat: Result) -> None:
    policy = Policy(max_errors=5)
    once = policy.select_dialogues(chat["dialogues"])
    assert len(once) == 5
    assert policy.select_dialogues(once) == once
    leaking = {"prompt": "x", "reference": "y", "answers": {"tuned": "mail bob@example.org"}}
    assert policy.select_dialogues([leaking])[0]["answers"] == {"tuned": "mail [email]"}
    bare = Policy(rows="ids").select_dialogues(chat["dialogues"])[0]
    assert not {"prompt", "reference", "answers"} & set(bare)


def test_the_xray_is_masked_over_its_spans(chat: Result) -> None:
    policy = Policy()
    kept: Any = policy.select_xray(chat["xray"])
    assert "[email]" in kept["samples"][0][0]["text"]
    assert policy.select_xray(kept) == kept
    assert "samples" not in Policy(rows="ids").select_xray(chat["xray"])
    page = render(chat)
    assert "ann@exam" not in page
    assert 'class="lit" title="assistant"' in page
    assert '<span class="alarm">3</span>' in page


def test_the_terminal_says_the_same(chat: Result) -> None:
    shown = summary(chat)
    assert shown.headline == "Not called better: 1 check failed."
    assert [check.name for check in shown.checks if not check.passed] == ["Stop rate"]
    assert next(check.value for check in shown.checks if check.name == "Stop rate") == "93.0 %, needed at least 98.0 %"
    assert all(check.value.isascii() for check in shown.checks)
    assert summary({}).checks == ()


@pytest.mark.parametrize(
    ("against", "told"),
    [
        ("few_shot", "Better than the untouched base, not shown better than the base shown examples."),
        ("ngram", "Better than the untouched base, not shown better than the n-gram model."),
        ("nb_svm", "Better than the untouched base, not shown better than NB-SVM."),
        ("tfidf_lr", "Better than the untouched base, not shown better than TF-IDF + logistic regression."),
        ("my_own", "Better than the untouched base, not shown better than my own."),
    ],
)
def test_the_headline_says_what_was_beaten_and_what_not(chat: Result, against: str, told: str) -> None:
    for check in chat["verdict"]["checks"]:
        check["passed"] = True
    chat["verdict"]["comparisons"][1] |= {"against": against, "p": 0.2, "p_holm": 0.2, "interval": [-9.0, 3.0]}
    assert summary(chat).headline == told
    assert told in render(chat)
    chat["verdict"]["comparisons"][0] |= {"p": 0.3}
    assert summary(chat).headline == "No evidence of a difference."


def test_a_row_stands_by_its_line_alone(chat: Result) -> None:
    page = render(chat)
    assert "chats.jsonl:2257" in page
    assert "row 2256" not in page
    for row in chat["dialogues"]:
        row.pop("origin")
    assert "row 2256" in render(chat)
