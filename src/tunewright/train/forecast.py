"""What a training will cost: arithmetic over what the rehearsal measured, nothing is run here.

    seconds of an update = a + b tokens + c sum of squared lengths        all three at least 0
    memory               = fixed + slope size        of the largest micro-batch: its tokens, padding included

The squares stand for attention, which reads every pair of tokens of a row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np

from tunewright.train.batches import Batches
from tunewright.types import Floats, Ints
from tunewright.words import counted, duration, size

MOST_EPOCHS = 20
"""Passes whose batches are counted one by one; more passes are of the same kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What training costs from its first step to the saved model, if it goes through all epochs.

    ``judge_seconds`` is the least that comes after it: two readings of the test rows, by the tuned model and its base.
    ``is_measured`` says that the longest batch was run; else memory was extrapolated from smaller ones.
    """

    num_updates: int
    num_evaluations: int
    num_commits: int
    update_seconds: float
    evaluation_seconds: float
    commit_seconds: float
    closing_seconds: float
    judge_seconds: float
    memory_bytes: int | None
    disk_bytes: int
    rehearsal_seconds: float
    is_measured: bool

    @property
    def train_seconds(self) -> float:
        """All updates, evaluations and commits, and what it takes to save the model at the end."""
        return self.update_seconds + self.evaluation_seconds + self.commit_seconds + self.closing_seconds

    def as_json(self) -> dict[str, object]:
        """The record with its sum."""
        return {**asdict(self), "train_seconds": self.train_seconds}


def in_words(forecast: Forecast) -> str:
    """``about 3 min 40 s, 2.1 GB of memory, 310 MB of disk``."""
    parts = [f"about {duration(forecast.train_seconds)}"]
    if forecast.memory_bytes is not None:
        parts.append(f"{size(forecast.memory_bytes)} of memory")
    return ", ".join([*parts, f"{size(forecast.disk_bytes)} of disk"])


def explained(forecast: Forecast, num_test_rows: int) -> str:
    """What the forecast covers, and what is known of the time after it."""
    parts = (
        counted(forecast.num_updates, "update"),
        counted(forecast.num_evaluations, "evaluation"),
        counted(forecast.num_commits, "commit"),
    )
    how = (
        "the longest batch was run"
        if forecast.is_measured
        else "from smaller batches, as the longest would have taken too long"
    )
    return (
        f"training with {', '.join(parts)}, if it does not stop early; {how}. Judging takes {duration(forecast.judge_seconds)} "
        f"at the least: two readings of {counted(num_test_rows, 'test row')}, without baselines, answers to generate or "
        "training again"
    )


# ---------------------------------------------------------------------------------------------------------------- time


@dataclass(frozen=True, slots=True)
class Work:
    """What decides the time of an update: its tokens, and the sum of its rows' squared lengths."""

    tokens: float
    squares: float

    @classmethod
    def of(cls, lengths: Ints) -> Work:
        """The work of rows with these lengths."""
        return cls(float(lengths.sum()), float((lengths.astype(np.float64) ** 2).sum()))


def all_work(batches: Batches, lengths: Ints, num_epochs: int) -> tuple[list[Work], float]:
    """The work of every update of the first epochs, and how many times as much all epochs are."""
    counted_epochs = min(num_epochs, MOST_EPOCHS)
    steps = range(counted_epochs * batches.steps_per_epoch)
    return [Work.of(lengths[batches.rows(step)]) for step in steps], num_epochs / counted_epochs


@dataclass(frozen=True, slots=True)
class Pace:
    """The seconds of an update as a function of its work; the three factors a, b and c."""

    factors: tuple[float, float, float]

    def seconds(self, work: Work) -> float:
        """One update."""
        fixed, per_token, per_square = self.factors
        return fixed + per_token * work.tokens + per_square * work.squares


def fit_pace(measured: Sequence[tuple[Work, float]]) -> Pace:
    """The pace that fits the measured updates best by relative error: non-negative least squares.

    One update alone tells a rate per token; the squares need three updates of different length.
    """
    from scipy.optimize import nnls

    columns = {1: [1], 2: [0, 1]}.get(len({work.tokens for work, _ in measured}), [0, 1, 2])
    rows: Floats = np.array([[1.0, work.tokens, work.squares] for work, _ in measured])[:, columns]
    seconds: Floats = np.array([each for _, each in measured])
    weighted = rows / seconds[:, None]
    scale = weighted.max(axis=0)
    found, _ = nnls(weighted / scale, np.ones(len(seconds)))
    factors = [0.0, 0.0, 0.0]
    for column, value in zip(columns, found / scale, strict=True):
        factors[column] = float(value)
    return Pace((factors[0], factors[1], factors[2]))


def num_commits(num_evaluations: int, seconds: float, every_seconds: float) -> int:
    """A commit after each evaluation, and one more for each stretch of ``every_seconds`` between two of them."""
    between = seconds / max(1, num_evaluations)
    return num_evaluations * (1 + math.floor(between / every_seconds))


# -------------------------------------------------------------------------------------------------------------- memory


def extrapolate(peaks: Sequence[tuple[int, int]], size: int) -> float:
    """The peak in bytes at ``size`` tokens, on the line through the two largest (tokens, peak) of smaller batches.

    What the smallest batches find in memory that was free hides a rise; the largest two show it.
    """
    most, _ = max(peaks)
    return max(peak for _, peak in peaks) + _slope(peaks) * max(0, size - most)


def fitting_budget(peaks: Sequence[tuple[int, int]], limit: float) -> int:
    """The largest power of two for ``train.token_budget`` whose batches stay under ``limit`` bytes; 0 where none does."""
    slope = _slope(peaks)
    most, top = max(peaks)
    room = most + (limit - top) / slope if slope else 0.0
    return 2 ** math.floor(math.log2(0.9 * room)) if room >= 2 else 0


def _slope(peaks: Sequence[tuple[int, int]]) -> float:
    """Bytes to each token between the two largest batches; 0 where nothing rose, or there is one alone."""
    rises = [(high - low) / (more - fewer) for (fewer, low), (more, high) in pairwise(sorted(peaks))]
    return max(0.0, rises[-1]) if rises else 0.0
