"""The hand-over certificate (promise N4, first form): the same rows asked before and after a hop, token by token.

Compared are the token ids, the logits at every position, and the likeliest class or token. The certificate fails closed: what
is not shown to be equal is not handed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunewright.config.base import ComponentConfig, Option
from tunewright.errors import GateError
from tunewright.seams import Reader
from tunewright.types import Ints, Tell, tell_nobody

MOST_TOKENS = 1024
"""Logits are compared at the first so many tokens of a row; token ids are compared whole."""


class Certify:
    """How much is compared, and how far two answers may be apart."""

    class Config(ComponentConfig):
        """Options of the certificate."""

        max_rows: int = Option(64, "Validation rows that are compared, spread evenly over all of them.", ge=1)
        max_gap: float = Option(
            1e-4, "Largest gap between two logits, as a share of the largest logit (at least 1); recorded.", ge=0
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What was compared and what was found. ``largest_gap`` is absolute, ``limit`` what it may be on these rows."""

    hop: str
    num_rows: int
    num_available: int
    num_positions: int
    rows_with_equal_tokens: int
    largest_gap: float
    limit: float
    top1_agreement: float
    precision: str = "fp32 on the CPU, one row at a time, in one process"

    @property
    def is_passed(self) -> bool:
        """Whether every row has the same token ids and no logit is further off than the limit."""
        return self.rows_with_equal_tokens == self.num_rows and self.largest_gap <= self.limit


def sample(num_rows: int, most: int) -> Ints:
    """At most ``most`` row numbers, spread evenly, the first and the last among them."""
    return np.unique(np.linspace(0, num_rows - 1, min(most, num_rows)).round().astype(np.int64))


def certify(
    config: Certify.Config,
    rows: Sequence[Any],
    *,
    before: Reader,
    after: Reader,
    hop: str,
    num_available: int,
    tell: Tell = tell_nobody,
) -> Certificate:
    """Ask both about each row. Raises GateError naming the hop and the first row that differs."""
    gap, size, agreeing, num_positions, equal = 0.0, 1.0, 0, 0, 0
    first = ""
    for number, row in enumerate(rows):
        tell("comparing answers", number, len(rows), hop)
        ids, ids_after = before.encode(row), after.encode(row)
        if ids != ids_after:
            first = first or f"validation row {number} of the sample has other token ids"
            continue
        equal += 1
        logits, logits_after = before.logits(ids[:MOST_TOKENS]), after.logits(ids[:MOST_TOKENS])
        apart = float(np.abs(logits - logits_after).max()) if logits.shape == logits_after.shape else float("inf")
        gap = float(np.maximum(gap, apart))  # a NaN stays
        size = max(size, float(np.abs(logits).max()))
        if logits.shape == logits_after.shape:
            agreeing += int((logits.argmax(1) == logits_after.argmax(1)).sum())
        num_positions += len(logits)
        if not apart <= config.max_gap * size:
            first = first or f"validation row {number} of the sample is {apart:.3g} off in a logit"
    found = Certificate(
        hop=hop,
        num_rows=len(rows),
        num_available=num_available,
        num_positions=num_positions,
        rows_with_equal_tokens=equal,
        largest_gap=gap,
        limit=config.max_gap * size,
        top1_agreement=agreeing / num_positions if num_positions else 0.0,
    )
    if not found.is_passed:
        raise GateError(
            "what was written does not answer as the run does; it was taken back",
            where=hop,
            given=first or f"a largest gap of {found.largest_gap:.3g}",
            allowed=f"the same token ids, and logits within {found.limit:.3g}",
            hint=f"look at the versions of the libraries; --max-gap {2 * gap / size:.2g} would let it pass, and record it"
            if np.isfinite(gap) and equal == len(rows)
            else "look at the tokenizer files and the weights of the run",
        )
    return found
