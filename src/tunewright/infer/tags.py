"""Labelled spans as one tag to a word, and back: the likeliest tags that obey the scheme.

    bio      B-x opens a span of label x, I-x goes on with it, O is outside (Ramshaw & Marcus 1995, section 4.1, as IOB2)
    bioes    E-x closes it, S-x is a span of one word (Ratinov & Roth 2009, section 5)

Shape letters: P words, G tags, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from tunewright.infer.words import Unit
from tunewright.types import Bools, Floats, Ints, Span

Scheme = Literal["bio", "bioes"]
OUTSIDE = "O"
IMPOSSIBLE = -1e9


@dataclass(frozen=True)
class Tags:
    """The tags for a set of labels; ``names[0]`` is O."""

    labels: tuple[str, ...]
    scheme: Scheme = "bio"

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All tags, G of them."""
        return (OUTSIDE, *(f"{mark}-{label}" for label in self.labels for mark in self.scheme.replace("o", "").upper()))

    @cached_property
    def _number(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}

    @cached_property
    def may_begin(self) -> Bools:
        """Which tags[G] a text may begin with."""
        return np.array([name[0] in "OBS" for name in self.names])

    @cached_property
    def may_end(self) -> Bools:
        """Which tags[G] a text may end with."""
        inside = "BI" if self.scheme == "bioes" else ""
        return np.array([name[0] not in inside for name in self.names])

    @cached_property
    def may_follow(self) -> Bools:
        """Whether the second tag may follow the first: [G, G]."""
        return np.array([[self._may_follow(first, second) for second in self.names] for first in self.names])

    def _may_follow(self, first: str, second: str) -> bool:
        is_open = first[0] in "BI" and (self.scheme == "bioes" or second[0] == "I")
        goes_on = second[0] in "IE"
        return first[2:] == second[2:] and goes_on if is_open else not goes_on

    def of_spans(self, spans: Sequence[Span], units: Sequence[Unit]) -> tuple[Ints, int]:
        """One tag number to each unit[P]; and how many of the spans begin or end inside a unit, or meet another one there."""
        tags = np.zeros(len(units), dtype=np.int64)
        num_moved, at = 0, 0
        for span in sorted(spans):
            while at < len(units) and units[at].end <= span.start:
                at += 1
            begin = at
            while at < len(units) and units[at].start < span.end:
                at += 1
            inside = units[begin:at]
            is_exact = bool(inside) and (inside[0].start, inside[-1].end) == (span.start, span.end)
            num_moved += not is_exact
            tags[begin:at] = [self._number[f"{mark}-{span.label}"] for mark in self._marks(len(inside))]
        return tags, num_moved

    def _marks(self, length: int) -> str:
        if self.scheme == "bio":
            return "B" + "I" * (length - 1) if length else ""
        return "S" if length == 1 else "B" + "I" * (length - 2) + "E" if length else ""

    def to_spans(self, tags: Ints, units: Sequence[Unit], logs: Floats | None = None) -> tuple[Span, ...]:
        """The spans that tags[P] spell. Given log-probabilities[P, G], each has the mean of its tags' as its score."""
        found: list[Span] = []
        begin = 0
        for at, tag in enumerate(tags):
            name = self.names[tag]
            if name == OUTSIDE:
                continue
            if name[0] in "BS":
                begin = at
            closes = at + 1 == len(tags) or self.names[tags[at + 1]][0] not in "IE"
            if closes:
                score = None
                if logs is not None:
                    rows = np.arange(begin, at + 1)
                    score = float(np.exp(logs[rows, tags[begin : at + 1]].mean()))
                found.append(Span(units[begin].start, units[at].end, name[2:], score))
        return tuple(found)

    def decode(self, logits: Floats) -> tuple[Ints, Floats]:
        """The likeliest tags[P] that obey the scheme, for logits[P, G], and the log-probabilities[P, G] of each alone.

        Viterbi 1967, section 3, with transitions that are allowed or not and else cost nothing.
        """
        largest = logits.max(axis=1, keepdims=True)
        logs = logits - largest - np.log(np.exp(logits - largest).sum(axis=1, keepdims=True))
        if not len(logits):
            return np.zeros(0, dtype=np.int64), logs
        barred = np.where(self.may_follow, 0.0, IMPOSSIBLE)
        best = logs[0] + np.where(self.may_begin, 0.0, IMPOSSIBLE)
        back = np.zeros(logits.shape, dtype=np.int64)
        for at in range(1, len(logs)):
            paths = best[:, np.newaxis] + barred
            back[at] = paths.argmax(axis=0)
            best = paths.max(axis=0) + logs[at]
        tags = np.zeros(len(logs), dtype=np.int64)
        tags[-1] = (best + np.where(self.may_end, 0.0, IMPOSSIBLE)).argmax()
        for at in range(len(logs) - 1, 0, -1):
            tags[at - 1] = back[at, tags[at]]
        return tags, logs
