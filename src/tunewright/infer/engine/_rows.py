"""The answers that are being written at once: one row each, prefilled in groups, then one token for all at every step.

Shape letters: B rows, L tokens of the longest prompt of a group, C columns of the cache, V words of the vocabulary.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Literal

import numpy as np
import torch

from tunewright.infer import sampling as choice
from tunewright.infer.engine._cache import Columns, empty_cache
from tunewright.types import Sampling

_TOKENS_PER_PREFILL = 4096
"""Padded tokens of the prompts that are read in one forward."""

_LEAST_FILL = 0.9
"""Prompts are read together where the shortest has this share of the longest one's length: hardly any padding."""


@dataclass(eq=False, slots=True)
class Request:
    """One answer that is asked for. Tokens (where ``is_streamed``) and at the end the request itself go to ``inbox``."""

    prompt: tuple[int, ...]
    sampling: Sampling
    inbox: SimpleQueue[int | Request]
    is_streamed: bool = False
    tokens: list[int] = field(default_factory=list)
    finish: Literal["stop", "length", "cancelled"] | None = None
    error: Exception | None = None
    is_cancelled: bool = False
    chance: Any = None
    seen: torch.Tensor | None = None

    @property
    def longest(self) -> int:
        """Tokens of the prompt and of the longest answer."""
        return len(self.prompt) + self.sampling.max_tokens

    def prepare(self, num_words: int) -> None:
        """Its own stream of chance, from prompt and seed alone; the tokens that are penalised, where some are."""
        if self.sampling.temperature > 0:
            content = np.array([self.sampling.seed, *self.prompt], dtype=np.int64).tobytes()
            self.chance = np.random.default_rng(int.from_bytes(hashlib.blake2b(content, digest_size=16).digest()))
        if self.sampling.repetition_penalty != 1:
            self.seen = torch.zeros(num_words, dtype=torch.bool)
            self.seen[list(self.prompt)] = True

    def take(self, token: int, is_end: bool) -> None:
        """The next token; afterwards ``finish`` says whether it was the last."""
        if self.is_cancelled:
            self.finish = "cancelled"
        elif is_end:
            self.finish = "stop"
        else:
            self.tokens.append(token)
            if self.seen is not None:
                self.seen[token] = True
            if self.is_streamed:
                self.inbox.put(token)
            if len(self.tokens) == self.sampling.max_tokens:
                self.finish = "length"
        if self.finish:
            self.inbox.put(self)

    def end(self, error: Exception | None = None) -> None:
        """Give up; the caller gets the error, or an answer that was cancelled."""
        self.error, self.finish = error, "cancelled"
        self.inbox.put(self)


