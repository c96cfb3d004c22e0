"""The self-test passes on every architecture, and each known mistake, patched in, turns its check red."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tunewright.adapt.method.head import Head
from tunewright.adapt.method.lora import Lora
from tunewright.infer import flat, forward, segments
from tunewright.infer.engine import _rows
from tunewright.infer.native.functions import use_kernels
from tunewright.train import invariance, loop, split
from tunewright.train.batches import Batches, Examples
from tunewright.train.config import Train
from tunewright.train.invariance import Invariance, check_invariances
from tunewright.train.miniature import choose_rows, make_miniature
from tunewright.train.train import make_loss
from tunewright.types import Objective, Phase, Trainable

READERS = ("infer.flat", "train.fused.bert", "train.fused.llama")
"""What plans how tokens are attended to."""

WRITERS = ("gpt2", "llama", "qwen3", "gemma2", "gemma3_text")


def labelled(make_examples: Any) -> Examples:
    made: Examples = make_examples(40, largest_id=90)
    return made


def dialogues(num_rows: int = 40) -> Examples:
    """Rows of 12 to 40 tokens, of which 2 to 20 at the end are supervised."""
    random = np.random.default_rng(0)
    ids, weights = [], []
    for _ in range(num_rows):
        length = int(random.integers(12, 41))
        ids.append(random.integers(5, 90, length))
        weights.append(np.arange(length) >= length - int(random.integers(2, length // 2 + 1)))
    targets = torch.from_numpy(np.concatenate(weights)).float()
    return Examples(ids, targets, np.arange(num_rows), per_token=True)


def classifier(make_module: Callable[..., Any], architecture: str = "bert", **objective: Any) -> Trainable:
    return Trainable(make_module(architecture), (Phase(Objective("cross_entropy", objective)),))


@pytest.fixture
def make_writer(make_base: Any) -> Callable[[str], Any]:
    """A language model of the architecture named, with a head of its own."""

    def make(architecture: str) -> Any:
        import transformers
        from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

        from tunewright.adapt.language import LanguageModel

        read: Any = transformers.AutoConfig
        config = read.from_pretrained(make_base(architecture).folder)
        found: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
        config._attn_implementation = flat.attention_of(architecture, found._supports_sdpa)
        torch.manual_seed(2)
        return LanguageModel(found(config).eval())

    return make


@pytest.fixture
def writer(make_writer: Callable[[str], Any]) -> Trainable:
    """A Llama that learns dialogues."""
    return Trainable(make_writer("llama"), (Phase(Objective("token_cross_entropy")),))


def checked(trainable: Trainable, examples: Examples) -> dict[str, Invariance]:
    found = check_invariances(make_miniature(trainable, examples, Train.Config().optimizer))
    return {each.name: each for each in found}


def red(found: Mapping[str, Invariance]) -> set[str]:
    return {name for name, each in found.items() if not each.passed}


def deviations(found: Mapping[str, Invariance]) -> dict[str, float]:
    return {name: each.deviation for name, each in found.items()}


def test_every_architecture_passes(base: Any, make_module: Any, make_examples: Any) -> None:
    found = checked(classifier(make_module, base.architecture), labelled(make_examples))
    assert not red(found), deviations(found)
    assert max(deviations(found).values()) < 1e-5, "rounding stays ten times below the bound"


@pytest.mark.parametrize("architecture", WRITERS)
def test_every_writer_passes(architecture: str, make_writer: Any) -> None:
    found = checked(Trainable(make_writer(architecture), (Phase(Objective("token_cross_entropy")),)), dialogues())
    assert not red(found), deviations(found)
    assert max(deviations(found).values()) < 1e-5


def test_methods_with_frozen_weights_pass(make_module: Any, make_examples: Any) -> None:
    objective = Objective("cross_entropy")
    for method in (Lora(Lora.Config(dropout=0.3, rank=2)), Head(Head.Config())):
        found = checked(method.wrap(make_module("bert"), objective, 0), labelled(make_examples))
        assert not red(found), deviations(found)
        assert found["frozen"].sentence[0] != "0"


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "llama"])
def test_bf16_is_fp32_up_to_its_rounding(
    architecture: str, make_module: Any, make_examples: Any, make_writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where the layers that compute in bf16 see other segments, decoders are not."""
    if architecture == "bert":
        trainable, examples = classifier(make_module), labelled(make_examples)
    else:
        trainable = Trainable(make_writer(architecture), (Phase(Objective("token_cross_entropy")),))
        examples = dialogues()
    chosen = Train.Config().optimizer
    found = {each.name: each for each in check_invariances(make_miniature(trainable, examples, chosen, "cpu", "bf16"))}
    assert not red(found), deviations(found)
    assert found["bf16"].bound < 0.06
    if architecture == "bert":
        return  # with random weights its attention matters less than the rounding
    plan = segments.plan_segments
    for module in READERS:
        monkeypatch.setattr(f"tunewright.{module}.plan_segments", lambda bounds, *_, **__: plan([0, bounds[-1]]))
    monkeypatch.setattr(invariance, "CHECKS", ())
    found = {each.name: each for each in check_invariances(make_miniature(trainable, examples, chosen, "cpu", "bf16"))}
    assert "bf16" in red(found), deviations(found)


