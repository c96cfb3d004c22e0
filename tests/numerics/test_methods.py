"""What a method trains, how fast, and what of it decays: LoRA+, (IA)3 and BitFit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tunewright import extensions
from tunewright.errors import InputError
from tunewright.train.optim import parameter_groups
from tunewright.types import Objective

CROSS_ENTROPY = Objective("cross_entropy")


def method(name: str, **options: Any) -> Any:
    found: Any = extensions.load("adapt.method", name)
    return found(found.Config(**options))


def test_loraplus_is_that_of_peft(make_module: Callable[..., Any]) -> None:
    """B learns at a multiple of the rate of A; nothing else changes."""
    from peft.optimizers import create_loraplus_optimizer

    module = make_module("bert")
    trainable = method("lora", loraplus_ratio=16.0).wrap(module, CROSS_ENTROPY, 0)
    (phase,) = trainable.phases
    ours = {
        id(parameter): 0.001 * group["factor"]
        for group in parameter_groups(module, 1.0, phase.rates)
        for parameter in group["params"]
    }
    theirs: Any = create_loraplus_optimizer(module, torch.optim.AdamW, lr=0.001, loraplus_lr_ratio=16.0)
    stock = {id(parameter): group["lr"] for group in theirs.param_groups for parameter in group["params"]}
    adapted = {id(value): name for name, value in module.named_parameters() if ".lora_" in name}
    assert {name: ours[key] for key, name in adapted.items()} == {name: stock[key] for key, name in adapted.items()}
    assert {ours[key] for key in ours.keys() - adapted.keys()} == {0.001}
    assert method("lora").wrap(make_module("bert"), CROSS_ENTROPY, 0).phases[0].rates == {}


def test_factors_of_ia3_do_not_decay(make_module: Callable[..., Any]) -> None:
    module = make_module("bert")
    method("ia3").wrap(module, CROSS_ENTROPY, 0)
    factors = {id(value) for name, value in module.named_parameters() if ".ia3_l." in name}
    spared = {id(value) for group in parameter_groups(module) if group["kind"] == "other" for value in group["params"]}
    assert factors
    assert factors <= spared


def test_bitfit_moves_biases_and_the_fresh_head_alone(
    make_module: Callable[..., Any], build_loop: Any, make_examples: Any
) -> None:
    for architecture in ("bert", "gpt2", "distilbert"):
        module = make_module(architecture)
        before = {name: value.clone() for name, value in module.named_parameters()}
        trainable = method("bitfit").wrap(module, CROSS_ENTROPY, 0)
        for _ in build_loop(trainable.module, make_examples(8)).steps():
            pass
        changed = {name for name, value in module.named_parameters() if not torch.equal(value, before[name])}
        biases = {name for name in before if name.startswith("trunk.") and name.endswith(".bias")}
        heads = {name for name in before if name.startswith("head.")}
        assert changed <= biases | heads
        assert heads <= changed
        assert len(changed & biases) > 0.8 * len(biases), "that of a key moves nothing (softmax)"
    with pytest.raises(InputError, match="no bias"):
        method("bitfit").wrap(make_module("llama"), CROSS_ENTROPY, 0)
