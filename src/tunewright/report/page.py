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
from typing import Literal

from pydantic import ValidationError

from tunewright.config.base import ComponentConfig, Option
from tunewright.report.markup import Markup, datum, element, join
from tunewright.report.node import Node
from tunewright.report.privacy import Policy
from tunewright.report.section import confusion, data, discrimination, metrics, record, training, verdict, wrong
from tunewright.report.wording import large

CONTENTS = (
    ("numbers", "Numbers"),
    ("diagnosis", "Diagnosis"),
    ("training", "Training"),
    ("curves", "Score curves"),
    ("confusion", "Confusion"),
    ("errors", "Worst errors"),
    ("data", "Data"),
    ("choices", "Choices"),
    ("config", "Configuration"),
    ("machine", "Machine"),
    ("repeat", "Repeat"),
)


class Report:
    """Makes the page of a run, and decides what of the user's rows may be kept and shown."""

    class Config(ComponentConfig):
        """What the report shows of the rows that were answered wrong."""

        rows: Literal["none", "ids", "text"] = Option(
            "text", "Wrong rows in the report: none, only their id and file:line, or with their text."
        )
        mask: bool = Option(
            True, "Replace e-mail addresses, phone, card, account and identity numbers and IP addresses in shown texts."
        )
        max_errors: int = Option(50, "The most wrong rows to keep, the most confident first.", ge=0, le=10_000)

    def __init__(self, config: Config | None = None) -> None:
        """Hold the configuration; the default one without."""
        self.config = config or self.Config()

    @property
    def policy(self) -> Policy:
        """What may be shown of the user's rows."""
        return Policy(self.config.rows, self.config.mask, self.config.max_errors)

    def select_errors(self, errors: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
        """The wrong rows as ``result.json`` may hold them: cut to ``max_errors``, without text or masked, as configured."""
        return self.policy.select(errors)

    def render(self, result: Mapping[str, object]) -> str:
        """The page as UTF-8 text."""
        node = Node(result)
        sections = [one for one in _sections(node, self.policy) if one]
        body = (
            _banner(node),
            element("main", sections[0], _contents(sections), *sections[1:]),
            element(
                "footer", element("p", "Made by Tunewright. This file holds everything it shows and loads nothing.")
            ),
        )
        page = element("html", _head(node), element("body", *body), lang="en")
        return f"<!DOCTYPE html>\n{page}\n"


def render(result: Mapping[str, object], config: Report.Config | None = None) -> str:
    """The report of a run as one HTML file, under ``config`` or else under the ``report`` section of the run's own."""
    return Report(config or recorded_config(result)).render(result)


def recorded_config(result: Mapping[str, object]) -> Report.Config:
    """The report's configuration as the run recorded it; one that cannot be read shows no rows at all."""
    recorded = Node(result)["config"]["values"]["report"]
    if not isinstance(recorded.value, Mapping):
        return Report.Config()
    known = {key: value for key, value in recorded.value.items() if key in Report.Config.model_fields}
    try:
        return Report.Config.model_validate(known)
    except ValidationError:
        return Report.Config(rows="none")


def _sections(node: Node, policy: Policy) -> list[Markup]:
    return [
        verdict.verdict(node),
        metrics.metrics(node),
        verdict.diagnosis(node),
        training.training(node),
        discrimination.discrimination(node),
        confusion.confusion(node),
        wrong.wrong(node, policy),
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
