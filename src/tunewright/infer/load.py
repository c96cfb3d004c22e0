"""Load the two halves of a base from its folder: the trunk (a model without a head) and the tokenizer.

Only safetensors weights and built-in architectures are loaded; code that a model folder brings along is never run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.errors import InputError

if TYPE_CHECKING:
    import torch

WITH_POOLING_LAYER = frozenset({"bert", "roberta", "xlm-roberta", "electra", "camembert"})
"""Architectures whose bare model carries a pooling layer that only a head uses; it is left out of the trunk."""


def load_trunk(folder: Path) -> torch.nn.Module:
    """The model in ``folder`` without a head, in fp32 and evaluation mode. Raises InputError if the folder is not a model."""
    import torch
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging

    quiet(logging)
    config = AutoConfig.from_pretrained(folder)
    options: dict[str, Any] = {"add_pooling_layer": False} if config.model_type in WITH_POOLING_LAYER else {}
    try:
        trunk = AutoModel.from_pretrained(
            folder, config=config, dtype=torch.float32, use_safetensors=True, attn_implementation="sdpa", **options
        )
    except (OSError, ValueError) as error:
        raise InputError(
            "this folder does not load as a model",
            where=str(folder),
            given=str(error),
            allowed="a transformers folder with config.json and model.safetensors",
        ) from error
    trunk.eval()
    loaded: torch.nn.Module = trunk
    return loaded


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in ``folder``. A missing pad token is left missing: flattened batches have no padding."""
    from transformers import AutoTokenizer
    from transformers.utils import logging

    quiet(logging)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = 10**9  # length is this project's business; silences a warning on whole rows
    return tokenizer


def read_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of a model folder."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


def quiet(logging: Any) -> None:
    """Keep transformers from drawing bars and load reports into the terminal that the command line owns."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
