"""Perplexity: among how many tokens the model hesitates (Jelinek et al. 1977); exp of the nats per token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunewright.evaluate.metric.base import AdditiveMetric
from tunewright.types import Likelihood, Text

if TYPE_CHECKING:
    from tunewright.types import Floats


class Perplexity(AdditiveMetric):
    """exp(nats / tokens) over all reference answers together; only models with one tokenizer are comparable."""

    accepts = (Likelihood,)
    description = "exp of the nats per token of the reference answers; lower is better."
    higher_is_better = False
    is_percentage = False

    def observe(self, answer: Likelihood, gold: Text) -> Floats:
        """(nats, tokens) per row."""
        return np.stack([answer.nll, answer.num_tokens.astype(np.float64)], axis=1)

    def combine(self, totals: Floats) -> Floats:
        """exp(sum of nats / sum of tokens)."""
        result: Floats = np.exp(totals[..., 0] / totals[..., 1])
        return result
