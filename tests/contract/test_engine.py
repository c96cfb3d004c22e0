"""Every file in ``infer/engine`` is an Engine: answers in order, the same in any company, streamed and cancelled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tunewright import extensions
from tunewright.config.base import ComponentConfig
from tunewright.errors import InputError, MachineError
from tunewright.seams import Engine
from tunewright.types import Generation, Sampling, Tell, tell_nobody

FAMILY = "infer.engine"
STOP = 1
PROMPTS = [[7, 8, 9], [4], [20, 21, 22, 23, 24, 25], [7, 8, 9], [30, 31]]


class Scripted:
    """The seam's fake: it answers a prompt with what a script says, whoever else asks."""

    def __init__(self, script: Callable[[Sequence[int]], Sequence[int]]) -> None:
        self._script = script
        self._is_closed = False

    @property
    def capacity(self) -> int:
        return 4

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, tell: Tell = tell_nobody, label: str = "generating"
    ) -> list[Generation]:
        answers = [tuple(self.stream(prompt, sampling)) for prompt in prompts]
        for number in range(len(answers)):
            tell(label, number + 1, len(answers), "")
        return [Generation(ids, "stop" if len(ids) < sampling.max_tokens else "length") for ids in answers]

    def stream(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[int]:
        if not prompt:
            raise InputError("this prompt cannot be read", where="prompt", given="0 tokens", allowed="at least one")
        if self._is_closed:
            raise MachineError("the engine is closed", where="engine")
        return (token for token in list(self._script(prompt))[: sampling.max_tokens])

    def close(self) -> None:
        self._is_closed = True


def local() -> Engine:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    model_class: Any = LlamaForCausalLM
    engine_class: Any = extensions.load(FAMILY, "local")
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 24,
    }
    made: Engine = engine_class(model_class(LlamaConfig(vocab_size=40, initializer_range=0.4, **shape)), (STOP,))
    return made


ENGINES: dict[str, Callable[[], Engine]] = {
    "local": local,
    "a fake": lambda: Scripted(lambda prompt: [token + 1 for token in prompt] * 3),
}


@pytest.fixture(params=[*extensions.names(FAMILY), "a fake"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each engine over a small model, and the fake."""
    made = ENGINES[request.param]()
    yield made
    made.close()


@pytest.mark.parametrize("name", extensions.names(FAMILY))
def test_it_owns_its_options(name: str) -> None:
    found: Any = extensions.load(FAMILY, name)
    assert issubclass(found.Config, ComponentConfig)
    assert all(field.description for field in found.Config.model_fields.values())


@pytest.mark.parametrize("sampling", [Sampling(max_tokens=8), Sampling(max_tokens=8, temperature=1.0, seed=3)])
def test_an_answer_is_what_it_would_be_alone(engine: Engine, sampling: Sampling) -> None:
    assert engine.capacity >= 1
    together = engine.generate(PROMPTS, sampling)
    assert together == [engine.generate([prompt], sampling)[0] for prompt in PROMPTS]
    assert together[0] == together[3]
    for answer in together:
        assert STOP not in answer.ids
        assert (answer.finish == "length") == (len(answer.ids) == 8)
    assert engine.generate([], sampling) == []


def test_a_stream_gives_the_tokens_of_the_answer(engine: Engine) -> None:
    sampling = Sampling(max_tokens=8)
    for prompt, answer in zip(PROMPTS, engine.generate(PROMPTS, sampling), strict=True):
        assert tuple(engine.stream(prompt, sampling)) == answer.ids


def test_closing_a_stream_cancels_it(engine: Engine) -> None:
    stream: Any = engine.stream(PROMPTS[2], Sampling(max_tokens=30))
    next(stream)
    stream.close()
    assert list(stream) == []
    assert len(engine.generate(PROMPTS, Sampling(max_tokens=2))) == len(PROMPTS)


def test_any_thread_may_ask(engine: Engine) -> None:
    sampling = Sampling(max_tokens=8)
    expected = engine.generate(PROMPTS, sampling)
    found: list[list[Generation]] = []
    threads = [
        threading.Thread(target=lambda: found.append(engine.generate(PROMPTS, sampling)))
        for _ in range(engine.capacity)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * len(threads)


def test_progress_is_told_to_the_end(engine: Engine) -> None:
    told: list[tuple[str, float, float | None]] = []
    engine.generate(
        PROMPTS, Sampling(max_tokens=2), lambda label, done, total, _: told.append((label, done, total)), "x"
    )
    assert told[-1] == ("x", len(PROMPTS), len(PROMPTS))


def test_a_prompt_of_nothing_is_refused_at_once(engine: Engine) -> None:
    for ask in (engine.stream, lambda prompt, sampling: engine.generate([prompt], sampling)):
        with pytest.raises(InputError):
            ask([], Sampling(max_tokens=2))


def test_after_closing_nothing_is_written(engine: Engine) -> None:
    engine.close()
    with pytest.raises(MachineError):
        engine.generate(PROMPTS, Sampling(max_tokens=2))
