"""A checkpoint in parts: each rank writes its slices of every tensor, and any number of ranks reads them.

state-0-of-2.safetensors ...   a rank's slices: ``<parameter name>`` of a weight, ``<parameter name>|<moment>`` of a moment
shards.json                    by tensor: its shape, and which rows of it (along dimension 0) lie in which file

FSDP2 cuts a tensor of n rows into slices of ceil(n / ranks) rows, so every rank knows where all slices are without asking.
What is not divided (buffers, the count of a moment's updates) is written by rank 0. A checkpoint that one process wrote is
read as one with a single slice of everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tunewright.errors import MachineError
from tunewright.store.artifact import Draft
from tunewright.store.document import parse_object
from tunewright.train.state import MOMENTS, WEIGHTS, changing

SHARDS = "shards.json"


def write_shards(
    draft: Draft, module: torch.nn.Module, optimizer: torch.optim.Optimizer, *, rank: int, size: int
) -> None:
    """Write this rank's file; rank 0 also writes what says where everything is."""
    mine: dict[str, torch.Tensor] = {}
    described: dict[str, object] = {}
    for name, value in _state(module, optimizer):
        is_divided = hasattr(value, "to_local")
        ranges = [_rows(len(value), each, size) for each in range(size)] if is_divided else []
        parts = [[each, start, stop] for each, (start, stop) in enumerate(ranges) if stop > start]
        described[name] = {"shape": list(value.shape), "parts": parts or [[0, 0, -1]]}
        local = _local(value)
        if local.numel() and (is_divided or rank == 0):
            mine[name] = local.detach().cpu().contiguous()
    save_file(mine, str(draft.path(_file(rank, size))))
    if rank == 0:
        draft.write_json(SHARDS, {"files": [_file(each, size) for each in range(size)], "tensors": described})


def read_shards(
    folder: Path,
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    of_single_files: bool = False,
) -> bool:
    """Load this process's slices, whatever slices were written. False where the checkpoint has no ``shards.json``.

    With ``of_single_files`` the two files that one process writes are read, too. Raises MachineError unless names and shapes
    are those that are trained.
    """
    described = folder / SHARDS
    if not described.exists() and not of_single_files:
        return False
    stored = _Stored(folder, parse_object(described.read_bytes()) if described.exists() else _single(folder))
    wanted = changing(module)
    odd = [name for name in stored.shapes if "|" not in name and name not in wanted]
    odd += [name for name, value in wanted.items() if stored.shapes.get(name) != list(value.shape)]
    if odd:
        raise MachineError(
            "this checkpoint is of another model",
            where=str(folder),
            given=f"{len(odd)} weights that do not match, such as {odd[0]}",
            allowed=f"the {len(wanted)} weights that this run trains",
            hint="take the run's folder away and start again",
        )
    with torch.no_grad():
        for name, value in wanted.items():
            stored.fill(name, value)
        for key in (key for key in stored.shapes if optimizer is not None and "|" in key):
            name, _, moment = key.rpartition("|")
            assert optimizer is not None
            optimizer.state[wanted[name]][moment] = stored.fill(key, _empty(wanted[name], stored.shapes[key]))
    return True


class _Stored:
    """The tensors of a checkpoint by name, read a few rows at a time."""

    def __init__(self, folder: Path, described: Mapping[str, Any]) -> None:
        self._files = [safe_open(folder / name, "pt") for name in described["files"]]
        self._parts = {name: facts["parts"] for name, facts in described["tensors"].items()}
        self.shapes = {name: facts["shape"] for name, facts in described["tensors"].items()}

    def fill(self, name: str, value: torch.Tensor) -> torch.Tensor:
        """Copy the rows that ``value`` holds here into it."""
        local = _local(value)
        if not hasattr(value, "to_local"):
            first, last = 0, len(value) if value.dim() else 1
        else:
            mesh: Any = value
            first, last = _rows(len(value), mesh.device_mesh.get_local_rank(), mesh.device_mesh.size())
        for file, start, stop in self._parts[name]:
            if stop < 0:
                whole = self._files[file].get_tensor(name)
                local.copy_(whole[first:last] if value.dim() else whole)
            elif (low := max(first, start)) < (high := min(last, stop)):
                local[low - first : high - first] = self._files[file].get_slice(name)[low - start : high - start]
        return value


def _state(module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, torch.Tensor]]:
    """Weights and moments by name, in the same order on every rank."""
    yield from changing(module).items()
    for name, parameter in module.named_parameters():
        for moment, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, torch.Tensor):
                yield f"{name}|{moment}", value


def _single(folder: Path) -> dict[str, Any]:
    """What ``shards.json`` would say of the two files that one process writes."""
    tensors = {}
    for number, file in enumerate((WEIGHTS, MOMENTS)):
        with safe_open(folder / file, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - it is no mapping
                tensors[name] = {"shape": opened.get_slice(name).get_shape(), "parts": [[number, 0, -1]]}
    return {"files": [WEIGHTS, MOMENTS], "tensors": tensors}


def _empty(parameter: torch.Tensor, shape: list[int]) -> torch.Tensor:
    """A moment of this shape: divided like its parameter where it has the parameter's own."""
    if list(parameter.shape) == shape:
        return torch.zeros_like(parameter)
    return torch.zeros(shape, dtype=torch.float32, device=parameter.device)


def _local(value: torch.Tensor) -> torch.Tensor:
    """What this process holds of a tensor."""
    divided: Any = value
    local: torch.Tensor = divided.to_local() if hasattr(value, "to_local") else value
    return local.detach()


def _rows(num_rows: int, rank: int, size: int) -> tuple[int, int]:
    """The first row of a rank's slice, and the one after its last."""
    share = -(-num_rows // size)
    return min(num_rows, rank * share), min(num_rows, (rank + 1) * share)


def _file(rank: int, size: int) -> str:
    return f"state-{rank}-of-{size}.safetensors"
