"""The engine for one process: the stock forward of transformers with a cache of keys and values, batched continuously."""

from __future__ import annotations

import inspect
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from tunewright.config.base import ComponentConfig, Option
from tunewright.errors import InputError, MachineError
from tunewright.types import Generation, Sampling, Tell, tell_nobody

if TYPE_CHECKING:
    import torch

    from tunewright.infer.engine._rows import Request

_PLAIN_ATTENTION = {"full_attention", "sliding_attention"}
_SHARED_ROTATION = {"dynamic", "longrope"}
"""Rotations that change with the longest row of a batch, so that a row would depend on its neighbours."""


class Local:
    """Answers are written side by side; new requests join while others go on, and rows leave as they end.

    One thread works on the model while there is something to do. A row's tokens depend on its prompt and its sampling
    alone: to the rounding of fp32, and with chance of its own.
    """

    class Config(ComponentConfig):
        """Options of the engine in this process."""

        capacity: int = Option(16, "Answers that are written at once.", ge=1, le=4096)
        max_waiting: int = Option(256, "Requests that may wait; a stream beyond them is refused.", ge=1)
        max_cached_tokens: int = Option(
            65_536, "Tokens of which keys and values are kept: rows times the longest; one row may always run.", ge=1
        )

    def __init__(
        self, model: torch.nn.Module, stop_ids: Sequence[int], config: Config | None = None, *, dtype: str = "fp32"
    ) -> None:
        """``model`` as ``load_language_model`` gives it, the engine's alone until it is closed; ``dtype`` as in ``precision``.

        Raises InputError for an architecture that remembers otherwise than by keys and values.
        """
        self._config = config or self.Config()
        self._model: Any = model.eval()
        self._stop_ids = tuple(stop_ids)
        self._dtype = dtype
        config_of_model: Any = model.config
        self._shape: Any = config_of_model.get_text_config()
        _check_architecture(self._model, self._shape)
        self._waiting: deque[Request] = deque()
        self._changed = threading.Condition()
        self._worker: threading.Thread | None = None
        self._is_closed = False

    @property
    def capacity(self) -> int:
        """How many answers are written at once: one where the model's positions depend on the longest row."""
        return 1 if _rotation(self._shape) & _SHARED_ROTATION else self._config.capacity

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, tell: Tell = tell_nobody, label: str = "generating"
    ) -> list[Generation]:
        """The answers to some prompts of token ids, in their order.

        Raises InputError before anything runs, and MachineError where the model fails or the engine is closed.
        """
        requests = [self._request(prompt, sampling) for prompt in prompts]
        inbox: SimpleQueue[int | Request] = SimpleQueue()
        for request in requests:
            request.inbox = inbox
        ahead = sorted(requests, key=lambda request: len(request.prompt))  # the longest are taken first, from the end
        under_way = done = 0
        try:
            while done < len(requests):
                while ahead and under_way < 2 * self.capacity:
                    self._submit(ahead.pop(), may_wait=True)
                    under_way += 1
                _ended(inbox.get())
                under_way -= 1
                done += 1
                tell(label, done, len(requests), "")
        finally:
            for request in requests:
                request.is_cancelled = True
        return [Generation(tuple(request.tokens), request.finish or "cancelled") for request in requests]

    def stream(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[int]:
        """The tokens of one answer as they come; closing the iterator, or letting go of it, cancels the answer.

        Raises InputError before anything runs, and MachineError where too many requests wait or the model fails.
        """
        request = self._request(prompt, sampling)
        request.is_streamed = True
        self._submit(request, may_wait=False)
        return _Stream(request)

    def close(self) -> None:
        """Cancel what is under way and let go of the model."""
        with self._changed:
            self._is_closed = True
            worker = self._worker
            self._changed.notify_all()
        if worker is not None:
            worker.join()
        self._model = None

    def _request(self, prompt: Sequence[int], sampling: Sampling) -> Request:
        from tunewright.infer.engine._rows import Request

        _check_sampling(sampling)
        ids = tuple(int(token) for token in prompt)
        num_words: int = self._shape.vocab_size
        if not ids or min(ids) < 0 or max(ids) >= num_words:
            raise InputError(
                "this prompt cannot be read",
                where="prompt",
                given=f"{len(ids)} tokens" + (f", ids from {min(ids)} to {max(ids)}" if ids else ""),
                allowed=f"at least one token, ids from 0 to {num_words - 1}",
            )
        request = Request(ids, sampling, SimpleQueue())
        longest = getattr(self._shape, "max_position_embeddings", None)
        if longest and request.longest > longest:
            raise InputError(
                "prompt and answer are longer than the model can read",
                where="max_tokens",
                given=f"a prompt of {len(ids)} tokens and an answer of up to {sampling.max_tokens}",
                allowed=f"at most {longest} tokens together",
                hint=f"ask for at most {longest - len(ids)} tokens" if len(ids) < longest else "shorten the prompt",
            )
        return request

    def _submit(self, request: Request, *, may_wait: bool) -> None:
        with self._changed:
            while may_wait and len(self._waiting) >= self._config.max_waiting and not self._is_closed:
                self._changed.wait()
            if self._is_closed:
                raise _closed()
            if len(self._waiting) >= self._config.max_waiting:
                raise MachineError(
                    "too many requests wait",
                    where="engine",
                    given=len(self._waiting),
                    allowed=f"at most {self._config.max_waiting}",
                    hint="ask again later",
                )
            self._waiting.append(request)
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="tunewright-engine", daemon=True)
                self._worker.start()

    def _work(self) -> None:
        """Serve until nothing waits. What the model raises reaches those that it was working for; the others go on."""
        import torch

        from tunewright.infer.engine._rows import Rows
        from tunewright.infer.precision import precision

        device = next(self._model.parameters()).device.type
        while True:
            rows = Rows(self._model, self._stop_ids)
            active: list[Request] = []
            try:
                # One context for many steps: autocast converts the weights once, when they are first used in it.
                with torch.inference_mode(), precision(self._dtype, device):
                    while (arrivals := self._admit(active)) or active:
                        active += arrivals
                        rows.join(arrivals)
                        rows.step()
                        active = [request for request in active if request.finish is None]
                return
            except Exception as error:  # noqa: BLE001 - it is raised where the answer is waited for
                for request in active:
                    request.end(error)

    def _admit(self, active: list[Request]) -> list[Request]:
        """Requests that may join those under way: not one by one while many wait, as each joining copies the cache."""
        with self._changed:
            for request in [one for one in self._waiting if one.is_cancelled or self._is_closed]:
                self._waiting.remove(request)
                request.end()
            for request in active:
                request.is_cancelled |= self._is_closed
            taken: list[Request] = []
            free = self.capacity - len(active)
            if free >= min(len(self._waiting), max(1, self.capacity // 4)):
                while self._waiting and len(taken) < free and self._fits([*active, *taken, self._waiting[0]]):
                    taken.append(self._waiting.popleft())
            if not active and not taken:
                self._worker = None
            self._changed.notify_all()
        return taken

    def _fits(self, requests: Sequence[Request]) -> bool:
        longest = max(request.longest for request in requests)
        return len(requests) == 1 or len(requests) * longest <= self._config.max_cached_tokens


class _Stream(Iterator[int]):
    """The tokens of one request; the request is cancelled as soon as nobody reads on."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._is_over = False

    def __next__(self) -> int:
        if self._is_over:
            raise StopIteration
        item = self._request.inbox.get()
        if isinstance(item, int):
            return item
        self._is_over = True
        _ended(item)
        raise StopIteration

    def close(self) -> None:
        """Cancel what is still to come."""
        self._is_over = self._request.is_cancelled = True

    def __del__(self) -> None:
        self.close()


def _ended(item: int | Request) -> None:
    """Raise what ended a request before its time."""
    assert not isinstance(item, int)
    if item.error is not None:
        problem = "the model failed while it was writing"
        raise MachineError(problem, where="engine", given=item.error) from item.error
    if item.finish == "cancelled":
        raise _closed()


def _closed() -> MachineError:
    return MachineError("the engine is closed", where="engine", hint="open it again")


def _check_sampling(sampling: Sampling) -> None:
    rules = {
        "max_tokens": (sampling.max_tokens >= 1, "at least 1"),
        "temperature": (0 <= sampling.temperature < float("inf"), "0 (greedy) or more"),
        "top_p": (0 < sampling.top_p <= 1, "more than 0, at most 1"),
        "top_k": (sampling.top_k >= 0, "0 (all) or more"),
        "repetition_penalty": (0 < sampling.repetition_penalty < float("inf"), "more than 0; 1 is none"),
        "seed": (0 <= sampling.seed < 1 << 63, "0 to 2^63 - 1"),
    }
    for name, (holds, allowed) in rules.items():
        if not holds:
            raise InputError("not a way to sample", where=name, given=getattr(sampling, name), allowed=allowed)


def _check_architecture(model: Any, shape: Any) -> None:
    remembers = "past_key_values" in inspect.signature(model.forward).parameters and not model._is_stateful
    if not remembers or not set(getattr(shape, "layer_types", None) or ()) <= _PLAIN_ATTENTION:
        raise InputError(
            "the engine cannot continue texts with this architecture",
            where="model",
            given=shape.model_type,
            allowed="models that remember by keys and values of full or sliding attention, such as Llama, Qwen, Gemma, GPT-2",
        )


def _rotation(shape: Any) -> set[str]:
    """The kinds of rotary positions, whether they are the same in all layers or not."""
    given = getattr(shape, "rope_parameters", None) or {}
    return {str(one.get("rope_type")) for one in (given, *given.values()) if isinstance(one, Mapping)}
