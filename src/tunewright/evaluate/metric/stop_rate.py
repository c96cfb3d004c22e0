"""Stop rate: how often an answer ends by itself and not because the limit of tokens was reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunewright.evaluate.metric.base import MeanMetric, mean_statistics
from tunewright.types import Text

if TYPE_CHECKING:
    from tunewright.types import Floats


class StopRate(MeanMetric):
    """Share of the answers that the model ended by itself."""

    accepts = (Text,)
    description = "Share of the answers that end by themselves, before the limit of tokens."
    is_share_of_rows = True

    def observe(self, answer: Text, gold: Text) -> Floats:
        """(stopped or not, 1) per row."""
        return mean_statistics(answer.stopped)
