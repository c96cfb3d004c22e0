"""Load the two halves of a base from its folder: the trunk (a model without a head) and the tokenizer.

Only safetensors weights and built-in architectures are loaded; code that a model folder brings along is never run, and
nothing that its configuration names is fetched.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.errors import InputError

if TYPE_CHECKING:
    import torch


def load_trunk(folder: Path) -> torch.nn.Module:
    """The model in ``folder`` without a head, in fp32 and evaluation mode.

    Raises InputError if the folder is not a model of a known architecture, or lacks some of its weights.
    """
    from transformers import MODEL_MAPPING

    return _load(folder, MODEL_MAPPING, "plain model")


def load_language_model(folder: Path) -> torch.nn.Module:
    """The model in ``folder`` with the head that predicts the next token, in fp32 and evaluation mode.

    Raises InputError as ``load_trunk`` does, and for an architecture that does not generate text.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    return _load(folder, MODEL_FOR_CAUSAL_LM_MAPPING, "form that generates text")


def _load(folder: Path, mapping: Any, form: str) -> torch.nn.Module:
    import torch
    from safetensors import SafetensorError

    from tunewright.infer.flat import attention_of

    quiet()
    try:
        config, model_class = _architecture(folder, mapping, form)
        model, loading = model_class.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            attn_implementation=attention_of(config.model_type, model_class._supports_sdpa),
            output_loading_info=True,
            **_without_pooling_layer(model_class),
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise _not_a_model(folder, str(error)) from error
    if loading["missing_keys"]:
        missing = sorted(loading["missing_keys"])
        raise _not_a_model(folder, f"{len(missing)} of its weights are missing, such as {missing[0]}")
    loaded: torch.nn.Module = model.eval()
    return loaded


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in ``folder``. A missing pad token is left missing: flattened batches have no padding.

    Raises InputError if there is none, or if it is one that only runs by code of its own.
    """
    from transformers import AutoTokenizer

    quiet()
    try:
        settings = _read_json(folder / "tokenizer_config.json")
        if "auto_map" in settings:
            raise ValueError("a tokenizer that brings its own code")
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise InputError(
            "this folder does not load as a tokenizer",
            where=str(folder),
            given=str(error),
            allowed="a transformers folder with tokenizer.json; its own code is never run",
        ) from error
    tokenizer.model_max_length = 10**9  # length is this project's business; silences a warning on whole rows
    tokenizer.truncation_side = "right"
    return tokenizer


def tokenize(tokenizer: Any, texts: Sequence[str], max_length: int | None) -> list[list[int]]:
    """Token ids of each text with the tokenizer's own special tokens, cut on the right to ``max_length``.

    A text that spells a special token is text: only the tokenizer itself sets such tokens, around it. A text of which the
    tokenizer leaves nothing is read as one end-of-text token: every row has a state to pool.
    """
    options = {} if max_length is None else {"truncation": True, "max_length": max_length}
    spelled = spelled_in_one(tokenizer)
    ids: list[list[int]] = _as_text(tokenizer, texts, **options)["input_ids"]
    if spelled:
        own = tokenizer.num_special_tokens_to_add()
        for index, row in enumerate(ids):
            if sum(token in spelled for token in row) > own:
                ids[index] = _spelled_out(tokenizer, texts[index], spelled, max_length)
    return [row or [tokenizer.eos_token_id or 0] for row in ids]


def spell(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a piece of text without anything around it; what it spells of a control token is plain text."""
    ids: list[int] = _as_text(tokenizer, [text], add_special_tokens=False)["input_ids"][0]
    spelled = spelled_in_one(tokenizer)
    return letters(tokenizer, ids, spelled) if spelled.intersection(ids) else ids


@lru_cache(maxsize=4)
def count_closing(tokenizer: Any) -> int:
    """How many special tokens the tokenizer sets behind every text."""
    own = _as_text(tokenizer, ["x 好 1"], return_special_tokens_mask=True)["special_tokens_mask"][0]
    return [*own[::-1], 0].index(0)


