"""Low-rank adapters beside the frozen projections of a trunk: put in, taken out as peft's files, merged.

LoRA (Hu et al. 2021, equation 3): h = W x + (alpha / r) B A x with A[r, in] drawn at random and B[out, r] zero at first. The
layers are peft's own. rsLoRA (Kalajdzievski 2023, section 3) scales by alpha / sqrt(r). DoRA (Liu et al. 2024, equation 5)
learns the length of each row of the merged matrix besides. LoRA+ (Hayou et al. 2024, section 4) lets B, which starts at zero,
learn faster than A.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from tunewright.config.base import ComponentConfig, Option
from tunewright.errors import InputError, nearest
from tunewright.types import Adapter, Choice, Objective, Phase, Space, Trainable

AUTO, ALL_LINEAR = "auto", "all-linear"
NAME = "default"
"""How peft calls an adapter that is the only one."""


class AdapterConfig(ComponentConfig):
    """Options that every low-rank method has."""

    rank: int = Option(16, "Rank of the update of each matrix.", ge=1, le=4096)
    alpha: float = Option(32.0, "The update is scaled by alpha / rank.", gt=0.0)
    dropout: float = Option(0.0, "Dropout of what goes into the adapter, while training.", ge=0.0, lt=1.0)
    targets: str | list[str] = Option(
        AUTO,
        "Which projections get an adapter: auto (attention and MLP of every layer), all-linear, or a list of names such "
        "as [q_proj, v_proj].",
    )
    loraplus_ratio: float = Option(
        1.0,
        "LoRA+: the outer matrix of an adapter (B) learns at this many times the rate; 16 is usual.",
        ge=1.0,
        le=1000.0,
    )


def adapter_space(config: AdapterConfig) -> Space:
    """Ranks and dropouts to try, the configured ones among them.

    Alpha stays: what is learnt moves with alpha / rank as with the learning rate, which is searched beside it (Hu et al. 2021,
    section 4.1). Dettmers et al. 2023, appendix A, search the same two options at a fixed alpha.
    """
    return {
        "method.rank": tuple(sorted({4, 8, 16, 32, 64, config.rank})),
        "method.dropout": tuple(sorted({0.0, 0.05, 0.1, config.dropout})),
    }


def wrap_adapted(module: Any, objective: Objective, config: AdapterConfig, seed: int, **variant: bool) -> Trainable:
    """The module with adapters in its trunk, all else frozen but a fresh head; ``variant`` goes to peft.

    Raises InputError for targets that the trunk does not have.
    """
    from peft import LoraConfig

    paths, reason = find_targets(module.trunk, config.targets)
    settings: Any = LoraConfig  # its own types say less than it takes: alpha may be a fraction
    lora = settings(
        r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules=list(paths),
        fan_in_fan_out=is_turned(module.trunk, paths), **variant,
    )  # fmt: skip
    (names,) = put_in(module, lora, seed, paths)
    pattern = train_beside(module, r"\.lora_")
    rates = {r"\.lora_B\.": config.loraplus_ratio} if config.loraplus_ratio != 1.0 else {}
    choices = () if config.targets != AUTO else (Choice("method.targets", names, reason),)
    return Trainable(module, (Phase(objective, pattern, rates),), choices)


def put_in(module: Any, config: Any, seed: int, *paths: Sequence[str]) -> list[list[str]]:
    """Put what peft's ``config`` describes into the trunk, all of which is frozen; the shortest names of each set of paths.

    The first set becomes the configuration's ``target_modules``, as peft will find them in the plain trunk.
    """
    from peft import inject_adapter_in_model

    inside = dict(module.trunk.named_modules())
    held = set(map(id, inside.values()))
    outside = {name for name, layer in module.named_modules() if id(layer) not in held}
    names = [shortest_names(each, outside | inside.keys() - set(each)) for each in paths]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, module.trunk, NAME)
    config.target_modules = names[0]
    return names


def train_beside(module: Any, pattern: str) -> str:
    """Train a fresh head besides what matches ``pattern``; the pattern of both. A head that came with the base is frozen."""
    trains_head = getattr(module, "trains_head", True)
    module.head.requires_grad_(trains_head)
    return rf"{pattern}|^head\." if trains_head else pattern


def is_turned(trunk: torch.nn.Module, paths: Sequence[str]) -> bool:
    """Whether the first of the layers keeps its matrix transposed."""
    return not isinstance(trunk.get_submodule(paths[0]), torch.nn.Linear)


def take_adapter(trainable: Trainable) -> Adapter:
    """The adapter's files while it is not merged. Its weights are copies on the CPU."""
    from peft import get_peft_model_state_dict

    trunk: Any = trainable.module.trunk
    chosen = trunk.peft_config[NAME].to_dict()
    settings = {name: sorted(value) if isinstance(value, set) else value for name, value in chosen.items()}
    weights = {
        f"trunk.{name}": value.detach().cpu().clone().contiguous()
        for name, value in get_peft_model_state_dict(trunk, adapter_name=NAME).items()
    }
    return Adapter({**settings, "inference_mode": True}, weights)


