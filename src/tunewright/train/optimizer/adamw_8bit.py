"""AdamW whose moments are kept in 8 bits: two bytes a weight in place of eight.

Dettmers et al. 2022, "8-bit Optimizers via Block-wise Quantization": moments are stored in blocks, each with its own largest
magnitude, and an update is made in fp32 before they are rounded again (section 2). Embeddings, biases and norms keep
32 bits (section 2.3), as do matrices too small to matter. In place of the paper's table of dynamic exponents, a code is a root
of the magnitude's share of the largest, evenly spaced, which is fine near zero as well and needs no search:

    first moment    sign(m) (q / 127)^2 max|m|, q in 0..127
    second moment   (q / 256)^4 max v, q in 1..256: never zero, so that nothing is divided by a moment that was rounded away

An update changes the second moment by a thousandth, less than the codes tell apart, and to the nearest code it would be lost
each time. So where it is rounded down or up moves evenly with the step and the place in the block: right in the mean, and a
function of the step alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from tunewright.train.optimizer.base import AdamConfig, EachAlone, Group, Joined, adamw

BLOCK = 256
"""Weights that share one scale."""

SMALLEST = 4096
"""Matrices with fewer weights keep 32 bits."""

CHUNK = BLOCK << 13
"""Weights whose moments are in fp32 at once."""


class Adamw8bit:
    """AdamW with moments in 8 bits, a quarter of their memory."""

    class Config(AdamConfig):
        """Options of AdamW in 8 bits."""

    lr_factor = 1.0

    def __init__(self, config: Config) -> None:
        """Hold the options."""
        self.config = config

    def build(self, groups: Sequence[Group]) -> torch.optim.Optimizer:
        """One for large matrices, and torch's AdamW for the rest."""
        coded, plain = list(_parted(groups, large=True)), list(_parted(groups, large=False))
        config = self.config
        parts: list[torch.optim.Optimizer] = [adamw(config, plain)] if plain else []
        if coded:
            parts.append(_Coded(coded, {"betas": (config.beta1, config.beta2), "eps": config.epsilon}))
        return Joined(parts)


def _parted(groups: Sequence[Group], *, large: bool) -> Iterator[Group]:
    """The groups with only those parameters that are large matrices, or only the others."""
    for group in groups:
        params = [
            value
            for value in group["params"]
            if (group["kind"] != "other" and value.numel() >= SMALLEST and value.is_contiguous()) == large
        ]
        if params:
            yield {**group, "params": params}


class _Coded(EachAlone):
    def update(
        self, group: Group, weights: torch.Tensor, gradients: torch.Tensor, state: dict[str, torch.Tensor]
    ) -> None:
        if not state:
            state.update(_begin(weights))
        state["step"] += 1
        (beta1, beta2), step = group["betas"], float(state["step"])
        rate = group["lr"] / (1.0 - beta1**step)
        root = (1.0 - beta2**step) ** 0.5
        dither = rounding(int(step), weights.device)
        weights, gradients = weights.view(-1), gradients.reshape(-1)
        weights.mul_(1.0 - group["lr"] * group["weight_decay"])
        for start in range(0, len(weights), CHUNK):
            some = slice(start, start + CHUNK)
            blocks = slice(start // BLOCK, (start + CHUNK) // BLOCK)
            gradient = gradients[some].float()
            first = decode_first(state["first"][some], state["first_scale"][blocks])
            second = decode_second(state["second"][some], state["second_scale"][blocks])
            first.lerp_(gradient, 1.0 - beta1)
            second.mul_(beta2).addcmul_(gradient, gradient, value=1.0 - beta2)
            weights[some].addcdiv_(first, (second.sqrt() / root).add_(group["eps"]), value=-rate)
            state["first"][some], state["first_scale"][blocks] = encode_first(first)
            state["second"][some], state["second_scale"][blocks] = encode_second(second, dither)


def _begin(weights: torch.Tensor) -> dict[str, torch.Tensor]:
    """Moments of zero, and no step taken."""
    size, device = weights.numel(), weights.device
    scales = torch.zeros(2, -(-size // BLOCK), device=device)
    return {
        "step": torch.zeros(()),
        "first": torch.zeros(size, dtype=torch.int8, device=device),
        "first_scale": scales[0].clone(),
        "second": torch.zeros(size, dtype=torch.uint8, device=device),
        "second_scale": scales[1].clone(),
    }


def encode_first(moments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Signed codes[n], int8, and the largest magnitude of each block."""
    blocks, scale = _scaled(moments)
    codes = blocks.abs().sqrt_().mul_(127.0).round_().copysign_(blocks)
    return codes.to(torch.int8).view(-1)[: len(moments)], scale


def decode_first(codes: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The moments[n] that the codes stand for, in fp32."""
    share = codes.float().div_(127.0)
    return _times(share.mul_(share.abs()), scale)


def rounding(step: int, device: torch.device) -> torch.Tensor:
    """What is added at each place[BLOCK] of a block before it is rounded down, evenly spread over [0, 1) in place and step.

    Multiples of the golden ratio's fraction, and from step to step of its like in two dimensions (1 / 1.3247...).
    """
    places = torch.arange(BLOCK, device=device) * 0.6180339887
    return torch.remainder(places + step * 0.7548776662 % 1.0, 1.0)


def encode_second(moments: torch.Tensor, added: torch.Tensor | float = 0.5) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes[n] of what is not negative, uint8 (one below q), and the largest of each block; to the nearest by itself."""
    blocks, scale = _scaled(moments)
    codes = blocks.sqrt_().sqrt_().mul_(256.0).add_(added).floor_().clamp_(1.0, 256.0).sub_(1.0)
    return codes.to(torch.uint8).view(-1)[: len(moments)], scale


def decode_second(codes: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The moments[n] that the codes stand for, in fp32."""
    return _times(codes.float().add_(1.0).div_(256.0).square_().square_(), scale)


def _scaled(moments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The moments as shares of the largest magnitude of their block, [blocks, BLOCK], and these magnitudes."""
    blocks = torch.nn.functional.pad(moments, (0, -len(moments) % BLOCK)).view(-1, BLOCK)
    scale = blocks.abs().amax(dim=1)
    return blocks / scale.clamp_min(torch.finfo(torch.float32).tiny).unsqueeze(1), scale


def _times(shares: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Shares[n] times the scale of their block."""
    padded = torch.nn.functional.pad(shares, (0, -len(shares) % BLOCK)).view(-1, BLOCK)
    return (padded * scale.unsqueeze(1)).view(-1)[: len(shares)]
