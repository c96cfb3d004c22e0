"""The kernels as functions of tensors: what each takes and gives, and the names by which C knows it.

Tensors are contiguous, on the CPU, and of the kernels' own dtype unless another one is named: bf16 or fp32, with fp32 inside.
Shape letters: N rows, H width, K keys, V vocabulary.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import torch

from tunewright.errors import MachineError
from tunewright.infer.native.build import built
from tunewright.infer.segments import Short

BLOCK = 64
"""Rows that are summed together before their sums are added, always in the same order."""

MOST_KEYS = 8192
"""Keys of one row that the softmax can hold."""

Rows = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Queries[T, H, D], keys[T, G, D] and values[T, G, D]; the numbers of a head lie together."""

_POINTER = ctypes.c_void_p
_TYPES = dict.fromkeys("rsdlp", _POINTER) | {
    "n": ctypes.c_int64, "f": ctypes.c_float, "w": ctypes.c_uint32, "i": ctypes.c_int,
}  # fmt: skip
_DTYPES = {"s": torch.float32, "d": torch.float64, "l": torch.int64}
"""Letters of an argument: a tensor of the kernels' own dtype (r), of another one, an address (p); or a number."""

_LAYERS = {
    "rms_norm": "rrrfrrsnnfi",
    "rms_norm_back": "rrrfsrrsnnni",
    "layer_norm": "rrrrrrssnnfwwfi",
    "layer_norm_back": "rrrssrrsnnnwwfi",
    "drop": "rrnnwwfi",
    "swiglu": "rrnni",
    "swiglu_back": "rrrnni",
    "geglu": "rrnni",
    "geglu_back": "rrrnni",
    "rotate": "rssnnnnfi",
    "lay": "prllnnnnnni",
    "take": "rpllnnnnnni",
    "softmax": "rrlnnnnnnfwwfi",
    "softmax_back": "rrnnfwwfi",
    "cross_entropy": "rlssnnii",
    "attend": "ppprslsnnnnnnnnnnnnfwwfni",
    "attend_back": "rpppslpppssnnnnnnnnnnnnnnnnnnfwwfnni",
}
"""Functions that exist in each dtype."""

_UPDATES = {"squares": "ldni", "adamw": "lsnffffi"}
"""Functions that know the dtypes of what they are given themselves."""

_SUFFIXES = {torch.bfloat16: "bf16", torch.float32: "fp32"}


Gate = Literal["swiglu", "geglu"]
"""silu(a) b (Shazeer 2020, equation 6), or gelu(a) b with the gelu by tanh (equation 5)."""


@dataclass(frozen=True, slots=True)
class Dropout:
    """A mask of dropout as numbers: places whose random word is under ``least`` are dropped, the others times ``factor``."""

    seed: int = 0
    least: int = 0
    factor: float = 1.0


NO_DROPOUT = Dropout()


def new_dropout(chance: float) -> Dropout:
    """A mask that drops with this chance, its seed from torch's generator."""
    if chance <= 0.0:
        return NO_DROPOUT
    seed = int(torch.randint(0, 1 << 32, (), dtype=torch.int64))
    return Dropout(seed, max(1, min((1 << 32) - 1, round(chance * (1 << 32)))), 1.0 / (1.0 - chance))


class AdamwPart(NamedTuple):
    """A weight, its moments, its gradient (fp32 or bf16) and its bf16 copy: w = shrink w - rate m / (root sqrt(v) + epsilon).

    Without ``weight``, ``copy`` and ``rest`` (int16) are its two halves.
    """

    weight: torch.Tensor | None
    first: torch.Tensor
    second: torch.Tensor
    gradient: torch.Tensor
    copy: torch.Tensor | None
    rest: torch.Tensor | None
    shrink: float
    rate: float
    root: float


