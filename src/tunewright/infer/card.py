"""``tunewright.json``: what the folder of a tuned model says of it beside what transformers stores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tunewright.errors import InputError

CARD = "tunewright.json"


def read_card(folder: Path) -> dict[str, Any] | None:
    """The card in ``folder``; None where there is none."""
    path = folder / CARD
    card: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    return card


def require_card(folder: Path) -> dict[str, Any]:
    """The card in ``folder``. Raises InputError where no tuned model lies there."""
    card = read_card(folder)
    if card is None:
        raise InputError(
            "there is no tuned model here",
            where=str(folder),
            allowed=f"the model folder of a finished run, with {CARD}",
            hint="tunewright runs list",
        )
    return card


def answers_with(card: Mapping[str, Any]) -> Literal["labels", "spans", "text"]:
    """The kind of answer that the model gives: labels, which its card names, spans with labels, or text."""
    kind: Literal["labels", "spans", "text"] = card.get("answers", "labels" if "labels" in card else "text")
    return kind


def writes_text(card: Mapping[str, Any]) -> bool:
    """Whether the model writes text."""
    return answers_with(card) == "text"
