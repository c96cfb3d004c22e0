"""The tensors of a checkpoint: weights and optimiser moments as safetensors; nothing is ever pickled.

weights.safetensors      every parameter and buffer of the module, by name
optimizer.safetensors    every moment, as ``<parameter name>|<moment name>``
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tunewright.store.artifact import Draft

WEIGHTS = "weights.safetensors"
MOMENTS = "optimizer.safetensors"


def write_state(draft: Draft, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write both files into the draft of a commit."""
    save_file(
        {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()},
        str(draft.path(WEIGHTS)),
    )
    save_file(_moments(module, optimizer), str(draft.path(MOMENTS)))


def read_weights(folder: Path, module: torch.nn.Module) -> None:
    """Load the weights into the module; every name must match."""
    module.load_state_dict(load_file(str(folder / WEIGHTS)), strict=True)


def read_moments(folder: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Load the moments into the optimiser, which was made anew over the same parameters."""
    stored = load_file(str(folder / MOMENTS))
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
                found[f"{name}|{moment}"] = value.detach().cpu().contiguous()
    return found
