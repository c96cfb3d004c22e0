"""Script: are the texts written in other letters? Latin, Chinese, Cyrillic, digits, signs and so on."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import lru_cache

import numpy as np

from tunewright.maintain.permute import mean_shift
from tunewright.maintain.shares import largest_change
from tunewright.types import Reading, Window


class Script:
    """The mean share of each script in a text, with a permutation test."""

    def score(self, window: Window, reference: Window, level: float, seed: int) -> Reading:
        """The largest change in the share of one script, 0..1."""
        counted = [_shares(text) for text in (*window.texts, *reference.texts)]
        names = sorted({name for shares in counted for name in shares})
        features = np.array([[shares.get(name, 0.0) for name in names] for shares in counted])
        num = len(window.texts)
        _, p = mean_shift(features, num, level, seed)
        value, sentence = largest_change(names, features[:num], features[num:])
        return Reading(signal="script", value=value, p=p, sentence=sentence)


def _shares(text: str) -> dict[str, float]:
    counts = Counter(map(script_of, text))
    return {name: count / len(text) for name, count in counts.items() if name}


@lru_cache(maxsize=1 << 16)
def script_of(character: str) -> str:
    """``latin``, ``cjk``, ``cyrillic`` ... for letters by Unicode's name for them; ``digits``; ``signs``; blanks have none."""
    kind = unicodedata.category(character)[0]
    if kind == "L":
        return unicodedata.name(character, "other").split()[0].split("-")[0].lower()
    return {"N": "digits", "Z": "", "C": ""}.get(kind, "signs")