@pytest.mark.parametrize("architecture", ["bert", "llama"])
def test_halves_that_lose_their_rest_turn_red(
    architecture: str, make_module: Any, make_examples: Any, make_writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update that is smaller than bf16 can tell is then lost."""
    if architecture == "bert":
        trainable, examples = classifier(make_module), labelled(make_examples)
    else:
        trainable = Trainable(make_writer(architecture), (Phase(Objective("token_cross_entropy")),))
        examples = dialogues()
    monkeypatch.setattr(invariance, "CHECKS", ())
    divide = split.divide

    def without_rest(weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        upper, rest = divide(weights)
        return upper, torch.zeros_like(rest)

    for optimizer in ("lion", "adamw"):
        chosen = Train.Config.model_validate({"optimizer": optimizer}).optimizer

        def look(chosen: Any = chosen) -> Invariance:
            small = make_miniature(trainable, examples, chosen, "cpu", "bf16", splits=True)
            return next(each for each in check_invariances(small) if each.name == "halves")

        found = look()
        assert found.deviation < found.bound / 2, optimizer
        with monkeypatch.context() as patched:
            patched.setattr(split, "divide", without_rest)
            use_kernels(False)  # the kernel divides by itself
            try:
                assert not look().passed, optimizer
            finally:
                use_kernels(True)


def test_labels_with_unequal_weights_pass(make_module: Any, make_examples: Any) -> None:
    found = checked(classifier(make_module, class_weights=[0.2, 1.0, 5.0]), labelled(make_examples))
    assert not red(found), deviations(found)


# ------------------------------------------------------------------------------------------- known mistakes, patched in


@pytest.fixture(params=["labels", "dialogues"])
def job(request: pytest.FixtureRequest, make_module: Any, make_examples: Any, writer: Trainable) -> Any:
    """What is trained, and its rows, for each kind of task."""
    if request.param == "labels":
        return classifier(make_module), labelled(make_examples)
    return writer, dialogues()


def test_a_mean_of_the_means_of_micro_batches_is_seen(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mistake found in the popular trainers in 2024: each micro-batch is divided by its own count."""

    def accumulate(self: Any) -> Any:
        micro_batches = list(self.batches.micro_batches(self.step))
        mean, row_ids = torch.zeros(()), []
        for batch in micro_batches:
            loss, count = self.loss_function(self.worker.module(batch), batch.columns)
            (loss / count / len(micro_batches)).backward()
            mean += loss.detach() / count / len(micro_batches)
            row_ids += batch.row_ids
        return mean, tuple(row_ids), 1

    monkeypatch.setattr(loop.Loop, "_accumulate", accumulate)
    found = checked(*job)
    assert red(found) == {"accumulation"}
    assert found["accumulation"].deviation > 100 * found["accumulation"].bound


def test_attention_that_leaks_across_segments_is_seen(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = segments.plan_segments
    for module in READERS:
        monkeypatch.setattr(f"tunewright.{module}.plan_segments", lambda bounds, *_, **__: plan([0, bounds[-1]]))
    found = checked(*job)
    assert {"flattened", "accumulation"} <= red(found)
    assert found["flattened"].deviation > 100 * found["flattened"].bound


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_positions_that_do_not_restart_are_seen(
    architecture: str, make_module: Any, make_writer: Any, make_examples: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Learned positions; rotary ones are relative, so that a whole row may stand anywhere."""
    run_flat = flat.run_flat

    def run_on(trunk: Any, stream: Any, wanted: Any = None) -> torch.Tensor:
        return run_flat(trunk, replace(stream, positions=torch.arange(len(stream.ids)) % 96), wanted)

    monkeypatch.setattr(forward, "run_flat", run_on)
    if architecture == "bert":
        found = checked(classifier(make_module), labelled(make_examples))
    else:
        found = checked(Trainable(make_writer("gpt2"), (Phase(Objective("token_cross_entropy")),)), dialogues())
    assert "flattened" in red(found)


def test_left_padding_without_its_positions_is_seen(make_writer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read = _rows.Rows._forward

    def uncorrected(
        self: Any, ids_BL: torch.Tensor, positions_BL: torch.Tensor, lengths_B: torch.Tensor
    ) -> torch.Tensor:
        columns = torch.arange(self._columns, self._columns + ids_BL.shape[1])
        return read(self, ids_BL, columns.expand_as(positions_BL), lengths_B)

    monkeypatch.setattr(_rows.Rows, "_forward", uncorrected)
    for architecture in ("gpt2", "llama"):
        trainable = Trainable(make_writer(architecture), (Phase(Objective("token_cross_entropy")),))
        assert red(checked(trainable, dialogues())) == {"padding"}, architecture


def test_padding_that_is_attended_to_is_seen(
    make_module: Any, make_examples: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An encoder looks at both sides; a causal trunk never sees what stands behind."""
    call = forward._call
    monkeypatch.setattr(
        forward, "_call", lambda trunk, ids, mask: call(trunk, ids, None if mask is None else torch.ones_like(mask))
    )
    assert red(checked(classifier(make_module), labelled(make_examples))) == {"padding"}


def test_a_last_window_that_is_dropped_is_seen(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Batches, "steps_per_epoch", property(lambda self: len(self.examples) // self.batch_size))
    found = checked(*job)
    assert red(found) == {"last window"}
    assert "reads 6 of them, 6 times" in found["last window"].sentence


def test_a_last_window_that_counts_as_a_full_one_is_seen(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = Batches.columns

    def full(self: Any, step: int) -> Any:
        return columns(self, 0 if len(self.rows(step)) < self.batch_size else step)

    monkeypatch.setattr(Batches, "columns", full)
    assert red(checked(*job)) == {"last window"}


def test_a_last_window_filled_up_with_rows_of_before_is_seen(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Batches._plan

    def filled(self: Any, epoch: int) -> Any:
        made = plan(self, epoch)
        return [*made[:-1], np.concatenate([made[-1], made[0]])[: self.batch_size]]

    monkeypatch.setattr(Batches, "_plan", filled)
    assert "last window" in red(checked(*job))


def test_dropout_in_evaluation_is_seen(make_module: Any, make_examples: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trainable = classifier(make_module)
    kind = type(trainable.module)
    monkeypatch.setattr(kind, "train", lambda self, mode=True: torch.nn.Module.train(self, mode=True))
    assert "evaluation" in red(checked(trainable, labelled(make_examples)))


def test_a_count_that_is_not_what_is_summed_over_is_seen(writer: Trainable, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunewright.train.objective.token_cross_entropy import TokenCrossEntropy

    monkeypatch.setattr(TokenCrossEntropy, "count", lambda self, columns: torch.tensor(float(len(columns["target"]))))
    assert "supervision" in red(checked(writer, dialogues()))


def test_frozen_weights_that_move_are_seen(
    make_module: Any, make_examples: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(config: Any, module: torch.nn.Module, lr: float) -> Any:
        for value in module.parameters():
            value.requires_grad_(True)
        return torch.optim.SGD(module.parameters(), lr=lr)

    monkeypatch.setattr(invariance, "make_optimizer", careless)
    trainable = Lora(Lora.Config(rank=2)).wrap(make_module("bert"), Objective("cross_entropy"), 0)
    assert red(checked(trainable, labelled(make_examples))) == {"frozen"}


# ------------------------------------------------------------------------------------------------------- the miniature


def test_nothing_that_is_to_be_trained_is_touched(job: Any) -> None:
    trainable, examples = job
    before = copy.deepcopy(trainable.module.state_dict())
    rates = [layer.p for layer in trainable.module.modules() if isinstance(layer, torch.nn.Dropout)]
    state = torch.random.get_rng_state()
    checked(trainable, examples)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in trainable.module.state_dict().items())
    assert all(value.grad is None for value in trainable.module.parameters())
    assert rates == [layer.p for layer in trainable.module.modules() if isinstance(layer, torch.nn.Dropout)]
    assert trainable.module.trunk.config._attn_implementation == flat.NAME


def test_what_is_large_is_cut_and_passes(make_writer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunewright.train import miniature

    monkeypatch.setattr(miniature, "LARGE_TRUNK", 100)
    monkeypatch.setattr(miniature, "LARGE_VOCABULARY", 100)
    monkeypatch.setattr(miniature, "KEPT_WORDS", 5)
    for architecture in ("gpt2", "llama", "gemma3_text"):
        model = make_writer(architecture)
        model.trunk.config.num_hidden_layers = 2
        trainable = Trainable(model, (Phase(Objective("token_cross_entropy")),))
        small = make_miniature(trainable, dialogues(), Train.Config().optimizer)
        assert "words of the vocabulary" in small.note
        assert len(small.module.head.weight) == small.module.trunk.get_input_embeddings().num_embeddings < 100
        assert (small.module.head.weight is small.module.trunk.get_input_embeddings().weight) == (
            model.head.weight is model.trunk.get_input_embeddings().weight
        )
        found = {each.name: each for each in check_invariances(small)}
        assert not red(found), (architecture, deviations(found))


def test_rows_are_chosen_from_nearly_nothing_to_much() -> None:
    chosen = choose_rows(dialogues(400), make_loss(Objective("token_cross_entropy")))
    counts = [float(chosen.target(np.array([row])).sum()) for row in range(len(chosen))]
    assert len(chosen) == 7
    assert counts == sorted(counts)
    assert counts[0] == 1.0
    assert counts[-1] >= 15
    assert max(map(len, chosen.ids)) <= 40


def test_a_long_row_keeps_what_is_supervised() -> None:
    weights = np.zeros(300)
    weights[200:205] = 1.0
    long = Examples(
        [np.arange(300), np.arange(300)], torch.from_numpy(np.tile(weights, 2)).float(), np.arange(2), per_token=True
    )
    chosen = choose_rows(long, make_loss(Objective("token_cross_entropy")))
    assert [len(ids) for ids in chosen.ids] == [40, 40]
    assert chosen.ids[1][-1] == 204
    assert float(chosen.target(np.array([1])).sum()) == 5.0


def test_data_of_two_rows_pass(make_module: Any, make_examples: Any) -> None:
    assert not red(checked(classifier(make_module), make_examples(2, largest_id=90)))
