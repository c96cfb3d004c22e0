"""Frozen matrices in 4 bits: NormalFloat (Dettmers et al. 2023, "QLoRA", section 3 and appendix E), in plain torch.

A matrix is laid flat and cut into blocks of 64. A block keeps its largest magnitude, and of each weight the nearest of 16
levels of [-1, 1], which lie so that weights drawn from a normal distribution fill them evenly. Double quantisation stores
the magnitudes, less their mean, as 8-bit floats in blocks of 256: 4.13 bits a weight in all instead of 4.5.

Shape letters: I inputs, O outputs, B blocks of 64 weights.
"""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist
from typing import Any

import torch

BLOCK = 64
MAGNITUDES_PER_BLOCK = 256
EIGHT_BITS = torch.float8_e4m3fn


@cache
def code_book() -> tuple[float, ...]:
    """The 16 levels, ascending: quantiles of the standard normal over the largest, 7 below zero, zero, and 8 above.

    The outermost quantile is the mean of 1 - 1/32 and 1 - 1/30, halfway between those of 16 and of 15 even levels.
    """
    outermost = (31 / 32 + 29 / 30) / 2

    def quantiles(number: int) -> list[float]:
        step = (outermost - 0.5) / number
        return [NormalDist().inv_cdf(outermost - step * index) for index in range(number)]

    above, below = quantiles(8), quantiles(7)
    return tuple(sorted(level / above[0] for level in (*above, 0.0, *(-level for level in below))))


def to_codes(blocks_B64: torch.Tensor, magnitudes_B: torch.Tensor) -> torch.Tensor:
    """The nearest level of each weight, two to a byte, the first in the high half: uint8[B, 32]."""
    levels = torch.tensor(code_book(), device=blocks_B64.device)
    scaled = blocks_B64 / magnitudes_B.clamp_min(torch.finfo(torch.float32).tiny).unsqueeze(1)
    codes = torch.bucketize(scaled, (levels[1:] + levels[:-1]) / 2, out_int32=True).to(torch.uint8)
    return (codes[:, 0::2] << 4) | codes[:, 1::2]


def from_codes(codes: torch.Tensor, magnitudes_B: torch.Tensor) -> torch.Tensor:
    """The weights[B, 64] in fp32 that the codes stand for."""
    levels = torch.tensor(code_book(), device=codes.device)
    pairs = torch.cartesian_prod(levels, levels)  # row 16 i + j holds the levels i and j
    return torch.nn.functional.embedding(codes.int(), pairs).flatten(1) * magnitudes_B.unsqueeze(1)


class FourBit(torch.nn.Module):
    """A linear layer whose frozen matrix is kept in 4 bits and read out for each product, forwards and backwards."""

    def __init__(self, layer: Any, *, double_quantisation: bool) -> None:
        """Take the matrix out of ``layer`` (a Linear, or transformers' Conv1D, whose matrix is [I, O])."""
        super().__init__()
        weight = layer.weight.detach().float()
        self.layer = layer
        self.shape = weight.shape
        self.is_turned = not isinstance(layer, torch.nn.Linear)
        layer.weight = None
        flat = torch.nn.functional.pad(weight.flatten(), (0, -weight.numel() % BLOCK))
        blocks_B64 = flat.view(-1, BLOCK)
        self._keep("magnitudes", blocks_B64.abs().amax(1))
        if double_quantisation:
            self._quantise_magnitudes()
        self._keep("codes", to_codes(blocks_B64, self._magnitudes()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs[..., O], in the precision of the products around it."""
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        product: torch.Tensor = _Product.apply(x.to(dtype), self)  # type: ignore[no-untyped-call]
        return product if self.layer.bias is None else product + self.layer.bias.to(dtype)

    def matrix(self) -> torch.Tensor:
        """The matrix[O, I] in fp32."""
        stored = self._stored()
        return stored.T if self.is_turned else stored

    def unpack(self) -> torch.nn.Module:
        """The layer as it was, its matrix in fp32 as the 4 bits have it."""
        self.layer.weight = torch.nn.Parameter(self._stored(), requires_grad=False)
        plain: torch.nn.Module = self.layer
        return plain

    def _stored(self) -> torch.Tensor:
        flat = from_codes(self.codes, self._magnitudes()).flatten()
        return flat[: self.shape.numel()].view(self.shape)

    def _magnitudes(self) -> torch.Tensor:
        magnitudes: torch.Tensor = self.magnitudes
        if magnitudes.dtype != torch.uint8:
            return magnitudes
        centred = magnitudes.view(EIGHT_BITS).float() * self.scales.unsqueeze(1)
        return (centred.flatten()[: math.ceil(self.shape.numel() / BLOCK)] + self.mean).clamp_min(0.0)

    def _quantise_magnitudes(self) -> None:
        magnitudes: torch.Tensor = self.magnitudes
        self._keep("mean", magnitudes.mean())
        centred = torch.nn.functional.pad(magnitudes - self.mean, (0, -len(magnitudes) % MAGNITUDES_PER_BLOCK))
        rows = centred.view(-1, MAGNITUDES_PER_BLOCK)
        largest = torch.finfo(EIGHT_BITS).max
        self._keep("scales", (rows.abs().amax(1) / largest).clamp_min(torch.finfo(torch.float32).tiny))
        self.magnitudes = (rows / self.scales.unsqueeze(1)).clamp(-largest, largest).to(EIGHT_BITS).view(torch.uint8)

    def _keep(self, name: str, value: torch.Tensor) -> None:
        """As a buffer that moves with the module and is in no checkpoint: it never changes."""
        self.register_buffer(name, value, persistent=False)

    codes: torch.Tensor
    magnitudes: torch.Tensor
    scales: torch.Tensor
    mean: torch.Tensor


class _Product(torch.autograd.Function):
    """x[..., I] @ W.T, where W[O, I] is read out again on the way back instead of being kept."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor, layer: FourBit) -> torch.Tensor:
        context.layer = layer
        return x @ layer.matrix().to(x.dtype).T

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (gradient,) = gradients
        return gradient @ context.layer.matrix().to(gradient.dtype), None
