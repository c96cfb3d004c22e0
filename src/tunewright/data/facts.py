"""What later stages may ask about the kept rows: how many, how long, in which scripts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tunewright.types import Facts

if TYPE_CHECKING:
    from tunewright.types import Ints

MAX_SCRIPT_ROWS = 20_000

_SCRIPTS = {
    "Latin": re.compile(r"[A-Za-zªºÀ-ÖØ-öø-ʯḀ-ỿＡ-Ｚａ-ｚ]"),
    "Han": re.compile("[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"),
    "Kana": re.compile("[\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9d]"),
    "Hangul": re.compile("[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7af\ud7b0-\ud7ff]"),
    "Cyrillic": re.compile("[\u0400-\u052f\u1c80-\u1c8f\u2de0-\u2dff\ua640-\ua69f]"),
    "Arabic": re.compile(
        "[\u0620-\u065f\u066e-\u06d3\u06d5-\u06ef\u06fa-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufefc]"
    ),
}
_LETTER = re.compile(r"[^\W\d_]")


class ScriptCount:
    """Counts letters by script."""

    def __init__(self) -> None:
        """Begin with none."""
        self._counts: Counter[str] = Counter()

    def add(self, texts: Iterable[str]) -> None:
        """Count the letters of some texts."""
        joined = "\n".join(texts)
        num_letters = len(_LETTER.findall(joined))
        for name, pattern in _SCRIPTS.items():
            found = len(pattern.findall(joined))
            self._counts[name] += found
            num_letters -= found
        self._counts["other"] += max(0, num_letters)

    def shares(self) -> dict[str, float]:
        """The share of each script that occurs, summing to 1; empty when there are no letters."""
        total = sum(self._counts.values())
        return {name: round(count / total, 4) for name, count in self._counts.most_common() if count} if total else {}


def build_facts(lengths: Sequence[int] | Ints, scripts: ScriptCount) -> Facts:
    """The facts from the lengths in characters of the kept rows."""
    array = np.asarray(lengths, np.int64)
    return Facts(
        num_rows=len(array),
        mean_characters=round(float(array.mean()), 2) if len(array) else 0.0,
        p99_characters=int(np.percentile(array, 99, method="higher")) if len(array) else 0,
        scripts=scripts.shares(),
    )
