"""What tuning has cost in general (row E5, first form): the perplexity of a plain general text before and after.

The texts lie in ``general/``, one a language: short factual prose on several subjects, written for this package.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from tunewright.types import Check, Retention

LANGUAGES = ("en", "zh")
GENERAL = Path(__file__).with_name("general")

MOST_BITS_PER_BYTE = 2.0
"""A base that needs more bits for a byte of a text does not know its language and has nothing to forget in it. Gemma 3 270M needs
1.1 for the English text and 1.4 for the Chinese one; SmolLM2 135M, which never learnt Chinese, 1.1 and 2.4."""

WHY_RATIO = "a factor of 1.4 lies between GPT-2's two smallest sizes (Radford et al. 2019, table 3)"


def general_text(language: str) -> str:
    """The general text of a language, one of ``LANGUAGES``."""
    return (GENERAL / f"{language}.txt").read_text(encoding="utf-8").strip()


def retention(nll_base: float, nll_tuned: float, num_tokens: int) -> Retention:
    """Perplexities from the summed nats of one text under both models; ``num_tokens`` were predicted by each."""
    before, after = (_exp(nll / num_tokens) for nll in (nll_base, nll_tuned))
    return Retention(before, after, _exp((nll_tuned - nll_base) / num_tokens), num_tokens)


def bits_per_byte(found: Retention, language: str) -> float:
    """Bits that the base needed for each UTF-8 byte of the general text."""
    return found.num_tokens * math.log2(found.before) / len(general_text(language).encode())


def check_retention(found: Mapping[str, Retention], limit: float) -> tuple[Check, ...]:
    """One check for each language that the base knows; of the others nothing is asked."""
    return tuple(
        Check(
            f"retention_{language}",
            one.ratio <= limit,
            one.ratio,
            f"at most {limit:g}",
            f"perplexity of general text went from {one.before:,.1f} to {one.after:,.1f}; {WHY_RATIO}",
        )
        for language, one in found.items()
        if bits_per_byte(one, language) <= MOST_BITS_PER_BYTE
    )


def _exp(nats: float) -> float:
    return math.exp(min(nats, 700.0))
