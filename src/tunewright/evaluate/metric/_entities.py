"""What the metrics of labelled spans share: counts by label, where a span is right if its ends and its label are.

The measure of the CoNLL-2003 shared task (Tjong Kim Sang & De Meulder 2003, section 2.3): no credit for a part of a name.
"""

from __future__ import annotations

import numpy as np

from tunewright.evaluate.metric.base import AdditiveMetric
from tunewright.types import Floats, Spans, Tally


class EntityMetric(AdditiveMetric):
    """A metric of three counts per label: spans found rightly, found at all, and there to be found."""

    accepts = (Spans, Tally)

    def observe(self, answer: Spans | Tally, gold: Spans) -> Floats:
        """Counts[N, 3C]."""
        if isinstance(answer, Tally):
            there = count_spans(gold, gold)[:, 2:]  # all of the text, also what the model did not read of it
            return np.concatenate([answer.counts[:, :2], there], axis=1).reshape(len(answer), -1)
        return count_spans(answer, gold).reshape(len(answer), -1)

    def combine(self, totals: Floats) -> Floats:
        """Split the sums into the three blocks and ask ``from_counts``."""
        return self.from_counts(*np.split(totals, 3, axis=-1))

    def from_counts(self, hits: Floats, answered: Floats, right: Floats) -> Floats:
        """Counts[B, C] each -> values[B]."""
        raise NotImplementedError


def count_spans(answer: Spans, gold: Spans) -> Floats:
    """counts[N, 3, C]: of each label the spans found rightly, found at all, and there to be found."""
    number = {name: at for at, name in enumerate(gold.names)}
    counts = np.zeros((len(gold), 3, len(number)))
    for row, (given, true) in enumerate(zip(answer.found, gold.found, strict=True)):
        known = [span for span in given if span.label in number]
        for block, spans in enumerate((set(known) & set(true), known, true)):
            for span in spans:
                counts[row, block, number[span.label]] += 1
    return counts
