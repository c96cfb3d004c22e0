"""Text in pieces, alike in every language: words where they are written apart, single characters where they are not."""

from __future__ import annotations

import re

ALONE = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Scripts without spaces: Thai and Lao, Burmese, Khmer, kana, Han with its extensions."""

PIECE = re.compile(rf"[{ALONE}]|[^\W{ALONE}]+(?:['’][^\W{ALONE}]+)*|[^\w\s]")


def pieces(text: str) -> list[str]:
    """Words with their apostrophes, punctuation marks, and the single characters of scripts without spaces."""
    return PIECE.findall(text)
