"""The module that computes: fused layers around the trained weights, in bf16 around a copy of them.

An update in bf16 alone would lose every step smaller than a 256th of its weight. So the optimiser holds the trained weights in
fp32, forward and backward run on their bf16 copies, and each gradient is added in fp32 the moment it is whole (mixed precision,
Micikevicius et al. 2018, section 3.1; bf16 has the range of fp32, so no loss is scaled). Frozen weights are copied once,
buffers such as the frequencies of rotary positions are shared and keep their precision. Weights that are split (``split.py``)
lie in bf16 already and are their own copies.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch

from tunewright.train.fused.fuse import can_fuse, fuse
from tunewright.train.recompute import as_stock


class Worker:
    """Computes with ``module``; where that is another than the original, gradients flow into the original.

    In bf16 it is a copy, to which new weights come back. In fp32 it is a second set of layers around the same weights, made
    where the layers can be fused; weights that are joined lie in one matrix, of which the original's are views from then on.
    """

    def __init__(self, original: torch.nn.Module, dtype: str | None) -> None:
        """``dtype`` is ``bf16`` or ``fp32``; None computes with the original as it is."""
        self.module = original
        self.holds_gradients = False
        self._sums: dict[int, torch.Tensor] = {}
        self._pairs: list[tuple[torch.nn.Parameter, tuple[torch.nn.Parameter, ...]]] = []
        if dtype == "bf16":
            self._copy(original)
        elif dtype == "fp32" and can_fuse(original, torch.float32):
            self._share(original)
        else:
            as_stock(original)

    def _copy(self, original: torch.nn.Module) -> None:
        twins = {id(value): _twin(value) for value in original.parameters()}
        self.module = copy.deepcopy(original, {**twins, **_themselves(original.buffers())})
        trained = {id(twins[id(value)]): value for value in original.parameters() if value.requires_grad}
        for joined in fuse(self.module, torch.bfloat16):
            found = tuple(trained.pop(id(part)) for part in joined.parts if id(part) in trained)
            if found:
                self._pairs.append((joined.whole, found))
            if all(twins.get(id(part)) is part for part in joined.parts):
                _lie_in(joined.whole, joined.parts)
        by_id = {id(twin): twin for twin in twins.values()}
        self._pairs += [(by_id[key], (value,)) for key, value in trained.items()]
        for twin, values in self._pairs:
            twin.register_post_accumulate_grad_hook(self._handing_over(values))  # type: ignore[no-untyped-call]

    def _share(self, original: torch.nn.Module) -> None:
        shared = [*original.parameters(), *original.buffers()]
        self.module = copy.deepcopy(original, _themselves(shared))
        for joined in fuse(self.module, torch.float32):
            _lie_in(joined.whole, joined.parts)
            if joined.whole.requires_grad:
                joined.whole.register_post_accumulate_grad_hook(_divide(joined.parts))  # type: ignore[no-untyped-call]

    def take_up(self) -> None:
        """Compute with the original's weights of now."""
        if pairs := [*self._copied()]:
            with torch.no_grad():
                torch._foreach_copy_([rows for _, rows in pairs], [value for value, _ in pairs])

    def copies(self) -> dict[int, torch.Tensor]:
        """The bf16 copy of each trained weight, by the id of the original."""
        return {id(value): rows for value, rows in self._copied()}

    def held(self) -> dict[int, torch.Tensor]:
        """The gradients that are not in the originals, by their id: held back in bf16, or sums of split weights in fp32."""
        return self._sums | {
            id(value): rows
            for twin, values in self._pairs
            if twin.grad is not None
            for value, rows in zip(values, _rows(twin.grad, values), strict=True)
        }

    def let_go(self) -> None:
        """Drop the gradients that are not in the originals."""
        self._sums.clear()
        for twin, _ in self._pairs:
            twin.grad = None

    def _copied(self) -> Iterator[tuple[torch.nn.Parameter, torch.Tensor]]:
        """Each trained weight that has a copy, and its copy."""
        for twin, values in self._pairs:
            for value, rows in zip(values, _rows(twin.detach(), values), strict=True):
                if value.dtype != twin.dtype:
                    yield value, rows

    def _handing_over(self, originals: Sequence[torch.nn.Parameter]) -> Callable[[torch.Tensor], None]:
        """A hook that adds a whole gradient to those of the originals in fp32, and lets it go; unless it is to be held."""

        def hand_over(twin: torch.Tensor) -> None:
            if self.holds_gradients:
                return
            assert twin.grad is not None
            for original, grad in zip(originals, _rows(twin.grad, originals), strict=True):
                sums = self._sums.get(id(original)) if original.dtype == twin.dtype else original.grad
                if sums is not None:
                    sums += grad
                elif original.dtype == twin.dtype:
                    self._sums[id(original)] = grad.float()
                else:
                    original.grad = grad.float()
            twin.grad = None

        return hand_over


def _lie_in(whole: torch.Tensor, parts: Sequence[torch.nn.Parameter]) -> None:
    """Make each part a view of its rows."""
    for part, rows in zip(parts, _rows(whole.detach(), parts), strict=True):
        part.data = rows


def _divide(parts: Sequence[torch.nn.Parameter]) -> Callable[[torch.Tensor], None]:
    """A hook that gives each part its rows of a whole gradient."""

    def divide(whole: torch.Tensor) -> None:
        assert whole.grad is not None
        for part, rows in zip(parts, _rows(whole.grad, parts), strict=True):
            part.grad = rows if part.grad is None else part.grad.add_(rows)
        whole.grad = None

    return divide


def _themselves(values: Iterable[torch.Tensor]) -> dict[int, object]:
    """What makes ``deepcopy`` share these."""
    return {id(value): value for value in values}


def _twin(value: torch.nn.Parameter) -> torch.nn.Parameter:
    """A bf16 copy of the parameter; one that is in bf16 already, or not of floating point, is shared."""
    if not value.is_floating_point() or value.dtype == torch.bfloat16:
        return value
    return torch.nn.Parameter(value.detach().bfloat16(), requires_grad=value.requires_grad)


def _rows(twin: torch.Tensor, values: Sequence[torch.nn.Parameter]) -> Sequence[torch.Tensor]:
    """The part of ``twin`` that belongs to each value."""
    return (twin,) if len(values) == 1 else torch.split(twin, [len(value) for value in values])