class Kernels:
    """The opened library; one method for each of its functions, which all take tensors of one dtype."""

    def __init__(self, library: ctypes.CDLL, dtype: torch.dtype) -> None:
        """Declare every function's arguments."""
        self.dtype = dtype
        self._functions: dict[str, tuple[Any, str, torch.dtype]] = {}
        for name, letters in _LAYERS.items():
            self._declare(name, getattr(library, f"{name}_{_SUFFIXES[dtype]}"), letters, dtype)
        for name, letters in _UPDATES.items():
            self._declare(name, getattr(library, name), letters, dtype)
        self._room = library.attend_room
        self._room.argtypes, self._room.restype = [ctypes.c_int64, ctypes.c_int64], ctypes.c_int64

    def _declare(self, name: str, function: Any, letters: str, dtype: torch.dtype) -> None:
        function.argtypes = [_TYPES[letter] for letter in letters]
        function.restype = None
        self._functions[name] = function, letters, dtype

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function with tensors for its pointers; the number of threads is torch's."""
        function, letters, dtype = self._functions[name]
        given = [
            _address(each, _DTYPES.get(letter, dtype)) if isinstance(each, torch.Tensor) else each
            for each, letter in zip(arguments, letters, strict=False)
        ]
        function(*given, torch.get_num_threads())

    # -- norms

    def rms_norm(
        self, x: torch.Tensor, add: torch.Tensor | None, weight: torch.Tensor, from_one: bool, epsilon: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(x + add)[N, H], its norm[N, H], and 1 / rms[N] in fp32."""
        num, width = _rows(x)
        total = x if add is None else torch.empty_like(x)
        y, scales = torch.empty_like(x), x.new_empty(num, dtype=torch.float32)
        self.call("rms_norm", x, add, weight, float(from_one), total, y, scales, num, width, epsilon)
        return total, y, scales

    def rms_norm_back(
        self,
        flow: torch.Tensor,
        x: torch.Tensor,
        weight: torch.Tensor,
        from_one: bool,
        scales: torch.Tensor,
        more: torch.Tensor | None,
        wants_weight: bool,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Gradients of x[N, H], with ``more`` added, and of the weight[H]."""
        num, width = _rows(x)
        grad = torch.empty_like(x)
        partial = x.new_zeros(-(-num // BLOCK), width, dtype=torch.float32) if wants_weight else None
        self.call(
            "rms_norm_back",
            flow,
            x,
            weight,
            float(from_one),
            scales,
            more,
            grad,
            partial,
            num,
            width,
            BLOCK,
        )
        return grad, None if partial is None else partial.sum(dim=0).to(weight.dtype)

    def layer_norm(
        self,
        x: torch.Tensor,
        add: torch.Tensor | None,
        weight: torch.Tensor,
        bias: torch.Tensor,
        epsilon: float,
        dropout: Dropout,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """(dropout(x) + add)[N, H], its norm[N, H], and mean[N] and 1 / deviation[N] in fp32; x alone where none is added."""
        num, width = _rows(x)
        total, y = x if add is None else torch.empty_like(x), torch.empty_like(x)
        means, scales = (x.new_empty(num, dtype=torch.float32) for _ in range(2))
        self.call(
            "layer_norm", x, add, weight, bias, total, y, means, scales, num, width, epsilon, *_drawn(dropout)
        )  # fmt: skip
        return total, y, means, scales

    def layer_norm_back(
        self,
        flow: torch.Tensor,
        total: torch.Tensor,
        weight: torch.Tensor,
        means: torch.Tensor,
        scales: torch.Tensor,
        dropout: Dropout,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Gradients of x[N, H], of what was added to it[N, H], of the weight[H] and of the bias[H]."""
        num, width = _rows(total)
        grad, grad_x = torch.empty_like(total), torch.empty_like(total)
        partial = total.new_zeros(-(-num // BLOCK), 2, width, dtype=torch.float32)
        self.call(
            "layer_norm_back", flow, total, weight, means, scales, grad, grad_x, partial, num, width, BLOCK, *_drawn(dropout)
        )  # fmt: skip
        of_weight, of_bias = partial.sum(dim=0).to(weight.dtype)
        return grad_x, grad, of_weight, of_bias

    def drop(self, x: torch.Tensor, dropout: Dropout) -> torch.Tensor:
        """dropout(x)[N, H]; also what flows back through it."""
        found = torch.empty_like(x)
        self.call("drop", x, found, *_rows(x), *_drawn(dropout))
        return found

    # -- activations and positions

    def gated(self, name: Gate, x: torch.Tensor) -> torch.Tensor:
        """gate(a) * b [N, H] of [a, b][N, 2H]."""
        num, width = _rows(x)
        y = x.new_empty(num, width // 2)
        self.call(name, x, y, num, width // 2)
        return y

    def gated_back(self, name: Gate, flow: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The gradient of [a, b][N, 2H]."""
        num, width = _rows(x)
        grad = torch.empty_like(x)
        self.call(f"{name}_back", flow, x, grad, num, width // 2)
        return grad

    def rotate_(
        self,
        x: torch.Tensor,
        num_heads: int,
        width: int,
        cosines: torch.Tensor,
        sines: torch.Tensor,
        sign: float,
    ) -> None:
        """Turn the first heads of x[N, any], each of this width, by the angles[N, width / 2] in fp32; in place."""
        num, stride = _rows(x)
        self.call("rotate", x, cosines, sines, num, num_heads, width, stride, sign)

    # -- attention and loss

    def lay(
        self, rows: torch.Tensor, starts: torch.Tensor, lengths: torch.Tensor, longest: int, num_kv: int
    ) -> torch.Tensor:
        """Segments of rows[T, H, D] as [G * S, H / G, L, D]; the rows themselves may lie apart."""
        rows = rows if _lies_together(rows) else rows.contiguous()
        _, num_heads, width = rows.shape
        heads = num_heads // num_kv
        out = rows.new_empty(num_kv * len(starts), heads, longest, width)
        self.call(
            "lay", rows.data_ptr(), out, starts, lengths, len(starts), longest, num_kv, heads, width, rows.stride(0)
        )
        return out

    def take(self, laid: torch.Tensor, rows: torch.Tensor, starts: torch.Tensor, lengths: torch.Tensor) -> None:
        """The way back, into ``rows``."""
        assert _lies_together(rows), "rows are written where they lie"
        size, heads, longest, width = laid.shape
        assert longest == int(lengths.max()), "what is laid out has a slot for each token"
        groups, stride = size // len(starts), rows.stride(0)
        sizes = (len(starts), longest, groups, heads, width, stride)
        self.call("take", laid.contiguous(), rows.data_ptr(), starts, lengths, *sizes)

    def softmax_(
        self,
        scores: torch.Tensor,
        *,
        rows: int,
        queries: int,
        lengths: torch.Tensor | None,
        offset: int,
        window: int,
        scale: float,
        dropout: Dropout,
    ) -> torch.Tensor:
        """softmax(scale * scores[B, rows * queries, K]) in place, and what dropout leaves of it.

        Query q sees the keys below ``offset`` + q + 1, ``window`` of them; all of them where ``window`` is 0; below
        ``lengths[B]`` where those are given.
        """
        used = torch.empty_like(scores) if dropout.least else None
        batch, _, keys = scores.shape
        self.call(
            "softmax", scores, used, lengths, batch, rows, queries, keys, offset, window, scale, *_drawn(dropout)
        )  # fmt: skip
        return scores if used is None else used

    def softmax_back_(self, grads: torch.Tensor, chances: torch.Tensor, scale: float, dropout: Dropout) -> None:
        """Gradients of what dropout left[B, Q, K] become those of the scores, in place."""
        keys = grads.shape[-1]
        self.call("softmax_back", grads, chances, grads.numel() // keys, keys, scale, *_drawn(dropout))

    def attend(
        self,
        rows: Rows,
        read: torch.Tensor,
        sums: torch.Tensor,
        short: Short,
        *,
        window: int,
        scale: float,
        dropout: Dropout,
    ) -> None:
        """Write what queries[T, H, D] read of keys[T, G, D] and values[T, G, D] in short segments into ``read[T, H, D]``.

        ``sums[H, T]`` gets the logarithm of the sum of each row's exponentials. A query sees the ``window`` keys up to its own,
        or all of its span where that is 0.
        """
        tokens, num_heads, width = read.shape
        scratch, room = self._scratch(short.longest, width)
        sizes = (len(short.spans), rows[1].shape[1], num_heads, width, tokens)
        self.call(
            "attend", *self._pointers(rows), read, sums, short.spans, scratch, *sizes, *_steps(rows), window, scale,
            *_drawn(dropout), room,
        )  # fmt: skip

    def attend_back(
        self,
        flow: torch.Tensor,
        rows: Rows,
        sums: torch.Tensor,
        targets: Rows,
        short: Short,
        *,
        window: int,
        scale: float,
        dropout: Dropout,
    ) -> torch.Tensor:
        """Write the gradients of queries, keys and values into ``targets``; those of the parents' [2, any, G, D] in fp32."""
        tokens, num_heads, width = flow.shape
        num_kv = rows[1].shape[1]
        scratch, room = self._scratch(short.longest, width)
        spill = flow.new_empty(2, short.spilled, num_kv, width, dtype=torch.float32)
        sizes = (len(short.spans), num_kv, num_heads, width, tokens)
        self.call(
            "attend_back", flow, *self._pointers(rows), sums, short.spans, *self._pointers(targets), spill, scratch, *sizes,
            *_steps(rows), *_steps(targets), window, scale, *_drawn(dropout), room, short.spilled,
        )  # fmt: skip
        return spill

    def _pointers(self, rows: Rows) -> list[int]:
        for each in rows:
            assert each.dtype == self.dtype, f"this kernel takes {self.dtype} here, not {each.dtype}"
            assert each.stride(2) == 1, "the numbers of a head lie together"
            assert each.device.type == "cpu", "a kernel takes tensors on the CPU"
        return [each.data_ptr() for each in rows]

    def _scratch(self, longest: int, width: int) -> tuple[torch.Tensor, int]:
        """A table with room for each thread, and that room."""
        room = int(self._room(longest, width))
        return torch.empty(room * torch.get_num_threads(), dtype=torch.float32), room

    def cross_entropy_(
        self, logits: torch.Tensor, ids: torch.Tensor, weights: torch.Tensor, wants: bool
    ) -> torch.Tensor:
        """-log p(ids)[N] in fp32; with ``wants`` the logits[N, V] become what flows back to them, times weights[N]."""
        num, vocabulary = _rows(logits)
        losses = logits.new_empty(num, dtype=torch.float32)
        self.call("cross_entropy", logits, ids, weights.float(), losses, num, vocabulary, int(wants))
        return losses

    # -- the update

    def square_sum(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        """The sum of squares of all the tensors, fp32 or bf16, in fp64."""
        places = [[_place(each), each.numel(), each.dtype == torch.bfloat16] for each in tensors]
        partial = torch.empty(sum(-(-each.numel() // 65536) for each in tensors), dtype=torch.float64)
        self.call("squares", torch.tensor(places, dtype=torch.int64), partial, len(places))
        return partial.sum()

    def adamw_(self, parts: Sequence[AdamwPart], *, clip: float, beta1: float, beta2: float, epsilon: float) -> None:
        """One update of fp32 weights and their moments in place, by gradients times ``clip``; copies get the new weights."""
        places = [
            [_address(each.weight, torch.float32), _address(each.first, torch.float32), _address(each.second, torch.float32),
             _place(each.gradient), _address(each.copy, torch.bfloat16), each.first.numel(),
             each.gradient.dtype == torch.bfloat16, _address(each.rest, torch.int16)]
            for each in parts
        ]  # fmt: skip
        numbers = [(each.shrink, each.rate, each.root) for each in parts]
        table, given = torch.tensor(places, dtype=torch.int64), torch.tensor(numbers, dtype=torch.float32)
        self.call("adamw", table, given, len(parts), clip, beta1, beta2, epsilon)


_settings = {"wanted": True}


def use_kernels(wanted: bool) -> None:
    """Whether ``kernels`` gives any from now on, in this process. Raises MachineError for what cannot be had."""
    if wanted and built().library is None:
        raise MachineError(
            "the kernels that this run was planned with cannot be made here",
            where="train.kernels",
            given=built().reason,
            allowed="a C compiler, or a run planned without them",
            hint="apt install gcc, or train.kernels=torch in a new run",
        )
    _settings["wanted"] = wanted


def kernels(dtype: torch.dtype = torch.bfloat16, device: str = "cpu") -> Kernels | None:
    """The kernels for tensors of this dtype, or None where there are none, or none are wanted, or could be compiled."""
    known = dtype in _SUFFIXES and device == "cpu"
    return _opened(dtype) if known and _settings["wanted"] else None


@lru_cache(maxsize=len(_SUFFIXES))
def _opened(dtype: torch.dtype) -> Kernels | None:
    library = built().library
    return None if library is None else Kernels(library, dtype)


def _address(tensor: torch.Tensor | None, dtype: torch.dtype) -> int:
    """Where its numbers begin; 0 for none."""
    if tensor is None:
        return 0
    assert tensor.dtype == dtype, f"this kernel takes {dtype} here, not {tensor.dtype}"
    assert tensor.is_contiguous(), "a kernel takes contiguous tensors"
    assert tensor.device.type == "cpu", "a kernel takes tensors on the CPU"
    return tensor.data_ptr()


def _place(tensor: torch.Tensor) -> int:
    """The address of a tensor of either dtype."""
    assert tensor.dtype in _SUFFIXES, f"an update takes fp32 and bf16, not {tensor.dtype}"
    return _address(tensor, tensor.dtype)


def _lies_together(rows: torch.Tensor) -> bool:
    """Whether the heads of each of the rows[T, H, D] follow each other."""
    _, num_heads, width = rows.shape
    return rows.stride(2) == 1 and (num_heads == 1 or rows.stride(1) == width)


def _steps(rows: Rows) -> list[int]:
    """How far rows lie apart, and heads."""
    return [step for each in rows for step in each.stride()[:2]]


def _rows(x: torch.Tensor) -> tuple[int, int]:
    return x.numel() // x.shape[-1], x.shape[-1]


def _drawn(dropout: Dropout) -> tuple[int, int, float]:
    return dropout.seed, dropout.least, dropout.factor
