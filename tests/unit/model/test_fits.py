"""The arithmetic of memory is near what a real training holds, and the recipes for a GPU say what it says."""

from __future__ import annotations

import re
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tunewright import extensions
from tunewright.adapt.language import LanguageModel
from tunewright.adapt.method.qlora import Qlora
from tunewright.infer.batch import flatten
from tunewright.infer.native.build import built
from tunewright.infer.native.functions import use_kernels
from tunewright.infer.precision import precision
from tunewright.model.fits import NF4_BITS, Job, Memory, memory, shape_of
from tunewright.recipe import read_request
from tunewright.train.recompute import set_recompute
from tunewright.train.train import make_loss
from tunewright.types import Batch, Objective

RECIPES = Path(__file__).parents[3] / "recipes"

SMALL: dict[str, Any] = {
    "vocab_size": 2000, "hidden_size": 128, "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 384, "max_position_embeddings": 128,
}  # fmt: skip


def qwen3(width: int, layers: int, inner: int, heads: int, *, tied: bool) -> dict[str, Any]:
    """The sizes in the config.json of a Qwen3 model."""
    return {
        "hidden_size": width, "num_hidden_layers": layers, "intermediate_size": inner, "num_attention_heads": heads,
        "head_dim": 128, "num_key_value_heads": 8, "vocab_size": 151_936, "tie_word_embeddings": tied,
    }  # fmt: skip


QWEN3 = {
    "Qwen/Qwen3-4B": qwen3(2560, 36, 9728, 32, tied=True),
    "Qwen/Qwen3-8B": qwen3(4096, 36, 12_288, 32, tied=False),
    "Qwen/Qwen3-14B": qwen3(5120, 40, 17_408, 40, tied=False),
    "Qwen/Qwen3-32B": qwen3(5120, 64, 25_600, 64, tied=False),
}


class Peak(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of every storage from its birth to its end."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live: dict[int, int] = {}
        self.bytes = self.most = 0

    def see(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.live:
            self.live[key] = storage.nbytes()
            self.bytes += self.live[key]
            self.most = max(self.most, self.bytes)
            weakref.finalize(storage, self.drop, key)

    def drop(self, key: int) -> None:
        self.bytes -= self.live.pop(key, 0)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self.see(tensor)
        return made


def measured_peak(name: str, options: Mapping[str, Any], dtype: str, recompute: bool, *, tied: bool) -> int:
    """The most bytes alive in two updates of a small language model on 8 rows of 100 tokens, by torch's operators."""
    from transformers import LlamaConfig, LlamaForCausalLM

    objective = Objective("token_cross_entropy")
    module = LanguageModel(LlamaForCausalLM(LlamaConfig(**SMALL, tie_word_embeddings=tied)))
    method: Any = extensions.load("adapt.method", name)
    method(method.Config(**options)).wrap(module, objective, 0)
    set_recompute(module, wanted=recompute)
    stream = flatten([list(range(5, 105))] * 8)
    batch = Batch({"source": stream}, {"target": torch.ones(800)}, tuple(range(8)), 800)
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=1e-3, fused=True)
    loss_function = make_loss(objective)
    use_kernels(False)
    peak = Peak()
    for tensor in (*module.parameters(), *module.buffers()):
        peak.see(tensor)
    try:
        with peak:
            for _ in range(2):
                with precision(dtype, "cpu"):
                    outputs = module.train()(batch)
                torch.autograd.backward(loss_function(outputs, batch.columns)[0])
                del outputs
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
    finally:
        use_kernels(built().library is not None)
    return peak.most


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("name", "options", "job"),
    [
        ("full", {}, {}),
        ("lora", {"rank": 8}, {"rank": 8}),
        ("lora", {"rank": 64}, {"rank": 64, "recompute": True}),
        ("qlora", {"rank": 8}, {"rank": 8, "bits": NF4_BITS}),
        ("qlora", {"rank": 8}, {"rank": 8, "bits": NF4_BITS, "recompute": True}),
    ],
    ids=["full", "lora", "lora recomputed", "qlora", "qlora recomputed"],
)
def test_a_small_training_holds_what_the_arithmetic_says(
    name: str, options: dict[str, Any], job: dict[str, Any], dtype: str
) -> None:
    tied = name == "full"
    foretold = memory(shape_of({**SMALL, "tie_word_embeddings": tied}), Job(tokens=800, bf16=dtype == "bf16", **job))
    assert 0.9 < foretold.total / measured_peak(name, options, dtype, job.get("recompute", False), tied=tied) < 1.6


@pytest.mark.parametrize("tied", [False, True])
def test_the_sizes_are_those_of_the_model(tied: bool) -> None:
    from peft import LoraConfig, inject_adapter_in_model
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig(**SMALL, tie_word_embeddings=tied))
    shape = shape_of({**SMALL, "tie_word_embeddings": tied})
    norms = sum(p.numel() for p in model.parameters() if p.dim() == 1)
    assert shape.in_layers + shape.outside == sum(p.numel() for p in model.parameters()) - norms
    inject_adapter_in_model(LoraConfig(r=3, target_modules="all-linear", exclude_modules="lm_head"), model)
    found = sum(p.numel() for name, p in model.named_parameters() if "lora_" in name and "lm_head" not in name)
    assert shape.adapter(3) == found


@pytest.mark.parametrize(("name", "billions"), [("4B", 4.02), ("8B", 8.19), ("14B", 14.77), ("32B", 32.76)])
def test_the_sizes_of_the_hub_add_up(name: str, billions: float) -> None:
    shape = shape_of(QWEN3[f"Qwen/Qwen3-{name}"])
    assert (shape.in_layers + shape.outside) / 1e9 == pytest.approx(billions, abs=0.01)


def job_of(path: Path) -> tuple[str, Job]:
    recipe = read_request(path, (), {}, {}).recipe
    method: Any = recipe.method.config
    assert recipe.train.token_budget is not None
    assert recipe.method.name == "qlora"
    assert method.double_quantisation
    job = Job(tokens=recipe.train.token_budget, rank=method.rank, bits=NF4_BITS, recompute=Qlora.recomputes)
    return recipe.model.name, job


@pytest.mark.parametrize("gib", [8, 16, 24])
def test_a_recipe_takes_the_largest_model_that_fits(gib: int) -> None:
    """Within 85 % of the card: the rest is for the device's own context and for fragments. The next larger is over 100 %."""
    name, job = job_of(RECIPES / f"qlora-{gib}gb.yaml")
    assert memory(shape_of(QWEN3[name]), job).total < 0.85 * gib * 2**30
    larger = list(QWEN3)[list(QWEN3).index(name) + 1]
    smallest = Job(tokens=1024, rank=job.rank, bits=job.bits, recompute=True)
    assert memory(shape_of(QWEN3[larger]), smallest).total > gib * 2**30


@pytest.mark.parametrize("gib", [8, 16, 24])
def test_a_recipe_says_the_arithmetic(gib: int) -> None:
    path = RECIPES / f"qlora-{gib}gb.yaml"
    name, job = job_of(path)
    found: Memory = memory(shape_of(QWEN3[name]), job)
    parts = [found.weights, found.gradients + found.moments, found.activations, found.work, found.total]
    said = re.findall(r"^# +(\d+\.\d\d)  ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert said == [f"{part / 1e9:.2f}" for part in parts]
