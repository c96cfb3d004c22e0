"""Label share: does the model give other answers than it gave to held-out rows?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunewright.maintain.permute import mean_shift
from tunewright.maintain.shares import largest_change
from tunewright.types import Answer, Label, Labels, Reading, Window

if TYPE_CHECKING:
    from tunewright.types import Floats


class LabelShare:
    """The share of each label among the answers: Pearson's chi-square, its p-value by permutation."""

    def score(self, window: Window, reference: Window, level: float, seed: int) -> Reading | None:
        """The largest change in the share of one label, 0..1; None for answers that do not choose among names."""
        now, before = _indicators(window.answer), _indicators(reference.answer)
        if now is None or before is None or not len(now) or not len(before):
            return None
        pooled = np.concatenate([now, before])
        weights = 1.0 / np.sqrt(np.maximum(pooled.mean(axis=0), 1.0 / len(pooled)))
        # For one label per row, n m / (n + m) times this squared distance is the chi-square of the 2 x C table.
        _, p = mean_shift(pooled * weights, len(now), level, seed)
        assert isinstance(window.answer, Label | Labels)
        value, sentence = largest_change(window.answer.names, now, before)
        return Reading(signal="label_share", value=value, p=p, sentence=f"answers {sentence}")


def _indicators(answer: Answer | None) -> Floats | None:
    """Which names each row was answered with: [N, C] in 0, 1."""
    if isinstance(answer, Label):
        return np.eye(len(answer.names))[answer.chosen]
    return answer.chosen.astype(np.float64) if isinstance(answer, Labels) else None
