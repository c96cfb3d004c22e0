"""The report: one HTML file that needs nothing else, made from the ``result.json`` of a run (promise N19).

No script, no font, no image, no address of another machine: the policy in its head forbids them all, and allows the one
style sheet by its hash. Whatever the result lacks is left out, so that an interrupted or an older run shows what it has.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from tunewright.report.config import Report
from tunewright.report.markup import Markup, datum, element, join
from tunewright.report.node import Node
from tunewright.report.privacy import Policy
from tunewright.report.section import (
    confusion,
    data,
    dialogues,
    discrimination,
    metrics,
    record,
    search,
    spans,
    training,
    verdict,
    wrong,
    xray,
)
from tunewright.report.wording import large

CONTENTS = (
    ("winner", "Winner"),
    ("trials", "Trials"),
    ("importance", "Importance"),
    ("numbers", "Numbers"),
    ("diagnosis", "Diagnosis"),
    ("training", "Training"),
    ("curves", "Score curves"),
    ("confusion", "Confusion"),
    ("spans", "How spans go wrong"),
    ("errors", "Worst errors"),
    ("predicted", "Prediction and length"),
    ("dialogues", "Dialogues"),
    ("supervision", "Supervision"),
    ("data", "Data"),
    ("choices", "Choices"),
    ("config", "Configuration"),
    ("machine", "Machine"),
    ("repeat", "Repeat"),
)


def render(result: Mapping[str, object], config: Report.Config | None = None) -> str:
    """The report of a run as one HTML file, under ``config`` or else under the ``report`` section of the run's own.

    ``result`` is what ``result.json`` holds. Absent parts are left out; nothing in it can make this fail.
    """
    node = Node(result)
    policy = (Report(config) if config else Report.recorded(result)).policy
    sections = [one for one in _sections(node, policy) if one]
    body = (
        _banner(node),
        element("main", sections[0], _contents(sections), *sections[1:]),
        element("footer", element("p", "Made by Tunewright. This file holds everything it shows and loads nothing.")),
    )
    page = element("html", _head(node), element("body", *body), lang="en")
    return f"<!DOCTYPE html>\n{page}\n"


def _sections(node: Node, policy: Policy) -> list[Markup]:
    return [
        search.opening(node) if node["search"] else verdict.verdict(node),
        search.winner(node),
        search.trials(node),
        search.importance(node),
        metrics.metrics(node),
        verdict.diagnosis(node),
        training.training(node),
        discrimination.discrimination(node),
        confusion.confusion(node),
        spans.spans(node),
        wrong.wrong(node, policy),
        dialogues.predicted(node),
        dialogues.dialogues(node, policy),
        xray.xray(node, policy),
        data.data(node, policy),
        record.choices(node),
        record.configuration(node),
        record.machine(node),
        record.repeat(node),
    ]


def _contents(sections: Sequence[Markup]) -> Markup | None:
    whole = "".join(sections)
    links = [
        element("li", element("a", title, href=f"#{name}"))
        for name, title in CONTENTS
        if f'<section id="{name}"' in whole
    ]
    return element("nav", element("ul", *links), aria_label="Contents") if len(links) > 2 else None


def _banner(node: Node) -> Markup:
    model = node["model"]
    parameters = model["num_parameters"].number()
    told = [
        node["task"].text(),
        f"{node['method'].text()} tuning" if node["method"] else "",
        model["name"].text(),
        f"{large(parameters)} parameters" if parameters else "",
        node["created"].text().replace("T", " ").replace("Z", " UTC"),
    ]
    parts = [datum(part) for part in told if part]
    name = element(
        "p", "Tunewright report", element("b", datum(node["id"].text())) if node["id"] else None, class_="name"
    )
    return element("header", name, element("p", join(parts, " · "), class_="quiet") if parts else None)


def _head(node: Node) -> Markup:
    outcome, name = node["verdict"]["outcome"].text(), node["id"].text()
    title = " · ".join(part for part in (outcome, name, "Tunewright report") if part)
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=content_policy()),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content="Tunewright"),
        element("title", title),
        element("style", Markup(style_sheet())),
    )


@cache
def style_sheet() -> str:
    """The style sheet, as it stands in the page."""
    return Path(__file__).with_name("style.css").read_text(encoding="utf-8")


def content_policy() -> str:
    """The Content-Security-Policy of the page (CSP level 3): nothing but the style sheet with this hash."""
    digest = base64.b64encode(hashlib.sha256(style_sheet().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
