"""What is asked of a text engine, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn: greedy where ``temperature`` is 0; ``top_k`` 0 and ``top_p`` 1 keep the whole vocabulary.

    ``repetition_penalty`` is that of Keskar et al. 2019 (CTRL), section 4.1; 1 leaves the logits as they are.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Generation:
    """What was generated: token ids without the one that ended it, and why it ended."""

    ids: tuple[int, ...]
    finish: Literal["stop", "length", "cancelled"]
