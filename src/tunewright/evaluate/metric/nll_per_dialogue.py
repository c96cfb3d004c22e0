"""Negative log-likelihood of the reference answers, per dialogue: comparable whatever the pieces a model reads text in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunewright.evaluate.metric.base import MeanMetric, mean_statistics
from tunewright.types import Likelihood, Text

if TYPE_CHECKING:
    from tunewright.types import Floats


class NllPerDialogue(MeanMetric):
    """Mean over the dialogues of the nats that a model needs for the reference answers, their ends included.

    Tokens are not comparable between tokenizers, characters and words; the text is.
    """

    accepts = (Likelihood,)
    description = "Nats needed for the reference answers of a dialogue; lower is better."
    higher_is_better = False
    is_percentage = False

    def observe(self, answer: Likelihood, gold: Text) -> Floats:
        """(nats, 1) per row."""
        return mean_statistics(answer.nll)
