"""The seams between the stages: Protocols of a few methods, each implemented by one file of a family.

A task knows nothing of methods, a method nothing of tasks, a metric nothing of either. If a feature wants an ``if`` in another
stage, a seam is missing a question: add the question here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tunewright.types import (
    Answer,
    Base,
    Classified,
    ColumnProfile,
    Dataset,
    Field,
    Floats,
    Generation,
    Objective,
    Recognition,
    Record,
    Row,
    Sampling,
    Tell,
    Trainable,
    tell_nobody,
)

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

    from tunewright.store.artifact import Draft


class Source(Protocol):
    """A file format (``data/source/*.py``)."""

    def recognise(self, path: Path, head: bytes) -> float:
        """How sure (0..1) this source is that it can read the file, from its name and its first bytes."""
        ...

    def read(self, path: Path) -> Iterator[Record]:
        """The rows in file order; raises InputError with file:line where the file cannot be parsed."""
        ...


class Task(Protocol):
    """A task (``adapt/task/*.py``): everything that is particular to it, asked by the stages through this seam."""

    @property
    def fields(self) -> Sequence[Field]:
        """The fields that the task reads from each row."""
        ...

    def recognise(self, profiles: Sequence[ColumnProfile]) -> Recognition | None:
        """Which columns fill the fields, or None where this task does not fit the data."""
        ...

    def read(self, fields: Row) -> Row:
        """The row in canonical form (text fields as str, label fields as list of str); ValueError rejects it with a reason."""
        ...

    def identity(self, fields: Row) -> str:
        """The text over which duplicates are judged."""
        ...

    def stratum(self, fields: Row) -> str:
        """The stratum that splits keep in proportion."""
        ...

    def bind(self, dataset: Dataset) -> Task:
        """This task with the data's label set; everything below may only be asked of a bound task."""
        ...

    def texts(self, rows: pa.Table) -> list[str]:
        """What a baseline or a person reads of each row."""
        ...

    def tokenize(self, rows: pa.Table, tokenizer: Any, max_length: int | None) -> list[list[int]]:
        """Token ids of each row in order, special tokens included; whole where ``max_length`` is None."""
        ...

    def targets(self, rows: pa.Table) -> list[list[float]]:
        """The training target of each row, in the form that the objective reads."""
        ...

    def attach(self, base: Base, seed: int) -> torch.nn.Module:
        """The base with this task's fresh head (initialised from ``seed``): maps a Batch to logits[N, C]."""
        ...

    def objective(self) -> Objective:
        """What is minimised."""
        ...

    def gold(self, rows: pa.Table) -> Answer:
        """The right answers."""
        ...

    def decode(self, logits: Floats) -> Answer:
        """What the logits[N, C] say."""
        ...

    @property
    def metrics(self) -> Sequence[str]:
        """The metrics to report, the primary one first."""
        ...

    @property
    def baselines(self) -> Sequence[str]:
        """The baselines to compare with."""
        ...


class Method(Protocol):
    """A way of tuning (``adapt/method/*.py``): it wraps a module and folds back into it."""

    def wrap(self, module: torch.nn.Module, objective: Objective) -> Trainable:
        """The module made trainable, with its phases. Before training it computes what the module computed."""
        ...

    def fold(self, trainable: Trainable) -> torch.nn.Module:
        """A plain module that computes what the trained one computes."""
        ...


class Metric(Protocol):
    """A metric (``evaluate/metric/*.py``): one row of statistics per example, and a value from weighted rows."""

    @property
    def accepts(self) -> tuple[type, ...]:
        """The kinds of Classified that the metric reads."""
        ...

    def observe(self, answer: Any, gold: Any) -> Floats:
        """Statistics[N, K], one row per example."""
        ...

    def value(self, statistics: Floats, weights: Floats | None = None) -> float | None:
        """The metric over the rows, each counted ``weights[n]`` times; None where it is undefined."""
        ...


class Engine(Protocol):
    """A text engine (``infer/engine/*.py``): it batches by itself what is asked at the same time, from any thread."""

    @property
    def capacity(self) -> int:
        """How many requests are generated at once; more of them wait."""
        ...

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, tell: Tell = tell_nobody, label: str = "generating"
    ) -> list[Generation]:
        """The answers to some prompts of token ids, in their order; each is what it would be alone."""
        ...

    def stream(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[int]:
        """The tokens of one answer as they come, without the one that ends it; closing the iterator cancels it."""
        ...

    def close(self) -> None:
        """Cancel what is under way and let go of the model."""
        ...


Encoder = Callable[[Sequence[str]], "Floats"]
"""Texts to frozen embeddings[N, H] of the untouched base; given to baselines as an argument."""


class Baseline(Protocol):
    """A reference (``evaluate/baseline/*.py``) that the tuned model has to beat."""

    def fit(self, texts: Sequence[str], gold: Classified, encoder: Encoder | None) -> None:
        """Learn from the training rows."""
        ...

    def predict(self, texts: Sequence[str], encoder: Encoder | None) -> Classified:
        """Classified for other rows, with the same label names as the gold answers it was fitted on."""
        ...


class Exporter(Protocol):
    """A form in which a tuned model leaves this package (``deploy/exporter/*.py``)."""

    def check(self, model: Mapping[str, Any], folder: Path) -> None:
        """Raise InputError where a model with this ``tunewright.json``, of the run in ``folder``, cannot take this form."""
        ...

    def write(self, folder: Path, draft: Draft) -> None:
        """Write what the tuned model of the run in ``folder`` becomes."""
        ...

    def load(self, folder: Path, base: Path, model: Mapping[str, Any]) -> Reader:
        """What was written, loaded as those load it who receive it; ``base`` is the folder of the untouched base."""
        ...


class Reader(Protocol):
    """A model with its tokenizer, asked in the same way whoever loaded it; for certificates."""

    def encode(self, row: Any) -> list[int]:
        """Token ids of a row: a text, or the messages of a conversation."""
        ...

    def logits(self, ids: Sequence[int]) -> Floats:
        """Logits[P, C] at P positions: one for a classifier, one for each token for a language model."""
        ...
