"""The code book is the paper's; what is packed comes back within half a gap between levels; magnitudes may be packed too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm

from tunewright.adapt.nf4 import BLOCK, FourBit, code_book, from_codes, to_codes

PAPER = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""Appendix E of Dettmers et al. 2023."""


def packed(shape: tuple[int, int], *, double: bool, scale: float = 0.02) -> tuple[torch.Tensor, FourBit]:
    layer = torch.nn.Linear(shape[1], shape[0])
    torch.nn.init.normal_(layer.weight, std=scale)
    return layer.weight.detach().clone(), FourBit(layer, double_quantisation=double)


def test_the_levels_are_those_of_the_paper() -> None:
    assert code_book() == pytest.approx(PAPER, abs=1e-6)
    ends = np.linspace((31 / 32 + 29 / 30) / 2, 0.5, 9)[:-1], np.linspace((31 / 32 + 29 / 30) / 2, 0.5, 8)[:-1]
    above, below = norm.ppf(ends[0]), -norm.ppf(ends[1])
    assert code_book() == pytest.approx(sorted([*(above / above[0]), 0.0, *(below / above[0])]), abs=1e-12)


def test_every_weight_goes_to_its_nearest_level_and_two_share_a_byte() -> None:
    blocks, magnitudes = torch.linspace(-3, 3, 4 * BLOCK).view(4, BLOCK), torch.full((4,), 3.0)
    codes = to_codes(blocks, magnitudes)
    assert (codes.shape, codes.dtype) == ((4, 32), torch.uint8)
    levels = 3 * np.array(code_book())
    nearest = levels[np.abs(blocks.numpy()[..., None] - levels).argmin(-1)]
    assert np.allclose(from_codes(codes, magnitudes).numpy(), nearest, atol=1e-6)
    assert int(codes[0, 0] >> 4) == 0
    assert int(codes[-1, -1] & 15) == 15


def test_what_is_a_level_comes_back_to_the_bit() -> None:
    levels = torch.tensor(code_book()).repeat(4).view(1, BLOCK)
    assert torch.equal(from_codes(to_codes(levels, torch.ones(1)), torch.ones(1)), levels)


@pytest.mark.parametrize("shape", [(64, 64), (7, 13), (1, 1), (33, 96)])
def test_the_error_is_within_half_the_widest_gap(shape: tuple[int, int]) -> None:
    """The last block of a matrix may be short; each block is judged by its own largest magnitude."""
    weight, layer = packed(shape, double=False)
    flat = torch.nn.functional.pad(weight.flatten(), (0, -weight.numel() % BLOCK)).view(-1, BLOCK)
    limit = flat.abs().amax(1, keepdim=True) * max(np.diff(code_book())) / 2
    error = torch.nn.functional.pad((layer.matrix() - weight).flatten(), (0, -weight.numel() % BLOCK)).view(-1, BLOCK)
    assert (error.abs() <= limit * (1 + 1e-5)).all()


def test_normal_weights_lose_little() -> None:
    """The mean absolute error of 4 bits over normal weights; rounding to 16 even levels loses more."""
    weight, layer = packed((256, 256), double=False)
    lost = float((layer.matrix() - weight).abs().mean() / weight.abs().mean())
    flat = weight.view(-1, BLOCK)
    magnitude = flat.abs().amax(1, keepdim=True)
    even = (flat / magnitude * 7).round() / 7 * magnitude
    assert lost < 0.1
    assert lost < float((even - flat).abs().mean() / flat.abs().mean())


@pytest.mark.parametrize("shape", [(128, 256), (7, 13), (300, 70)])
def test_magnitudes_in_8_bits_cost_little(shape: tuple[int, int]) -> None:
    weight, layer = packed(shape, double=True)
    assert layer.magnitudes.dtype == torch.uint8
    flat = torch.nn.functional.pad(weight.flatten(), (0, -weight.numel() % BLOCK)).view(-1, BLOCK)
    true = flat.abs().amax(1)
    spread = (true - true.mean()).abs().max()
    assert ((layer._magnitudes() - true).abs() <= spread / 16 + 1e-9).all(), "three bits of fraction: half of an eighth"
    assert (layer.matrix() - weight).abs().max() <= true.max() * 0.2


def test_the_memory_is_that_of_the_formula() -> None:
    for double, bits in ((False, 4.5), (True, 4 + 8 / 64 + 32 / (64 * 256))):
        _, layer = packed((512, 512), double=double)
        held = sum(buffer.nbytes for buffer in layer.buffers())
        assert held * 8 / 512**2 == pytest.approx(bits, rel=1e-3)
        assert [name for name, _ in layer.named_parameters()] == ["layer.bias"]
        assert set(layer.state_dict()) == {"layer.bias"}, "what never changes is in no checkpoint"


@pytest.mark.parametrize("value", [0.0, 1e-30, 7.0])
def test_blocks_of_one_value(value: float) -> None:
    layer = torch.nn.Linear(64, 2, bias=False)
    torch.nn.init.constant_(layer.weight, value)
    assert torch.allclose(FourBit(layer, double_quantisation=False).matrix(), torch.full((2, 64), value))


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
@pytest.mark.parametrize("double", [False, True])
def test_it_multiplies_and_differentiates_as_the_plain_layer_it_unpacks_to(kind: str, double: bool) -> None:
    from transformers.pytorch_utils import Conv1D

    original: Any = torch.nn.Linear(96, 40) if kind == "linear" else Conv1D(40, 96)  # type: ignore[no-untyped-call]
    torch.nn.init.normal_(original.bias)
    layer = FourBit(original, double_quantisation=double)
    x = torch.randn(3, 5, 96, requires_grad=True)
    ours = layer(x)
    gradient = torch.autograd.grad(ours.square().sum(), x)[0]
    plain = layer.unpack()
    assert plain is original
    theirs = plain(x)
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert torch.allclose(gradient, torch.autograd.grad(theirs.square().sum(), x)[0], atol=1e-3)


def test_under_autocast_it_computes_in_bf16_and_keeps_no_matrix() -> None:
    _, layer = packed((64, 64), double=True)
    kept: list[torch.Size] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.shape)
        return tensor

    x = torch.randn(2, 64, requires_grad=True)
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        out = layer(x)
    assert out.dtype == torch.bfloat16
    assert torch.Size([64, 64]) not in kept
    torch.autograd.backward(out.float().sum())
    assert x.grad is not None
    assert torch.allclose(x.grad, layer.matrix().sum(0).expand(2, -1), rtol=0.05, atol=0.02)
