"""How likely a language model finds given tokens, without ever holding the logits of all of them.

The logits of a vocabulary of 262,144 for 16,384 tokens would take 17 GB. They are made, used and dropped in chunks; where
gradients are wanted, the chunk's are taken while its logits are there, so that none is made twice.

Shape letters: P supervised tokens, V vocabulary, H hidden width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tunewright.infer.native.functions import Kernels, kernels

CHUNK_CELLS = 1 << 26
"""Logits in memory at once: 256 MB in fp32."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """What decides each supervised token: the state before it, the head, and the token itself with its weight and its row.

    Shapes: states[P, H], head[V, H], bias[V], ids[P], weights[P], rows[P].

    Logits are ``cap * tanh(x / cap)`` of x = scale * (h W' + b) where there is a soft cap (Gemma 2, section 2), else x.
    """

    states: torch.Tensor
    head: torch.Tensor
    bias: torch.Tensor | None
    ids: torch.Tensor
    weights: torch.Tensor
    rows: torch.Tensor
    cap: float = 0.0
    scale: float = 1.0


def weighted_loss(predictions: Predictions, smoothing: float = 0.0) -> torch.Tensor:
    """sum_p w_p (-log p(x_p)), in fp32, with gradients for the states, the head and its bias.

    With ``smoothing`` s the token shares its place with all V: -sum_v q_v log p(v), q = (1 - s) onehot + s / V.
    """
    given = predictions
    loss: torch.Tensor = _WeightedLoss.apply(  # type: ignore[no-untyped-call]
        given.states, given.head, given.bias, given, smoothing
    )
    return loss


@torch.no_grad()
def token_losses(predictions: Predictions) -> torch.Tensor:
    """-log p(x_p) of each supervised token[P], in fp32."""
    losses_P = torch.empty(len(predictions.ids), dtype=torch.float32, device=predictions.states.device)
    for piece, _, _, logits, _ in _chunks(predictions):
        losses_P[piece] = _losses(logits, predictions.ids[piece])
    return losses_P


class _WeightedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        head: torch.Tensor,
        bias: torch.Tensor | None,
        given: Predictions,
        smoothing: float,
    ) -> torch.Tensor:
        """The loss; the gradients that are wanted are made on the way and only scaled in ``backward``."""
        wants_states, wants_head, wants_bias = ctx.needs_input_grad[:3]
        grad_states = torch.empty_like(states) if wants_states else None
        grad_head = torch.zeros_like(head, dtype=torch.float32) if wants_head else None
        grad_bias = torch.zeros_like(bias) if wants_bias and bias is not None else None
        total = torch.zeros((), dtype=torch.float32, device=states.device)
        native = None if smoothing else _native(given)
        if native is not None:
            total, *found = _in_place(native, given, ctx.needs_input_grad)
            ctx.save_for_backward(*(each for each in found if each is not None))
            ctx.present = (found[0] is not None, found[1] is not None, False)
            return total
        for piece, rows, matrix, logits, slope in _chunks(given):
            ids, weights = given.ids[piece], given.weights[piece]
            total += (_losses(logits, ids, smoothing) * weights).sum()
            if not (wants_states or wants_head or wants_bias):
                continue
            flow = torch.softmax(logits, dim=1)
            flow.scatter_add_(1, ids.unsqueeze(1), torch.full_like(flow[:, :1], smoothing - 1.0))
            if smoothing:
                flow -= smoothing / flow.shape[1]
            flow *= weights.unsqueeze(1) if slope is None else weights.unsqueeze(1) * slope
            if grad_bias is not None:
                grad_bias += flow.sum(dim=0) * given.scale
            flow = (flow * given.scale).to(rows.dtype)
            if grad_states is not None:
                grad_states[piece] = (flow @ matrix).to(grad_states.dtype)
            if grad_head is not None:
                grad_head += flow.T @ rows
        ctx.save_for_backward(*(each for each in (grad_states, grad_head, grad_bias) if each is not None))
        ctx.present = (grad_states is not None, grad_head is not None, grad_bias is not None)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        """The gradients made in ``forward``, times the gradient of the loss."""
        (grad,) = grads
        made = iter(ctx.saved_tensors)
        return (*(next(made) * grad if present else None for present in ctx.present), None, None)


def _native(given: Predictions) -> Kernels | None:
    """The kernels, where they know how: plain logits in the dtype of states and head."""
    device = given.states.device.type
    is_plain = given.bias is None and not given.cap and given.scale == 1.0
    fits = is_plain and given.head.dtype == given.states.dtype and not torch.is_autocast_enabled(device)
    return kernels(given.states.dtype, device) if fits else None


def _in_place(
    native: Kernels, given: Predictions, wants: Sequence[bool]
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """The loss and the gradients of states and head; each chunk's logits are turned into what flows back, where they lie."""
    states, head = given.states.detach().contiguous(), given.head.detach()
    size = max(16, 2 * CHUNK_CELLS // len(head))
    total = torch.zeros((), dtype=torch.float32)
    grad_states, grad_head = torch.empty_like(states) if wants[0] else None, None
    for start in range(0, len(states), size):
        piece = slice(start, start + size)
        logits, weights = states[piece] @ head.T, given.weights[piece].float().contiguous()
        losses = native.cross_entropy_(logits, given.ids[piece].contiguous(), weights, wants[0] or wants[1])
        total += (losses * weights).sum()
        if grad_states is not None:
            torch.mm(logits, head, out=grad_states[piece])
        if wants[1]:
            found = logits.T @ states[piece]
            if grad_head is None:
                grad_head = found if len(states) <= size else found.float()
            else:
                grad_head += found
    return total, grad_states, grad_head


def _chunks(
    given: Predictions,
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]]:
    """(Rows, their states, the head, logits[rows, V] in fp32, slope of the soft cap) of each chunk."""
    device = given.states.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else given.head.dtype
    head = given.head.detach().to(dtype)
    rows = max(16, CHUNK_CELLS // head.shape[0])
    for start in range(0, len(given.ids), rows):
        piece = slice(start, start + rows)
        states = given.states[piece].detach().to(dtype)
        with torch.autocast(device, enabled=False):
            logits = (states @ head.T).float()
        if given.bias is not None:
            logits += given.bias.detach().float()
        if given.scale != 1.0:
            logits *= given.scale
        slope = None
        if given.cap:
            squashed = torch.tanh(logits / given.cap)
            logits, slope = given.cap * squashed, 1.0 - squashed * squashed
        yield piece, states, head, logits, slope


def _losses(logits: torch.Tensor, ids: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    named = logits.gather(1, ids.unsqueeze(1)).squeeze(1)
    if smoothing:
        named = (1.0 - smoothing) * named + smoothing * logits.mean(dim=1)
    return torch.logsumexp(logits, dim=1) - named


def token_nats(predictions: Predictions) -> torch.Tensor:
    """-log p(x_p) of each supervised token[P], in fp32, with gradients for the states, the head and its bias.

    For objectives in which the weight of a token depends on the likelihood of others: logits are made again on the way back.
    """
    given = predictions
    nats: torch.Tensor = _TokenNats.apply(given.states, given.head, given.bias, given)  # type: ignore[no-untyped-call]
    return nats


class _TokenNats(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        head: torch.Tensor,
        bias: torch.Tensor | None,  # noqa: ARG004 - its gradient is made in ``backward``
        given: Predictions,
    ) -> torch.Tensor:
        """The losses alone."""
        ctx.given = given
        ctx.save_for_backward(states, head)
        return token_losses(given)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        """Chunk by chunk: (softmax - onehot) times what flows back."""
        (grad_P,) = grads
        states, head = ctx.saved_tensors
        wants_states, wants_head, wants_bias = ctx.needs_input_grad[:3]
        grad_states = torch.empty_like(states) if wants_states else None
        grad_head = torch.zeros_like(head, dtype=torch.float32) if wants_head else None
        grad_bias = torch.zeros_like(ctx.given.bias) if wants_bias and ctx.given.bias is not None else None
        for piece, rows, matrix, logits, slope in _chunks(ctx.given):
            flow = torch.softmax(logits, dim=1)
            flow.scatter_add_(1, ctx.given.ids[piece].unsqueeze(1), torch.full_like(flow[:, :1], -1.0))
            flow *= grad_P[piece].unsqueeze(1) if slope is None else grad_P[piece].unsqueeze(1) * slope
            if grad_bias is not None:
                grad_bias += flow.sum(dim=0) * ctx.given.scale
            flow = (flow * ctx.given.scale).to(rows.dtype)
            if grad_states is not None:
                grad_states[piece] = (flow @ matrix).to(grad_states.dtype)
            if grad_head is not None:
                grad_head += flow.T @ rows
        return grad_states, None if grad_head is None else grad_head.to(head.dtype), grad_bias, None
