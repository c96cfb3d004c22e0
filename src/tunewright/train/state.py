"""The tensors of a checkpoint: what is trained and the optimiser's moments as safetensors; nothing is ever pickled.

weights.safetensors      every trainable parameter, in fp32, and every buffer that the module saves, by name
optimizer.safetensors    every moment, as ``<parameter name>|<moment name>``

What is frozen never changes: it comes from the base, whose digest the run is bound to. So a commit of an adapter is as
small as the adapter.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tunewright.errors import MachineError
from tunewright.store.artifact import Draft
from tunewright.train.split import set_whole, whole

WEIGHTS = "weights.safetensors"
MOMENTS = "optimizer.safetensors"


Tensors = dict[str, torch.Tensor]


def changing(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The tensors that training can change, by name; one that two layers share is there once."""
    saved = module.state_dict(keep_vars=True)
    trained = {name: value for name, value in module.named_parameters() if value.requires_grad}
    return trained | {name: value for name, value in module.named_buffers() if name in saved}


def tensors_of(
    module: torch.nn.Module, optimizer: torch.optim.Optimizer, *, copies: bool = False
) -> tuple[Tensors, Tensors]:
    """What the two files hold, in main memory; with ``copies`` nothing is shared with what trains on."""

    def stored(value: torch.Tensor) -> torch.Tensor:
        return value.detach().to("cpu", copy=copies).contiguous()

    weights = {name: stored(whole(value)) for name, value in changing(module).items()}
    return weights, {name: stored(value) for name, value in _moments(module, optimizer).items()}


def write_tensors(draft: Draft, weights: Tensors, moments: Tensors) -> None:
    """Write both files into the draft of a commit."""
    save_file(weights, str(draft.path(WEIGHTS)))
    save_file(moments, str(draft.path(MOMENTS)))


def write_state(draft: Draft, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write the state of now into the draft of a commit."""
    write_tensors(draft, *tensors_of(module, optimizer))


def read_weights(folder: Path, module: torch.nn.Module) -> None:
    """Load the weights into the module. Raises MachineError unless names and shapes are those that it trains."""
    stored, wanted = load_file(str(folder / WEIGHTS)), changing(module)
    odd = sorted(stored.keys() ^ wanted.keys()) or [
        name for name, value in wanted.items() if value.shape != stored[name].shape
    ]
    if odd:
        raise MachineError(
            "this checkpoint is of another model",
            where=str(folder),
            given=f"{len(odd)} weights that do not match, such as {odd[0]}",
            allowed=f"the {len(wanted)} weights that this run trains",
            hint="take the run's folder away and start again",
        )
    for name, value in wanted.items():
        set_whole(value, stored[name])


def read_moments(folder: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Load the moments into the optimiser over the same parameters, in place of those that it has."""
    stored = load_file(str(folder / MOMENTS))
    optimizer.state.clear()
    parameters = dict(module.named_parameters())
    for key, value in stored.items():
        name, _, moment = key.rpartition("|")
        parameter = parameters[name]
        optimizer.state[parameter][moment] = value.to(parameter.device)


def _moments(module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for name, parameter in module.named_parameters():
        for moment, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, torch.Tensor):
                found[f"{name}|{moment}"] = value
    return found
