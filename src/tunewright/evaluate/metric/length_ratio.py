"""Length of the answers against the references, in characters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunewright.evaluate.metric.base import MeanMetric
from tunewright.types import Text

if TYPE_CHECKING:
    from tunewright.types import Floats


class LengthRatio(MeanMetric):
    """Characters of all answers over characters of all references; 1 is best."""

    accepts = (Text,)
    description = "Characters of the answers over those of the references; 1 is as long."
    is_percentage = False
    best_value = 1.0

    def observe(self, answer: Text, gold: Text) -> Floats:
        """(characters answered, characters of the reference) per row, without space at the ends."""
        pairs = zip(answer.texts, gold.texts, strict=True)
        lengths = [(len(given.strip()), len(right.strip())) for given, right in pairs]
        return np.array(lengths, dtype=np.float64).reshape(len(lengths), 2)
