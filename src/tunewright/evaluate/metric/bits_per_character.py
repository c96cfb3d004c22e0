"""Bits per character of the reference answers: comparable between tokenizers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tunewright.evaluate.metric.base import MeanMetric
from tunewright.types import Likelihood, Text

if TYPE_CHECKING:
    from tunewright.types import Floats


class BitsPerCharacter(MeanMetric):
    """Bits over characters, of all reference answers together; the end of an answer is paid for and is no character."""

    accepts = (Likelihood,)
    description = "Bits per character of the reference answers; lower is better."
    higher_is_better = False
    is_percentage = False

    def observe(self, answer: Likelihood, gold: Text) -> Floats:
        """(bits, characters) per row; ``gold`` holds what the likelihood is of."""
        lengths = [len(text) for text in gold.texts]
        return np.stack([answer.nll / math.log(2), np.array(lengths, dtype=np.float64)], axis=1)
