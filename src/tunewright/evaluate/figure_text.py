"""What the report draws of a text model, as plain JSON; no text of the user's is in it.

"nll_differences"  {"against", "edges": [...], "counts": [...], "won", "lost", "tied"}   nats per dialogue, tuned - base
"lengths"          {"edges": [...], "systems": {"reference": [...], "tuned": [...], ...}}     answers by characters
"retention"        {"en": {"before", "after", "ratio", "num_tokens"}, ...}        perplexity of the general texts
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from tunewright.types import Likelihood, Retention, Text

if TYPE_CHECKING:
    from tunewright.types import Floats

NUM_BINS = 24
CUT = 0.01
"""The share of the rows at each end that is drawn in the outermost bins, so that one row does not flatten the others."""


def draw_text(
    likelihoods: Mapping[str, Likelihood], against: str, answers: Mapping[str, Text], retained: Mapping[str, Retention]
) -> dict[str, object]:
    """The data of every figure that fits; ``answers`` holds the references, too."""
    figures: dict[str, object] = {}
    if against in likelihoods:
        differences = likelihoods["tuned"].nll - likelihoods[against].nll
        figures["nll_differences"] = {"against": against, **_differences(differences)}
    if answers:
        lengths = {name: np.array([len(text.strip()) for text in each.texts]) for name, each in answers.items()}
        edges = _edges(np.concatenate(list(lengths.values())).astype(np.float64), low=0.0)
        figures["lengths"] = {
            "edges": edges.tolist(),
            "systems": {name: _counts(each.astype(np.float64), edges) for name, each in lengths.items()},
        }
    if retained:
        figures["retention"] = {language: asdict(one) for language, one in retained.items()}
    return figures


def _differences(differences: Floats) -> dict[str, object]:
    edges = _edges(differences)
    return {
        "edges": edges.tolist(),
        "counts": _counts(differences, edges),
        "won": int((differences < 0).sum()),
        "lost": int((differences > 0).sum()),
        "tied": int((differences == 0).sum()),
    }


def _edges(values: Floats, low: float | None = None) -> Floats:
    """Edges of equal bins over the values without the outermost hundredths; 0 is an edge."""
    first, last = np.quantile(values, (CUT, 1 - CUT))
    first, last = min(float(first), 0.0) if low is None else low, max(float(last), 0.0)
    width = (last - first) / NUM_BINS or 1.0
    below, above = int(np.ceil(-first / width - 1e-9)), max(1, int(np.ceil(last / width - 1e-9)))
    edges: Floats = width * np.arange(-below, above + 1, dtype=np.float64)
    return edges


def _counts(values: Floats, edges: Floats) -> list[int]:
    counts: list[int] = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0].tolist()
    return counts
