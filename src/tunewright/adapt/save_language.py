"""Save a tuned language model as transformers stores it, with its template, and what ends its turns.

config.json, model.safetensors    the stock ``...ForCausalLM``, a tied head stored once
generation_config.json            the tokens that end an answer
tokenizer files                   as the base had them, with the template that it was tuned by
tunewright.json                   task, options, base, licence
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from tunewright.adapt.language import LanguageModel
from tunewright.adapt.save import WEIGHTS, kept_config, save_tokenizer
from tunewright.infer.card import CARD
from tunewright.infer.golden import GOLDEN, golden_ids
from tunewright.infer.load import load_tokenizer
from tunewright.infer.template import ChatTemplate
from tunewright.store.artifact import Draft
from tunewright.types import Base


def save_language_model(draft: Draft, module: torch.nn.Module, base: Base, card: Mapping[str, object]) -> None:
    """Write the folder described above into ``draft``."""
    from safetensors.torch import save_file

    assert isinstance(module, LanguageModel)
    save_file(stored_weights(module), str(draft.path(WEIGHTS)), metadata={"format": "pt"})
    tokenizer = load_tokenizer(base.folder)
    template = ChatTemplate.of(base.folder, tokenizer)
    save_tokenizer(draft, base.folder, tokenizer, {} if tokenizer.chat_template else {"chat_template": template.source})
    settings = dict(kept_config(base), dtype="float32")
    draft.write_json("config.json", settings)
    ends = list(template.stop_ids)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    draft.write_json("generation_config.json", {"eos_token_id": ends, "pad_token_id": pad})
    draft.write_json(
        CARD,
        {
            "architecture": base.architecture,
            "kind": base.kind,
            "base": base.name,
            "licence": base.licence,
            "stock_class": settings.get("architectures", [""])[0],
            GOLDEN: golden_ids(tokenizer, template),
            **card,
        },
    )


def stored_weights(module: LanguageModel) -> dict[str, torch.Tensor]:
    """Name -> weight of the stock class; a weight that is tied to an earlier one is left out, as transformers does."""
    stored: dict[str, torch.Tensor] = {}
    known: set[int] = set()
    tied = set(getattr(module.model, "_tied_weights_keys", None) or ())
    for name, value in module.model.state_dict(keep_vars=True).items():
        if id(value) in known or (name in tied and module.model.config.tie_word_embeddings):
            continue
        known.add(id(value))
        stored[name] = value.detach().cpu().contiguous()
    return stored
