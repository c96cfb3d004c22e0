"""The records that flow along the road.

    sources ─▶ Dataset ─▶ Base ─▶ Encoded ─▶ Trainable ─▶ Step, Step, ... ─▶ Checkpoint ─▶ Report

Every record is frozen: it is made in one place and never changed afterwards. Nothing heavy is imported here (no torch,
no pyarrow), so that ``tunewright --help`` stays fast; annotations that name such types are only read by the type checker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import torch
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"
Ints: TypeAlias = "NDArray[np.int64]"
Bools: TypeAlias = "NDArray[np.bool_]"
Row = Mapping[str, object]

# ------------------------------------------------------------------------------------------------ choices and progress


@dataclass(frozen=True, slots=True)
class Choice:
    """Something that was decided for the user: the config path, the value, and why."""

    path: str
    value: object
    reason: str


Tell = Callable[[str, float, float | None, str], None]
"""Progress, told by a stage and rendered by the command line: ``tell(label, done, total, note)``.

``total`` is None when it is not known. A stage calls it as often as it likes; the renderer thins it out.
"""


def tell_nobody(label: str, done: float, total: float | None, note: str) -> None:
    """The ``Tell`` that drops everything."""


# ------------------------------------------------------------------------------------------------------------- data


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record came from: the file as the user wrote it and the 1-based line (or row) in it."""

    file: str
    line: int

    def __str__(self) -> str:
        """``file:line``, the form that editors and terminals turn into a link."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Record:
    """One input row: its number over all inputs (0-based), its fields as given, origin, and the unit it belongs to."""

    id: int
    fields: Row
    origin: Origin


class Outcome(StrEnum):
    """What became of an input row. Every row ends as exactly one of these."""

    USED = "used"
    TRUNCATED = "truncated"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The account of every input row (promise N6): the four outcomes are disjoint and sum to ``total``.

    ``used`` counts rows used whole. Before encoding, ``truncated`` is 0 and ``used`` holds every kept row.
    ``reasons`` counts the rejected rows by reason.
    """

    used: int
    truncated: int
    duplicate: int
    rejected: int
    total: int
    reasons: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse an account that does not add up."""
        assert self.used + self.truncated + self.duplicate + self.rejected == self.total, self

    def as_json(self) -> dict[str, object]:
        """The counts under their public names."""
        return {
            "used": self.used,
            "truncated": self.truncated,
            "duplicate": self.duplicate,
            "rejected": self.rejected,
            "total": self.total,
            "reasons": dict(self.reasons),
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a check of the data found. ``warning`` is shown; ``violation`` stops the run unless overridden."""

    code: str
    severity: Literal["note", "warning", "violation"]
    message: str
    origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Field:
    """A field that a task reads from each row."""

    name: str
    kind: Literal["text", "label"]
    description: str
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile:
    """What a sample of rows says about one column; tasks recognise their fields from these.

    Lengths are in characters. ``fraction_distinct`` is distinct / non-empty. ``examples`` holds a few values.
    """

    name: str
    position: int
    num_values: int
    num_distinct: int
    fraction_empty: float
    fraction_distinct: float
    mean_length: float
    max_length: int
    mean_words: float
    fraction_numeric: float
    fraction_integer: float
    is_list: bool
    is_sequential: bool
    examples: tuple[str, ...]
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recognition:
    """A guess which column fills which field, how sure it is (0..1), and why, per field."""

    columns: Mapping[str, str]
    confidence: float
    reasons: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What later stages may ask about the kept rows without reading them again. Lengths in characters."""

    num_rows: int
    mean_characters: float
    p99_characters: int
    scripts: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One input file as it was read."""

    path: str
    format: str
    encoding: str
    sha256: str
    num_bytes: int
    num_rows: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """The prepared data: one memory-mapped Arrow table per split in ``folder``.

    Columns of every table: ``id`` int64, ``file`` string, ``line`` int32, and one column per task field (text fields are
    strings, label fields are lists of strings). ``labels`` is the sorted label set over all splits.
    """

    folder: Path
    splits: Mapping[str, int]
    columns: Mapping[str, str]
    labels: tuple[str, ...]
    label_counts: Mapping[str, Mapping[str, int]]
    ledger: Ledger
    findings: tuple[Finding, ...]
    facts: Facts
    files: tuple[SourceFile, ...]
    choices: tuple[Choice, ...]
    fingerprint: str

    def table(self, split: str) -> pa.Table:
        """The rows of one split, memory-mapped, in input order."""
        return read_arrow(self.folder / f"{split}.arrow")


def read_arrow(path: Path) -> pa.Table:
    """The Arrow IPC file at ``path`` as a memory-mapped table."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


# ------------------------------------------------------------------------------------------------------------ models


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A pretrained model as a handle: a folder with ``config.json``, safetensors weights and tokenizer files.

    ``architecture`` is transformers' ``model_type``. ``digest`` hashes the weights and tokenizer files. ``notes`` holds
    what a reader of the report must know (for instance that the weights were stored in 4 bits).
    """

    name: str
    folder: Path
    architecture: str
    kind: Literal["encoder", "decoder", "encoder-decoder"]
    num_parameters: int
    max_positions: int
    vocabulary_size: int
    licence: str
    source: str
    digest: str
    reason: str
    notes: tuple[str, ...] = ()


# ----------------------------------------------------------------------------------------------------------- encoding


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """The examples as token ids: one memory-mapped Arrow table per split in ``folder``.

    Columns: ``id`` int64, ``source`` list<int32> (token ids), ``target`` list<float32> (task-defined), ``truncated`` bool.
    ``max_length`` is in tokens. The Ledger is closed.
    """

    folder: Path
    splits: Mapping[str, int]
    max_length: int
    num_tokens: int
    tokens_cut: int
    length_histogram: Mapping[int, int]
    ledger: Ledger
    choices: tuple[Choice, ...]
    fingerprint: str

    def table(self, split: str) -> pa.Table:
        """The examples of one split, memory-mapped, in the order of the Dataset's split."""
        return read_arrow(self.folder / f"{split}.arrow")


