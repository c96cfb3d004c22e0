"""The seams between the stages: Protocols of a few methods, each implemented by one file of a family.

A task knows nothing of methods, a method nothing of tasks, a metric nothing of either. If a feature wants an ``if`` in another
stage, a seam is missing a question: add the question here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tunewright.types import (
    Adapter,
    Answer,
    Base,
    Choice,
    Classified,
    ColumnProfile,
    Dataset,
    Example,
    Field,
    Finding,
    Floats,
    Generation,
    Objective,
    Plan,
    Reading,
    Recognition,
    Record,
    Row,
    Sampling,
    Space,
    Spans,
    Tell,
    Trainable,
    Trials,
    Value,
    Window,
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

    @property
    def stored(self) -> Sequence[Field]:
        """The fields of a row in canonical form: label is a list of str, every other kind a str (messages and spans as JSON)."""
        ...

    def recognise(self, profiles: Sequence[ColumnProfile]) -> Recognition | None:
        """Which columns fill the fields, or None where this task does not fit the data."""
        ...

    def read(self, fields: Row) -> Row:
        """The row in canonical form, with the ``stored`` fields; ValueError rejects it with a reason."""
        ...

    def identity(self, fields: Row) -> str:
        """The text over which duplicates are judged."""
        ...

    def stratum(self, fields: Row) -> str:
        """The stratum that splits keep in proportion."""
        ...

    def unit(self, fields: Row) -> str | None:
        """What rows share that must not be torn apart by splits, such as a prompt; None where each row stands alone."""
        ...

    def bind(self, dataset: Dataset) -> Task:
        """This task with the data's label set; everything below may only be asked of a bound task."""
        ...

    def texts(self, rows: pa.Table) -> list[str]:
        """What a baseline or a person reads of each row."""
        ...

    @property
    def needs(self) -> Literal["any", "decoder"]:
        """The kind of base that can learn it."""
        ...

    def open_encoder(self, base: Base) -> RowEncoder:
        """What turns rows into token ids and targets for this base."""
        ...

    def attach(self, base: Base, seed: int) -> torch.nn.Module:
        """The base with this task's head (a fresh one from ``seed``): maps a Batch to what the objective reads.

        Its method ``answer`` maps a Batch to what ``decode`` reads, one row of numbers to an example.
        """
        ...

    def save(self, draft: Draft, module: torch.nn.Module, base: Base, card: Mapping[str, object]) -> None:
        """Write the tuned model in the ecosystem's format, with ``card`` in ``tunewright.json``."""
        ...

    def save_adapter(self, draft: Draft, adapter: Adapter, module: torch.nn.Module, base: Base) -> None:
        """Write what was trained beside the base in peft's format."""
        ...

    def objective(self) -> Objective:
        """What is minimised."""
        ...

    @property
    def has_reference(self) -> bool:
        """Whether targets hold what the untouched module makes of each row.

        Then ``with_reference(targets, bounds, answers)`` writes the module's ``answer`` into the targets of rows between
        ``bounds``[N+1].
        """
        ...

    def gold(self, rows: pa.Table) -> Answer:
        """The right answers."""
        ...

    def decode(self, outputs: Floats) -> Answer:
        """What the outputs[N, C] of the module's ``answer`` say."""
        ...

    @property
    def metrics(self) -> Sequence[str]:
        """The metrics to report, the primary one first."""
        ...

    @property
    def baselines(self) -> Sequence[str]:
        """The baselines to compare with."""
        ...

    def search_space(self, plan: Plan) -> Space:
        """What `tune` varies where the recipe declares no space: options of training and of the task, around the plan's."""
        ...


