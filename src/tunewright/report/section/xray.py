"""The supervision X-ray (promise N2): which tokens are learnt from, by role and turn, and as they lie in a few dialogues."""

from __future__ import annotations

from collections.abc import Mapping

from tunewright.report.blocks import facts, paragraph, part, section, share_bar, table
from tunewright.report.markup import Markup, clean, datum, element, join
from tunewright.report.node import Node
from tunewright.report.privacy import Policy
from tunewright.report.wording import percent, whole

COUNTS = (
    ("without_supervision", "Dialogues without a supervised token"),
    ("cut_answers", "Answers cut to fit"),
    ("unsupervised_ends", "Answers whose end is not supervised"),
)
MAX_CHARACTERS = 2_000


def xray(result: Node, policy: Policy) -> Markup:
    """The section of the X-ray; nothing where the run has none."""
    found = result["xray"]
    return section(
        "supervision",
        "What is learnt from",
        _counts(found),
        _roles(found),
        part("As the model reads it", *_samples(found, policy)),
    )


def _counts(found: Node) -> Markup | None:
    entries = [
        (title, element("span", whole(count), class_="alarm" if count else None))
        for name, title in COUNTS
        if (count := found[name].count()) is not None
    ]
    return facts(entries) if entries else None


def _roles(found: Node) -> Markup | None:
    rows = []
    for one in found["roles"].items():
        tokens, supervised = one["tokens"].count(), one["supervised"].count()
        if tokens is None or supervised is None:
            continue
        turns = one["turns"].count()
        share = join((percent(supervised, tokens) or "–", share_bar(supervised / tokens if tokens else 0.0)))
        rows.append(
            [datum(one["role"].text(), 40), whole(turns) if turns is not None else "", whole(tokens), whole(supervised), share]
        )  # fmt: skip
    heads = ["Role", "Turns", "Tokens", "Supervised", "Share"]
    return table("Tokens by role", heads, rows, numeric=(1, 2, 3, 4), class_="supervision") if rows else None


def _samples(found: Node, policy: Policy) -> list[Markup]:
    shown = policy.select_xray(found.value) if isinstance(found.value, Mapping) else {}
    samples = Node(shown)["samples"].items()
    if not samples:
        return []
    key = join(
        (element("span", "supervised", class_="lit"), ": the loss is taken on these tokens. The rest is only read.")
    )
    return [paragraph(key, class_="quiet"), *(one for sample in samples if (one := _sample(sample)))]


def _sample(sample: Node) -> Markup | None:
    spans = []
    left = MAX_CHARACTERS
    for span in sample.items():
        content = span["text"].text()[:left]
        left -= len(content)
        if content:
            class_ = "lit" if span["supervised"].value is True else None
            spans.append(element("span", clean(content), class_=class_, title=span["role"].text() or None))
    more = element("small", " …") if left <= 0 else None
    return element("pre", *spans, more, class_="xray", tabindex="0", aria_label="dialogue") if spans else None
