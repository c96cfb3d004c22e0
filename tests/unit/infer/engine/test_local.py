"""The engine writes what transformers' own `generate` writes, alone and in any company; its queue has limits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from tunewright.errors import InputError, MachineError
from tunewright.infer.engine import _rows
from tunewright.infer.engine.local import Local
from tunewright.infer.load import load_language_model
from tunewright.types import Generation, Sampling

LENGTHS = (1, 3, 3, 20, 20, 21, 40)
SAMPLED = Sampling(max_tokens=10, temperature=0.9, top_p=0.9, top_k=50, repetition_penalty=1.2, seed=7)


def a_model(architecture: str, **options: Any) -> torch.nn.Module:
    from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING

    torch.manual_seed(1)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    config_class: Any = CONFIG_MAPPING[architecture]
    small = {"vocab_size": 258, "max_position_embeddings": 128, "initializer_range": 0.3}
    config = config_class(**{**shape, **small, **options})
    model_class: Any = MODEL_FOR_CAUSAL_LM_MAPPING[config_class]
    model: torch.nn.Module = model_class(config)
    return model.eval()


MODELS: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128, "bos_token_id": 0, "eos_token_id": 0},
    "gemma3_text": {
        "num_key_value_heads": 1, "head_dim": 16, "sliding_window": 8, "query_pre_attn_scalar": 16,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "qwen3": {"num_key_value_heads": 2, "head_dim": 8},
}  # fmt: skip


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> torch.nn.Module:
    return a_model(request.param, **MODELS[request.param])


@pytest.fixture(scope="module")
def llama() -> torch.nn.Module:
    return a_model("llama", **MODELS["llama"])


@pytest.fixture
def open_engine() -> Iterator[Any]:
    opened: list[Local] = []

    def make(model: torch.nn.Module, stop_ids: Sequence[int] = (5,), **options: Any) -> Local:
        opened.append(Local(model, stop_ids, Local.Config(**options)))
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()


def prompts(lengths: Sequence[int] = LENGTHS) -> list[list[int]]:
    chance = torch.Generator().manual_seed(3)
    return [torch.randint(6, 250, (length,), generator=chance).tolist() for length in lengths]


def generated(model: Any, prompt: list[int], num_tokens: int, **options: Any) -> list[int]:
    """What transformers generates greedily, without the token that ends it."""
    ids = torch.tensor([prompt])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=num_tokens, do_sample=False, eos_token_id=5,
        pad_token_id=0, **options,
    )  # fmt: skip
    answer: list[int] = out[0, len(prompt) :].tolist()
    return answer[: answer.index(5)] if 5 in answer else answer


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_greedy_is_transformers_generate_in_any_company(
    model: torch.nn.Module, open_engine: Any, penalty: float
) -> None:
    greedy = Sampling(max_tokens=14, repetition_penalty=penalty)
    expected = [generated(model, prompt, 14, repetition_penalty=penalty) for prompt in prompts()]
    for capacity in (1, 3, 16):
        answers = open_engine(model, capacity=capacity).generate(prompts(), greedy)
        assert [list(answer.ids) for answer in answers] == expected
        assert [answer.finish for answer in answers] == ["length" if len(ids) == 14 else "stop" for ids in expected]


def test_some_answers_stop_and_some_do_not(llama: torch.nn.Module, open_engine: Any) -> None:
    """Otherwise the tests above would show less than they say."""
    first = open_engine(llama, ()).generate(prompts(), Sampling(max_tokens=30))
    frequent = max(range(258), key=lambda token: sum(token in answer.ids for answer in first))
    answers = open_engine(llama, [frequent], capacity=4).generate(prompts(), Sampling(max_tokens=30))
    assert {answer.finish for answer in answers} == {"stop", "length"}
    for before, after in zip(first, answers, strict=True):
        ids = list(before.ids)
        assert list(after.ids) == (ids[: ids.index(frequent)] if frequent in ids else ids)


def test_logits_are_those_of_the_whole_text(
    model: torch.nn.Module, open_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[tuple[int, ...], torch.Tensor] = {}
    original = _rows.Rows._choose

    def watched(rows: Any, logits: torch.Tensor) -> torch.Tensor:
        for request, row in zip(rows.requests, logits, strict=True):
            seen[(*request.prompt, *request.tokens)] = row.clone()
        return original(rows, logits)

    monkeypatch.setattr(_rows.Rows, "_choose", watched)
    open_engine(model, capacity=5).generate(prompts(), Sampling(max_tokens=9))
    assert len(seen) > 40
    with torch.no_grad():
        for text, logits in seen.items():
            whole = cast("Any", model)(torch.tensor([text])).logits[0, -1]
            assert torch.allclose(logits, whole, atol=1e-4, rtol=0)


def test_a_sampled_answer_depends_on_prompt_and_seed_alone(model: torch.nn.Module, open_engine: Any) -> None:
    alone = [open_engine(model, capacity=1).generate([prompt], SAMPLED)[0] for prompt in prompts()]
    assert open_engine(model, capacity=4).generate(prompts(), SAMPLED) == alone
    assert open_engine(model).generate(prompts()[::-1], SAMPLED) == alone[::-1]
    other = Sampling(max_tokens=10, temperature=0.9, top_p=0.9, top_k=50, repetition_penalty=1.2, seed=8)
    assert open_engine(model).generate(prompts(), other) != alone


def test_different_settings_share_a_batch(llama: torch.nn.Module, open_engine: Any) -> None:
    wanted = [Sampling(max_tokens=9), SAMPLED, Sampling(max_tokens=17, temperature=2.0, seed=1), Sampling(max_tokens=1)]
    alone = [open_engine(llama, ()).generate([prompt], one)[0] for prompt, one in zip(prompts(), wanted, strict=False)]
    engine = open_engine(llama, ())
    streams = [engine.stream(prompt, one) for prompt, one in zip(prompts(), wanted, strict=False)]
    assert [tuple(stream) for stream in streams] == [answer.ids for answer in alone]


def test_threads_join_a_batch_that_is_running(llama: torch.nn.Module, open_engine: Any) -> None:
    greedy = Sampling(max_tokens=16)
    expected = open_engine(llama).generate(prompts(), greedy)
    engine = open_engine(llama, capacity=6)
    found: dict[int, list[Generation]] = {}

    def ask(number: int) -> None:
        found[number] = engine.generate(prompts()[number:], greedy)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: expected[number:] for number in range(5)}


def test_a_stream_gives_the_same_tokens_and_can_be_left(llama: torch.nn.Module, open_engine: Any) -> None:
    engine = open_engine(llama, (), capacity=2)
    greedy = Sampling(max_tokens=40)
    (expected,) = engine.generate(prompts()[:1], greedy)
    assert tuple(engine.stream(prompts()[0], greedy)) == expected.ids
    left = [engine.stream(prompt, Sampling(max_tokens=80)) for prompt in prompts()[:3]]
    for stream in left:
        assert len(list(islice(stream, 2))) <= 2
        stream.close()
        assert list(stream) == []
    assert engine.generate(prompts()[:1], greedy) == [expected]


def test_too_many_waiting_streams_are_refused(llama: torch.nn.Module, open_engine: Any) -> None:
    engine = open_engine(llama, (), capacity=1, max_waiting=2)
    streams = [engine.stream([6], Sampling(max_tokens=100)) for _ in range(2)]
    with pytest.raises(MachineError, match="too many requests wait"):
        streams += [engine.stream([6], Sampling(max_tokens=100)) for _ in range(3)]
    assert [len(list(stream)) for stream in streams] == [100] * len(streams)
    assert len(engine.generate([[6]] * 20, Sampling(max_tokens=2))) == 20


def test_the_cache_has_a_limit_that_one_row_may_pass(llama: torch.nn.Module, open_engine: Any) -> None:
    engine = open_engine(llama, (), max_cached_tokens=60)
    answers = engine.generate(prompts(), Sampling(max_tokens=30))
    assert answers == open_engine(llama, ()).generate(prompts(), Sampling(max_tokens=30))


@pytest.mark.parametrize(
    ("prompt", "options", "where"),
    [
        ([], {}, "prompt"),
        ([-1], {}, "prompt"),
        ([258], {}, "prompt"),
        ([6] * 100, {"max_tokens": 29}, "max_tokens"),
        ([6] * 200, {}, "max_tokens"),
        ([6], {"max_tokens": 0}, "max_tokens"),
        ([6], {"temperature": -0.1}, "temperature"),
        ([6], {"temperature": float("nan")}, "temperature"),
        ([6], {"top_p": 0.0}, "top_p"),
        ([6], {"top_p": 1.1}, "top_p"),
        ([6], {"top_k": -1}, "top_k"),
        ([6], {"repetition_penalty": 0.0}, "repetition_penalty"),
        ([6], {"seed": -1}, "seed"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(
    llama: torch.nn.Module, open_engine: Any, prompt: list[int], options: dict[str, Any], where: str
) -> None:
    engine = open_engine(llama)
    sampling = Sampling(**{"max_tokens": 8, **options})
    asks: list[Callable[[], object]] = [
        lambda: engine.generate([[6], prompt], sampling),
        lambda: engine.stream(prompt, sampling),
    ]
    for ask in asks:
        with pytest.raises(InputError) as caught:
            ask()
        assert caught.value.where == where
        assert caught.value.allowed
    assert engine._worker is None


def test_what_the_model_raises_reaches_those_who_wait(
    llama: torch.nn.Module, open_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(llama)

    def fail(rows: Any) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(_rows.Rows, "step", fail)
        with pytest.raises(MachineError, match="out of memory"):
            engine.generate(prompts(), Sampling(max_tokens=8))
        with pytest.raises(MachineError, match="out of memory"):
            list(engine.stream([6], Sampling(max_tokens=8)))
    assert len(engine.generate(prompts(), Sampling(max_tokens=8))) == len(LENGTHS)


def test_closing_ends_what_is_under_way(llama: torch.nn.Module, open_engine: Any) -> None:
    engine = open_engine(llama, (), capacity=1)
    stream = engine.stream([6], Sampling(max_tokens=120))
    waiting = engine.stream([7], Sampling(max_tokens=120))
    next(stream)
    engine.close()
    for one in (stream, waiting):
        with pytest.raises(MachineError, match="closed"):
            list(one)
    with pytest.raises(MachineError, match="closed"):
        engine.generate([[6]], Sampling(max_tokens=1))
    assert not [thread for thread in threading.enumerate() if thread.name == "tunewright-engine"]


def test_progress_is_told(llama: torch.nn.Module, open_engine: Any) -> None:
    told: list[tuple[str, float, float | None]] = []
    open_engine(llama).generate(
        prompts(), Sampling(max_tokens=3), lambda label, done, total, note: told.append((label, done, total)), "writing"
    )
    assert told == [("writing", number + 1, len(LENGTHS)) for number in range(len(LENGTHS))]


def test_half_precision_stays_near(llama: torch.nn.Module) -> None:
    answers = [Local(llama, (), dtype=dtype).generate(prompts(), Sampling(max_tokens=1)) for dtype in ("fp32", "bf16")]
    assert sum(one == two for one, two in zip(*answers, strict=True)) >= len(LENGTHS) - 2
    assert {weight.dtype for weight in llama.parameters()} == {torch.float32}


def test_models_that_remember_otherwise_are_refused() -> None:
    from transformers import MambaConfig, MambaForCausalLM

    model: Any = MambaForCausalLM
    with pytest.raises(InputError, match="mamba"):
        Local(model(MambaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, state_size=4)), ())


def test_where_the_longest_row_moves_the_positions_there_is_one_row(open_engine: Any) -> None:
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    engine = open_engine(a_model("llama", rope_parameters=rope, **MODELS["llama"]))
    assert engine.capacity == 1


def test_it_runs_over_a_loaded_folder(tiny_gpt2_folder: Path, open_engine: Any) -> None:
    model = load_language_model(tiny_gpt2_folder)
    answers = open_engine(model).generate(prompts(), Sampling(max_tokens=12))
    assert [list(answer.ids) for answer in answers] == [generated(model, prompt, 12) for prompt in prompts()]
