"""Write an adapter in peft's format: a small folder that peft loads over the stock model.

adapter_config.json          kind, rank, scale and targets of the adapter; which layers came with it
adapter_model.safetensors    its weights under peft's names, and those of a head that was trained with it
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch

from tunewright.store.artifact import Draft
from tunewright.types import Adapter, Base

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

NO_HEAD: Mapping[str, torch.Tensor] = MappingProxyType({})


def save_adapter(
    draft: Draft,
    adapter: Adapter,
    base: Base,
    *,
    trunk_name: str,
    task_type: str,
    head: Mapping[str, torch.Tensor] = NO_HEAD,
) -> None:
    """Write both files into ``draft``.

    ``trunk_name`` is the stock model's name for its trunk (empty where it is the trunk), ``task_type`` is peft's
    (``SEQ_CLS``, ``CAUSAL_LM``, ``FEATURE_EXTRACTION``); ``head`` holds trained layers by their stock names.
    """
    from safetensors.torch import save_file

    prefix = f"{trunk_name}." if trunk_name else ""
    weights = {prefix + name.removeprefix("trunk."): value for name, value in adapter.weights.items()} | {
        name: value.detach().cpu().contiguous() for name, value in head.items()
    }
    save_file({f"base_model.model.{name}": value for name, value in weights.items()}, str(draft.path(WEIGHTS)))
    layers = dict.fromkeys(_layer_of(name, prefix) for name in head)
    config = {"base_model_name_or_path": base.name, "task_type": task_type, "modules_to_save": list(layers) or None}
    draft.write_json(CONFIG, {**adapter.config, **config})


def _layer_of(name: str, prefix: str) -> str:
    """The stock layer that peft replaces as a whole: one within the trunk, or a whole head."""
    return name.rpartition(".")[0] if prefix and name.startswith(prefix) else name.partition(".")[0]