@dataclass(frozen=True, slots=True)
class Stream:
    """Flattened token ids without padding: ids[T], positions[T], and segment bounds[S+1] with bounds[0]=0, bounds[S]=T."""

    ids: torch.Tensor
    positions: torch.Tensor
    bounds: torch.Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """The one batch shape of every model: flattened named streams, and typed columns with one row per example."""

    streams: Mapping[str, Stream]
    columns: Mapping[str, torch.Tensor]
    row_ids: tuple[int, ...]
    num_tokens: int


@dataclass(frozen=True, slots=True)
class Objective:
    """What is minimised, as data: the name of a file in ``train/objective`` and its options."""

    name: str
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of training: what is minimised and which parameters move (a regular expression over their names)."""

    objective: Objective
    trainable: str = ".*"


@dataclass(frozen=True, slots=True)
class Trainable:
    """A module that maps a Batch to logits[N, C], and the phases in which it is trained."""

    module: torch.nn.Module
    phases: tuple[Phase, ...]


# ----------------------------------------------------------------------------------------------------------- training


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The facts of one update. Steps and epochs count from 1 when finished; ``loss`` is the mean over the step."""

    step: int
    epoch: float
    loss: float
    lr: float
    gradient_norm: float
    num_examples: int
    num_tokens: int
    skipped: bool
    row_ids: tuple[int, ...] = ()


class Directive(Enum):
    """What a consumer of Steps tells the loop. Several may be given; all are obeyed, ``STOP`` last."""

    EVALUATE = "evaluate"
    COMMIT = "commit"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the start-up probe decided, each with its reason. Saved with the run; resume and replay reuse it."""

    choices: tuple[Choice, ...]

    def __getitem__(self, path: str) -> Any:
        """The value decided under ``path``."""
        return next(choice.value for choice in self.choices if choice.path == path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A committed state of training: the folder, the step after which it was taken, and why training ended (if it did)."""

    folder: Path
    step: int
    digest: str
    metric: float | None
    stopped_because: str = ""


# ------------------------------------------------------------------------------------------------------------ answers


@dataclass(frozen=True, slots=True)
class Label:
    """Single-label answers for N rows: chosen[N] indexes ``names``; probabilities[N, C] is None for gold answers."""

    names: tuple[str, ...]
    chosen: Ints
    probabilities: Floats | None = None

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.chosen)

    def take(self, rows: Ints) -> Label:
        """The answers of some rows, in the order given."""
        return Label(self.names, self.chosen[rows], None if self.probabilities is None else self.probabilities[rows])


@dataclass(frozen=True, slots=True)
class Labels:
    """Multi-label answers for N rows: chosen[N, C] says which names apply; probabilities[N, C] are independent."""

    names: tuple[str, ...]
    chosen: Bools
    probabilities: Floats | None = None

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.chosen)

    def take(self, rows: Ints) -> Labels:
        """The answers of some rows, in the order given."""
        return Labels(self.names, self.chosen[rows], None if self.probabilities is None else self.probabilities[rows])


Answer = Label | Labels


# --------------------------------------------------------------------------------------------------------- evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A metric's value with its interval (95 %), the number of rows behind it, and how the interval was made."""

    name: str
    value: float | None
    interval: tuple[float, float] | None
    num_rows: int
    method: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The tuned model against one opponent on the same rows.

    ``difference`` is tuned minus opponent in the primary metric, ``interval`` its 95 % interval, ``p`` the two-sided p-value
    of the deciding test named in ``test``, ``p_holm`` the same corrected over the whole table, ``smallest_detectable`` the
    difference that this test would have found with 80 % power. ``required`` marks the two that decide the verdict.
    """

    against: str
    metric: str
    tuned: float
    opponent: float
    difference: float
    interval: tuple[float, float]
    p: float
    p_holm: float
    test: str
    num_rows: int
    num_discordant: int
    smallest_detectable: float
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """N1: ``better`` only if both required comparisons are won at 0.05, ``worse`` if one is lost, else ``no evidence``."""

    outcome: Literal["better", "worse", "no evidence"]
    metric: str
    sentence: str
    design: str
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """E6: the named cause, what speaks for it, and the next command to type."""

    cause: Literal["fine", "over-fit", "under-fit", "too few rows", "label trouble"]
    evidence: tuple[str, ...]
    next_command: str


@dataclass(frozen=True, slots=True)
class WorstRow:
    """A row that the tuned model got wrong with confidence: its index in the judged rows, and what was said."""

    index: int
    gold: str
    answered: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of an evaluation: numbers with intervals, comparisons, the outcome, and what the figures show.

    ``judged_on`` is ``test`` or ``out-of-fold``. ``systems`` holds every metric of the tuned model (``tuned``) and of each
    opponent on the judged rows; ``validation`` the same on the validation rows. ``thresholds`` maps a label to the decision
    threshold chosen on validation (empty when the most probable label is answered). ``figures`` is JSON for the report.
    """

    judged_on: str
    num_rows: int
    measures: tuple[Measure, ...]
    per_label: Mapping[str, Mapping[str, float | None]]
    systems: Mapping[str, Mapping[str, float | None]]
    validation: Mapping[str, Mapping[str, float | None]]
    thresholds: Mapping[str, float]
    verdict: Verdict
    diagnosis: Diagnosis
    figures: Mapping[str, object]
    worst: tuple[WorstRow, ...]
    choices: tuple[Choice, ...]
