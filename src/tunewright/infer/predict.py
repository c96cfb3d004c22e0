"""Batched prediction and embedding, in fp32, in an order that pads little; results come back in the order given.

Shape letters: N rows, C outputs, H hidden width, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from tunewright.infer.batch import flatten, group_by_tokens, to_device
from tunewright.infer.forward import run_trunk
from tunewright.infer.load import tokenize
from tunewright.infer.precision import precision
from tunewright.seams import Encoder
from tunewright.types import Batch, Floats, Ints, Tell, tell_nobody

TOKENS_PER_BATCH = 4096
"""Padded tokens in one forward: enough to keep two cores busy, a few tens of MB of activations for a small encoder."""


def predict_logits(
    module: torch.nn.Module,
    ids: Sequence[Sequence[int]] | Sequence[Ints],
    *,
    weights: Sequence[torch.Tensor] | None = None,
    tokens_per_batch: int = TOKENS_PER_BATCH,
    tell: Tell = tell_nobody,
    label: str = "predicting",
) -> Floats:
    """What the module answers for N rows of token ids, [N, C] in float64: logits, or what its ``answer`` gives.

    ``weights`` holds a number to each token of each row, for a module that is asked about given tokens. The module's
    training mode is restored afterwards.
    """
    was_training = module.training
    module.eval()
    forward: Any = getattr(module, "answer", module)
    try:
        return _in_length_order(ids, module, forward, tokens_per_batch, tell, label, weights)
    finally:
        module.train(was_training)


def make_encoder(
    trunk: torch.nn.Module, tokenizer: Any, max_length: int, dtype: str = "fp32", tell: Tell = tell_nobody
) -> Encoder:
    """A function from texts to embeddings[N, H]: the mean of the last layer's states over the text's tokens."""
    trunk.eval()

    def embed(batch: Batch) -> torch.Tensor:
        with precision(dtype, next(trunk.parameters()).device.type):
            return mean_states(trunk, batch)

    def encode(texts: Sequence[str]) -> Floats:
        ids = tokenize(tokenizer, texts, max_length)
        return _in_length_order(ids, trunk, embed, TOKENS_PER_BATCH, tell, "embedding with the base")

    return encode


def mean_states(trunk: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """The mean hidden state[N, H] of each segment of the ``source`` stream."""
    stream = batch.streams["source"]
    hidden_TH = run_trunk(trunk, stream).float()  # a sum over a long text needs more than the 8 bits of bf16
    lengths_N = stream.bounds[1:] - stream.bounds[:-1]
    owner_T = torch.repeat_interleave(torch.arange(len(lengths_N), device=hidden_TH.device), lengths_N)
    sums_NH = hidden_TH.new_zeros(len(lengths_N), hidden_TH.shape[1]).index_add(0, owner_T, hidden_TH)
    return sums_NH / lengths_N.unsqueeze(1)


def _in_length_order(
    ids: Sequence[Sequence[int]] | Sequence[Ints],
    module: torch.nn.Module,
    forward: Callable[[Batch], torch.Tensor],
    tokens_per_batch: int,
    tell: Tell,
    label: str,
    weights: Sequence[torch.Tensor] | None = None,
) -> Floats:
    lengths = np.fromiter((len(row) for row in ids), dtype=np.int64, count=len(ids))
    order = np.argsort(-lengths, kind="stable")  # longest first: a lack of memory shows at once
    device = next(module.parameters()).device
    found: Floats | None = None
    done = 0
    with torch.no_grad():  # not inference_mode: what a trunk caches in here must still serve training
        for group in group_by_tokens([int(lengths[index]) for index in order], tokens_per_batch):
            rows = order[group]
            stream = flatten([ids[row] for row in rows])
            columns = {} if weights is None else {"target": torch.cat([weights[row] for row in rows])}
            batch = Batch({"source": stream}, columns, tuple(int(row) for row in rows), len(stream.ids))
            output = forward(to_device(batch, device)).float().cpu().numpy()
            if found is None:
                found = np.empty((len(ids), output.shape[1]), dtype=np.float64)
            found[rows] = output
            done += len(rows)
            tell(label, done, len(ids), "")
    return found if found is not None else np.empty((0, 0), dtype=np.float64)
