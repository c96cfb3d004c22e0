"""A trunk with its own language head: predicts the supervised tokens of flattened batches.

Shape letters: T tokens, N examples (one segment each), P supervised tokens, H hidden width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tunewright.errors import InputError
from tunewright.infer.forward import run_trunk
from tunewright.infer.likelihood import Predictions, token_losses
from tunewright.infer.load import load_language_model
from tunewright.types import Base, Batch, Stream


class LanguageModel(nn.Module):
    """A decoder as transformers stores it, read through its trunk and its head."""

    trains_head = False
    """The head is the base's own: a method that adapts the trunk leaves it as it is."""

    weighs_tokens = True
    """Targets are weights of tokens: those of rows that begin alike may be summed."""

    def __init__(self, model: Any) -> None:
        """Take a ``...ForCausalLM`` apart; both halves stay the same modules, tied where they were tied."""
        super().__init__()
        self.model = model
        settings = model.config.get_text_config()
        self.cap = float(getattr(settings, "final_logit_softcapping", None) or 0.0)
        multiplied, divided = getattr(settings, "logit_scale", None), getattr(settings, "logits_scaling", None)
        self.scale = float(multiplied or 1.0) / float(divided or 1.0)

    @property
    def trunk(self) -> Any:
        """The model without its head."""
        return self.model.base_model

    @property
    def head(self) -> Any:
        """The output layer."""
        return self.model.get_output_embeddings()

    def forward(self, batch: Batch) -> Predictions:
        """What the objective reads: one row to each token with a weight, the first token of a row left out."""
        stream, weights_T = batch.streams["source"], batch.columns["target"]
        at_P = ((weights_T > 0) & (stream.positions > 0)).nonzero().squeeze(1)
        rows = torch.searchsorted(stream.bounds, at_P, right=True) - 1
        head = self.head
        return Predictions(
            self._states_before(stream, at_P, rows),
            head.weight,
            head.bias,
            stream.ids[at_P],
            weights_T[at_P],
            rows,
            self.cap,
            self.scale,
        )

    def _states_before(self, stream: Stream, at_P: torch.Tensor, segments_P: torch.Tensor) -> torch.Tensor:
        """The state[P, H] that each token is predicted from: a segment's first by the last one of its parent."""
        before_P = at_P - 1
        if not stream.parents:
            return run_trunk(self.trunk, stream, before_P)
        parents_S = torch.tensor(stream.parents, device=at_P.device)
        is_first_P = at_P == stream.bounds[segments_P]
        before_P = torch.where(is_first_P, stream.bounds[parents_S[segments_P] + 1] - 1, before_P)
        wanted, places_P = torch.unique(before_P, return_inverse=True)
        return run_trunk(self.trunk, stream, wanted)[places_P]

    def answer(self, batch: Batch) -> torch.Tensor:
        """(Summed -log p, number)[N, 2] of each row's supervised tokens, in fp32."""
        predictions = self(batch)
        num_rows = len(batch.streams["source"].bounds) - 1
        sums_N2 = torch.zeros(num_rows, 2, dtype=torch.float64, device=predictions.states.device)
        losses_P = token_losses(predictions).double()
        return sums_N2.index_add(0, predictions.rows, torch.stack([losses_P, torch.ones_like(losses_P)], dim=1))


def attach_language_head(base: Base) -> LanguageModel:
    """The base with the head it was pretrained with. Raises InputError for a base that does not write text."""
    require_writer(base)
    return LanguageModel(load_language_model(base.folder))


def require_writer(base: Base) -> None:
    """Raise InputError for a base that does not write text."""
    if base.kind != "decoder":
        raise InputError(
            "a model of this kind does not write text",
            where="model.name",
            given=f"{base.name} ({base.architecture}, an {base.kind})",
            allowed="a decoder, such as smollm2-135m-instruct or gemma-3-270m",
            hint="model=smollm2-135m-instruct",
        )
