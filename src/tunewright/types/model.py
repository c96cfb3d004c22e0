"""A pretrained model as a handle, the rows encoded for it, and the batches that it reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tunewright.types.basic import Choice, Ints, Tell
from tunewright.types.data import Finding, Ledger, read_arrow

if TYPE_CHECKING:
    import pyarrow as pa
    import torch


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """The examples as token ids: one memory-mapped Arrow table per split in ``folder``.

    Columns: ``id`` int64, ``source`` list<int32> (token ids), ``target`` list<float32> (task-defined), ``truncated`` bool.
    ``max_length`` is in tokens. ``per_token`` says that a target has one weight to each token. The Ledger is closed.
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
    per_token: bool = False
    findings: tuple[Finding, ...] = ()
    xray: Mapping[str, object] | None = None

    def table(self, split: str) -> pa.Table:
        """The examples of one split, memory-mapped, in the order of the Dataset's split."""
        return read_arrow(self.folder / f"{split}.arrow")


@dataclass(frozen=True, slots=True)
class Example:
    """A row as a model reads it: token ids, and the target, one row of numbers or one number to each token.

    ``turns`` numbers the part of the row that each token belongs to (-1: none), where the task has parts.
    """

    ids: Sequence[int]
    target: Sequence[float]
    turns: Sequence[int] = ()
    roles: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Stream:
    """Flattened token ids without padding: ids[T], positions[T], and segment bounds[S+1] with bounds[0]=0, bounds[S]=T.

    Where rows share what they begin with, ``parents[S]`` names the segment that each one goes on from, -1 for none; a parent has
    none itself.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    bounds: torch.Tensor
    parents: tuple[int, ...] = ()


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
    """A stretch of training: what is minimised and which parameters move (a regular expression over their names).

    ``rates`` are factors of the learning rate, by regular expressions over names; those that match are multiplied.
    """

    objective: Objective
    trainable: str = ".*"
    rates: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trainable:
    """A module that maps a Batch to logits[N, C], and the phases in which it is trained.

    ``choices`` is what the method decided by itself. ``look_ahead``, where there is one, is called once before the first
    step with the token ids of all training rows, in their order; it changes nothing but speed.
    """

    module: torch.nn.Module
    phases: tuple[Phase, ...]
    choices: tuple[Choice, ...] = ()
    look_ahead: Callable[[Sequence[Ints], Tell], None] | None = None


@dataclass(frozen=True, slots=True)
class Adapter:
    """What was trained beside a frozen base, in peft's format: ``adapter_config.json`` and its weights.

    The weights have the module's own names; ``trunk.layers.0.q_proj.lora_A.weight`` belongs to ``trunk.layers.0.q_proj``.
    """

    config: Mapping[str, object]
    weights: Mapping[str, torch.Tensor]