def merge(module: Any) -> None:
    """Merge each adapter into its matrix in place, and put the plain layers back."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for path, layer in [*module.trunk.named_modules()]:
        if isinstance(layer, BaseTunerLayer):
            adapted: Any = layer
            adapted.merge()
            put(module.trunk, path, adapted.get_base_layer())
    module.trunk.requires_grad_(False)
    del module.trunk.peft_config


def put(trunk: torch.nn.Module, path: str, layer: torch.nn.Module) -> None:
    """Set the module at a dotted path."""
    parent, _, name = path.rpartition(".")
    setattr(trunk.get_submodule(parent), name, layer)


def projections(trunk: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """Every linear layer by its path; transformers' Conv1D (GPT-2) is one, with its matrix transposed."""
    from transformers.pytorch_utils import Conv1D

    return ((path, layer) for path, layer in trunk.named_modules() if isinstance(layer, torch.nn.Linear | Conv1D))


def find_targets(trunk: torch.nn.Module, wanted: str | Sequence[str]) -> tuple[list[str], str]:
    """The paths of the layers to adapt, and why these. Raises InputError for a name that no layer has."""
    paths = [path for path, _ in projections(trunk)]
    if wanted == ALL_LINEAR:
        return paths, "as asked"
    if wanted == AUTO:
        repeated = [path for path in paths if re.search(r"(^|\.)\d+\.", path)]
        if repeated:
            return repeated, "every projection of attention and MLP, in each layer"
        return paths, "every linear layer: none is repeated"
    asked = [wanted] if isinstance(wanted, str) else list(wanted)
    for name in asked or [""]:
        if not any(_is_named(path, name) for path in paths):
            raise _no_such_layer(name, paths)
    return [path for path in paths if any(_is_named(path, name) for name in asked)], "as asked"


def shortest_names(paths: Sequence[str], others: set[str]) -> list[str]:
    """The shortest endings that name all of ``paths`` and none of ``others``, as peft reads target_modules."""
    found: dict[str, None] = {}
    for path in paths:
        parts = path.split(".")
        endings = [".".join(parts[start:]) for start in range(len(parts) - 1, -1, -1)]
        clear = [ending for ending in endings if not any(_is_named(other, ending) for other in others)]
        found[clear[0] if clear else path] = None
    return list(found)


def _is_named(path: str, ending: str) -> bool:
    return path == ending or path.endswith(f".{ending}")


def _no_such_layer(name: str, paths: Sequence[str]) -> InputError:
    known = sorted({path.rpartition(".")[2] for path in paths})
    suggestion = nearest(name, known)
    return InputError(
        "this model has no linear layer of this name",
        where="method.targets",
        given=name,
        allowed=", ".join([AUTO, ALL_LINEAR, *known]),
        hint=f"did you mean {suggestion}?" if suggestion else "method.targets=auto",
    )