class RowEncoder(Protocol):
    """Turns prepared rows into examples for one base."""

    @property
    def per_token(self) -> bool:
        """Whether targets have one number to a token, or one row of numbers to an example."""
        ...

    @property
    def choices(self) -> Sequence[Choice]:
        """What was decided for the user."""
        ...

    def encode(self, rows: pa.Table) -> list[Example]:
        """The rows in order, whole."""
        ...

    @property
    def usual_length(self) -> int | None:
        """The longest row that is usual, where the recipe does not say; None leaves it to the data and the model."""
        ...

    def cut(self, example: Example, max_length: int) -> Example:
        """A longer example with ``max_length`` tokens: what its row would be if the text ended earlier."""
        ...

    def divide(self, example: Example, max_length: int) -> Sequence[Example]:
        """A longer example as those that are learnt from: the one that is left of it by ``cut``, or all of its pieces."""
        ...

    def inspect(self, examples: Sequence[Example], cut: Sequence[bool]) -> None:
        """Look at the examples as they will be trained on; ``cut`` says which were cut."""
        ...

    def seen(self) -> tuple[Mapping[str, object] | None, Sequence[Finding]]:
        """The X-ray of all that was inspected, if this task has one, and what is wrong with it."""
        ...


class Method(Protocol):
    """A way of tuning (``adapt/method/*.py``): it wraps a module and folds back into it.

    A module has a ``trunk`` (the pretrained model without a head) and a ``head``; where its ``trains_head`` is False, the
    head came with the base.
    """

    @property
    def lr_factor(self) -> float:
        """What the learning rate that is usual for training every parameter is multiplied by."""
        ...

    @property
    def recomputes(self) -> bool:
        """Whether layers keep their input alone for the way back, where the recipe does not say."""
        ...

    def wrap(self, module: torch.nn.Module, objective: Objective, seed: int) -> Trainable:
        """The module made trainable, with its phases; fresh weights depend on ``seed`` alone.

        Before training it computes what the module computed, up to the bits in which the method keeps what is frozen.
        """
        ...

    def adapter(self, trainable: Trainable) -> Adapter | None:
        """What was trained beside the base, while it is not folded; None where the method trains the base itself."""
        ...

    def fold(self, trainable: Trainable) -> torch.nn.Module:
        """A plain module that computes what the trained one computes."""
        ...

    def search_space(self, plan: Plan) -> Space:
        """Which options of the method `tune` varies where the recipe declares no space, beside what the task proposes."""
        ...


class Metric(Protocol):
    """A metric (``evaluate/metric/*.py``): one row of statistics per example, and a value from weighted rows."""

    @property
    def accepts(self) -> tuple[type, ...]:
        """The kinds of Answer that the metric reads."""
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


class Strategy(Protocol):
    """A search strategy (``tune/strategy/*.py``): it keeps nothing, the trials that have ended are all that it knows."""

    def ask(self, space: Space, ended: Trials, seed: int) -> Mapping[str, Value] | None:
        """The next point of the space; None where none is left. The same trials and seed give the same point."""
        ...


Encoder = Callable[[Sequence[str]], "Floats"]
"""Texts to frozen embeddings[N, H] of the untouched base; given to baselines as an argument."""


class Baseline(Protocol):
    """A reference (``evaluate/baseline/*.py``) that the tuned model has to beat."""

    def fit(self, texts: Sequence[str], gold: Classified, encoder: Encoder | None) -> None:
        """Learn from the training rows."""
        ...

    def predict(self, texts: Sequence[str], encoder: Encoder | None) -> Classified:
        """Answer for other rows, with the same label names as the gold answers it was fitted on."""
        ...


class SpanBaseline(Protocol):
    """A reference that labels spans; the file of the same family says so by ``answers = "spans"``."""

    def fit(self, texts: Sequence[str], gold: Spans) -> None:
        """Learn from the training rows."""
        ...

    def predict(self, texts: Sequence[str]) -> Spans:
        """The spans of other rows, with the label names of the gold ones it was fitted on."""
        ...


class Signal(Protocol):
    """A sign of drift (``maintain/signal/*.py``): a distance between requests and what the model was tuned on."""

    def score(self, window: Window, reference: Window, level: float, seed: int) -> Reading | None:
        """The distance, with the probability of one as large if nothing had changed; None where the signal does not apply.

        That p-value is honest at any size of the window: it is at most ``level`` in at most that share of windows of the
        reference's own kind. ``level`` also says how fine the p-value has to be.
        """
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
