"""Negative log-likelihood of the reference answers, per token of the model: what training minimises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunewright.evaluate.metric.base import MeanMetric
from tunewright.types import Likelihood, Text

if TYPE_CHECKING:
    from tunewright.types import Floats


class NllPerToken(MeanMetric):
    """Nats per token over all reference answers together; only models with one tokenizer are comparable."""

    accepts = (Likelihood,)
    description = "Nats per token of the reference answers; lower is better."
    higher_is_better = False
    is_percentage = False

    def observe(self, answer: Likelihood, gold: Text) -> Floats:
        """(nats, tokens) per row."""
        return np.stack([answer.nll, answer.num_tokens.astype(np.float64)], axis=1)