def control_tokens(tokenizer: Any) -> frozenset[int]:
    """The ids that mean something to a model beyond their spelling; an unknown character is no such thing."""
    flagged = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    roles = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id)
    unknown = {tokenizer.unk_token_id} - {*roles, tokenizer.pad_token_id, tokenizer.mask_token_id}
    return frozenset((flagged | set(tokenizer.all_special_ids)) - unknown)


def _as_text(tokenizer: Any, texts: Sequence[str], **options: Any) -> Any:
    return tokenizer(list(texts), return_attention_mask=False, split_special_tokens=True, **options)


@lru_cache(maxsize=4)
def spelled_in_one(tokenizer: Any) -> frozenset[int]:
    """The control tokens that are pieces of the vocabulary, too, so that their spelling gives them even as plain text."""
    control = control_tokens(tokenizer)
    names = tokenizer.convert_ids_to_tokens(sorted(control))
    probes = [probe for name in names for probe in (name, f"x {name} x", f"x{name}x")]
    found = _as_text(tokenizer, probes, add_special_tokens=False)["input_ids"] if probes else []
    return control if any(token in control for row in found for token in row) else frozenset()


def _spelled_out(tokenizer: Any, text: str, spelled: frozenset[int], max_length: int | None) -> list[int]:
    """The ids of one text in which each control token that it spells is written letter by letter."""
    found = _as_text(tokenizer, [text], return_special_tokens_mask=True)
    ids, own = found["input_ids"][0], found["special_tokens_mask"][0]
    start, end = own.index(0), len(own) - own[::-1].index(0)
    body = letters(tokenizer, ids[start:end], spelled)
    room = len(body) if max_length is None else max_length - start - (len(ids) - end)
    return [*ids[:start], *body[:room], *ids[end:]]


def letters(tokenizer: Any, ids: Sequence[int], spelled: frozenset[int]) -> list[int]:
    """The ids with each of ``spelled`` written letter by letter."""
    body: list[int] = []
    for token in ids:
        letters = list(tokenizer.convert_ids_to_tokens(token)) if token in spelled else []
        body += tokenizer.convert_tokens_to_ids(letters) if letters else [token]
    return body


def read_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of a model folder; empty where it has none."""
    return _read_json(folder / "config.json")


def read_width(folder: Path) -> int:
    """The hidden width that ``config.json`` names, whatever the architecture calls it; 0 where it names none."""
    config = read_config(folder)
    return next((int(config[name]) for name in ("hidden_size", "n_embd", "d_model", "dim") if config.get(name)), 0)


def quiet() -> None:
    """Keep transformers from drawing bars and load reports into the terminal that the command line owns."""
    from transformers.utils import logging

    silence: Any = logging
    silence.set_verbosity_error()
    silence.disable_progress_bar()


def _architecture(folder: Path, mapping: Any, form: str) -> tuple[Any, Any]:
    """Configuration and model class; both are transformers' own, chosen by ``model_type`` alone."""
    from transformers import CONFIG_MAPPING

    name: Any = read_config(folder).get("model_type")
    if name not in CONFIG_MAPPING:
        raise ValueError(f"config.json with model_type {name!r}")
    config = CONFIG_MAPPING[name].from_pretrained(folder)
    if type(config) not in mapping:
        raise ValueError(f"config.json with model_type {name!r}, which has no {form}")
    found: Any = mapping[type(config)]
    return config, found[0] if isinstance(found, tuple) else found


def _without_pooling_layer(model_class: Any) -> dict[str, bool]:
    """The switch that leaves out a pooling layer which only a head uses, where the architecture has one."""
    name = "add_pooling_layer"
    return {name: False} if name in inspect.signature(model_class.__init__).parameters else {}


def _not_a_model(folder: Path, given: str) -> InputError:
    return InputError(
        "this folder does not load as a model",
        where=str(folder),
        given=given,
        allowed="a transformers folder: config.json of a built-in architecture, and all its weights in model.safetensors",
    )


def _read_json(path: Path) -> dict[str, Any]:
    content: Any = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content if isinstance(content, dict) else {}
