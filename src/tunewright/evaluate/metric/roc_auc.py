"""Area under the ROC curve of each label against the rest."""

from __future__ import annotations

from tunewright.evaluate.metric.base import RocMetric


class RocAuc(RocMetric):
    """Chance that a row with the label scores above a row without it; mean over the labels, one against the rest."""

    description = "Chance that a row with the label is scored above a row without it; mean over the labels."