class Rows:
    """The requests under way and what the model remembers of each; ends of rows are ``stop_ids``."""

    def __init__(self, model: torch.nn.Module, stop_ids: Sequence[int]) -> None:
        self._model: Any = model
        self._device = next(model.parameters()).device
        self._stop_ids = frozenset(stop_ids)
        taken = inspect.signature(model.forward).parameters
        self._takes_positions = "position_ids" in taken
        self._options = {"logits_to_keep": 1} if "logits_to_keep" in taken else {}
        self.requests: list[Request] = []
        self._cache = empty_cache()
        self._lengths_B = torch.empty(0, dtype=torch.int64, device=self._device)
        self._last_B = self._lengths_B
        self._columns = 0

    def join(self, arrivals: Sequence[Request]) -> None:
        """Read the prompts of new requests, give each its first token, and go on with those that want more."""
        for group in _of_like_length(arrivals):
            before = self.requests, self._cache, self._lengths_B, self._last_B, self._columns
            self._read(group)
            self._merge(*before)

    def step(self) -> None:
        """One token for every row, if there is one."""
        if not self.requests:
            return
        lengths_B = self._lengths_B
        logits_BV = self._forward(self._last_B.unsqueeze(1), lengths_B.unsqueeze(1), lengths_B + 1)
        self._lengths_B = lengths_B + 1
        self._advance(logits_BV)

    def _read(self, group: list[Request]) -> None:
        lengths = [len(request.prompt) for request in group]
        longest = max(lengths)
        padded = [[0] * (longest - len(request.prompt)) + list(request.prompt) for request in group]
        self.requests, self._cache, self._columns = group, empty_cache(), 0
        self._lengths_B = torch.tensor(lengths, device=self._device)
        positions_BL = torch.arange(longest, device=self._device) - (longest - self._lengths_B).unsqueeze(1)
        ids_BL = torch.tensor(padded, device=self._device)
        logits_BV = self._forward(ids_BL, positions_BL.clamp(min=0), self._lengths_B)
        for request in group:
            request.prepare(logits_BV.shape[1])
        self._advance(logits_BV)

    def _forward(self, ids_BL: torch.Tensor, positions_BL: torch.Tensor, lengths_B: torch.Tensor) -> torch.Tensor:
        """Logits[B, V] behind the last token; ``lengths`` counts the tokens of each row with the new ones."""
        self._columns += ids_BL.shape[1]
        mask_BC = torch.arange(self._columns, device=self._device) >= (self._columns - lengths_B).unsqueeze(1)
        output = self._model(
            input_ids=ids_BL,
            attention_mask=None if bool(mask_BC.all()) else mask_BC.long(),
            past_key_values=self._cache,
            use_cache=True,
            **({"position_ids": positions_BL} if self._takes_positions else {}),
            **self._options,
        )
        logits_BV: torch.Tensor = output.logits[:, -1].float()
        return logits_BV

    def _advance(self, logits_BV: torch.Tensor) -> None:
        """Choose a token for each row, hand it over, and keep the rows that want another."""
        ids_B = self._choose(logits_BV)
        for request, token in zip(self.requests, ids_B.tolist(), strict=True):
            request.take(token, token in self._stop_ids)
        kept = [row for row, request in enumerate(self.requests) if request.finish is None]
        if len(kept) < len(self.requests):
            rows_B = torch.tensor(kept, dtype=torch.int64, device=self._device)
            self.requests = [self.requests[row] for row in kept]
            self._lengths_B, ids_B = self._lengths_B[rows_B], ids_B[rows_B]
            self._columns = int(self._lengths_B.max()) if kept else 0
            for layer in _layers(self._cache):
                layer.arrange(rows_B, self._columns)
        self._last_B = ids_B

    def _choose(self, logits_BV: torch.Tensor) -> torch.Tensor:
        wanted = [request.sampling for request in self.requests]
        penalised = [row for row, request in enumerate(self.requests) if request.seen is not None]
        if penalised:
            seen_BV = torch.stack([one for request in self.requests if (one := request.seen) is not None])
            penalty_B = torch.tensor([wanted[row].repetition_penalty for row in penalised], device=self._device)
            logits_BV[penalised] = choice.penalise(logits_BV[penalised], seen_BV.to(self._device), penalty_B)
        if all(sampling.temperature == 0 for sampling in wanted):
            return logits_BV.argmax(dim=1)
        chances = [0.0 if request.chance is None else request.chance.random() for request in self.requests]
        return choice.choose(
            logits_BV,
            torch.tensor([sampling.temperature for sampling in wanted], device=self._device),
            torch.tensor([sampling.top_k for sampling in wanted], device=self._device),
            torch.tensor([sampling.top_p for sampling in wanted], device=self._device),
            torch.tensor(chances, dtype=torch.float64, device=self._device),
        )

    def _merge(
        self, requests: list[Request], cache: Any, lengths_B: torch.Tensor, last_B: torch.Tensor, columns: int
    ) -> None:
        """Put the rows that were there above the new ones."""
        if not self.requests:
            self.requests, self._cache, self._columns = requests, cache, columns
            self._lengths_B, self._last_B = lengths_B, last_B
        elif requests:
            for layer, new in zip(_layers(cache), _layers(self._cache), strict=True):
                layer.join(new)
            self.requests, self._cache = [*requests, *self.requests], cache
            self._columns = max(columns, self._columns)
            self._lengths_B = torch.cat([lengths_B, self._lengths_B])
            self._last_B = torch.cat([last_B, self._last_B])


def _layers(cache: Any) -> list[Columns]:
    """The layers that remember; a layer that reads another's keys has none of its own."""
    return [layer for layer in cache.layers if layer.is_initialized]


def _of_like_length(requests: Sequence[Request]) -> Iterator[list[Request]]:
    """Groups of prompts of nearly the same length, within the token budget."""
    group: list[Request] = []
    for request in sorted(requests, key=lambda one: -len(one.prompt)):
        longest = len(group[0].prompt) if group else 0
        is_alike = len(request.prompt) >= _LEAST_FILL * longest
        if group and not (is_alike and longest * (len(group) + 1) <= _TOKENS_PER_PREFILL):
            yield group
            group = []
        group.append(request)
    if group:
        yield group
