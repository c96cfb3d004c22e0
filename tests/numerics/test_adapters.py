"""Adapters are exact: nothing before training, peft's own layers in it, the same numbers folded, saved and loaded by peft."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tunewright import extensions
from tunewright.adapt.adapter import CONFIG, save_adapter
from tunewright.adapt.language import LanguageModel
from tunewright.adapt.method._adapter import find_targets
from tunewright.adapt.save import save_classifier_adapter, save_model
from tunewright.adapt.task.classify import Classify
from tunewright.errors import InputError
from tunewright.infer.batch import flatten
from tunewright.infer.forward import run_trunk
from tunewright.infer.load import load_language_model, load_tokenizer, load_trunk
from tunewright.store.artifact import commit_artifact
from tunewright.train.optim import parameter_groups
from tunewright.train.recompute import set_recompute
from tunewright.train.rows import compact, expand
from tunewright.types import Base, Batch, Objective

TEXTS = ["A gripping film.", "这部电影非常好看，推荐给大家！", "x", "Rain, and then wind; 风雨交加。"]
TARGET = torch.tensor([[0.0], [2.0], [1.0], [0.0]])
TASK = Classify().with_labels(["bad", "fine", "好"], multi_label=False)
VARIANTS: list[dict[str, Any]] = [{}, {"rslora": True}, {"dora": True}]
CROSS_ENTROPY = Objective("cross_entropy")


pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
"""peft's model classes, the oracle here, ask transformers for it."""


def method(name: str, **options: Any) -> Any:
    found: Any = extensions.load("adapt.method", name)
    return found(found.Config(**options))


def batch_of(ids: list[list[int]]) -> Batch:
    stream = flatten(ids)
    return Batch({"source": stream}, {"target": TARGET}, tuple(range(len(ids))), len(stream.ids))


def moved(module: torch.nn.Module) -> None:
    """Every adapter away from its start, so that each part of it shows."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if ".ia3_l." in name:
                parameter.mul_(1 + 2 * torch.rand_like(parameter))
            elif ".lora_" in name and "magnitude" in name:
                parameter.mul_(1 + 0.1 * torch.rand_like(parameter))
            elif ".lora_" in name:
                torch.nn.init.normal_(parameter, std=0.1)


def stock_name(name: str, adapted: Any, stock: Any) -> str:
    """The name under peft, over the stock class, of one of our trained parameters."""
    from tunewright.adapt.layout import LAYOUTS

    layout = LAYOUTS[stock.config.model_type]
    part, rest = name.split(".", 1)
    if part == "trunk":
        return f"base_model.model.{stock.base_model_prefix}.{rest}"
    layer, weight = rest.split(".")
    full = layout.dense if layer == "dense" else layout.output
    whole, _, inner = full.partition(".")
    inside = f"{full}.modules_to_save.default" if full.startswith(f"{stock.base_model_prefix}.") else (
        f"{whole}.modules_to_save.default" + (f".{inner}" if inner else "")
    )  # fmt: skip
    return f"base_model.model.{inside}.{weight}"


def over_stock(base: Base, folder: Path, **labels: Any) -> Any:
    """What peft makes of our adapter over the stock class, read from the untouched base: the head comes with the adapter."""
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    from tunewright.infer.load import quiet

    quiet()
    stock = AutoModelForSequenceClassification.from_pretrained(base.folder, num_labels=3, **labels)
    return PeftModel.from_pretrained(stock, str(folder), is_trainable=True)


def test_it_computes_learns_and_folds_as_peft_over_the_stock_class(base: Base, tmp_path: Path) -> None:
    check_against_peft(base, method("lora", rank=4, alpha=6.0), tmp_path)


def test_so_does_ia3(base: Base, tmp_path: Path) -> None:
    check_against_peft(base, method("ia3"), tmp_path)


@pytest.mark.parametrize("options", VARIANTS[1:], ids=["rslora", "dora"])
@pytest.mark.parametrize("architecture", ["bert", "gpt2", "llama"])
def test_so_do_its_variants(architecture: str, options: dict[str, Any], make_base: Any, tmp_path: Path) -> None:
    check_against_peft(make_base(architecture), method("lora", rank=4, alpha=6.0, **options), tmp_path)


def check_against_peft(base: Base, chosen: Any, tmp_path: Path) -> None:
    """Bits before training; then logits, gradients, and the folded module."""
    module: Any = TASK.attach(base, seed=3).eval()
    for parameter in module.head.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    names = set(module.state_dict())
    tokenizer = load_tokenizer(base.folder)
    ids = tokenizer(TEXTS)["input_ids"]
    batch = batch_of(ids)
    before = module(batch).detach()

    trainable = chosen.wrap(module, CROSS_ENTROPY, 7)
    assert torch.equal(module(batch), before), "wrapped = base, bit for bit"
    moved(module)
    ours = module(batch)
    assert not torch.allclose(ours, before, atol=1e-3)

    adapter = chosen.adapter(trainable)
    commit_artifact(
        tmp_path / "adapter", "k", lambda draft: save_classifier_adapter(draft, adapter, module, TASK, base)
    )
    pad = tokenizer.pad_token or tokenizer.eos_token
    tokenizer.pad_token = pad
    padded = tokenizer(TEXTS, padding=True, return_tensors="pt")
    padded.pop("token_type_ids", None)
    model = over_stock(base, tmp_path / "adapter", pad_token_id=tokenizer.pad_token_id).eval()
    theirs = model(**padded).logits
    assert (ours - theirs).abs().max() < 2e-5

    torch.autograd.backward(functional.cross_entropy(ours, TARGET[:, 0].long()))
    torch.autograd.backward(functional.cross_entropy(theirs, TARGET[:, 0].long()))
    stock = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    own = {
        stock_name(n, module, model.base_model.model): p.grad for n, p in module.named_parameters() if p.requires_grad
    }
    assert own.keys() == stock.keys()
    for name, gradient in own.items():
        assert (gradient - stock[name]).abs().max() < 1e-5 * max(1.0, float(stock[name].abs().max())), name

    folded = chosen.fold(trainable)
    assert (folded(batch) - ours).abs().max() < 1e-5, "fold = adapted"
    assert set(folded.state_dict()) == names
    assert not any("lora" in name or "ia3" in name for name, _ in folded.named_modules())


def test_the_folded_model_is_saved_as_any_other(make_base: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    base = make_base("bert")
    module = TASK.attach(base, seed=3).eval()
    chosen = method("lora", dora=True)
    trainable = chosen.wrap(module, CROSS_ENTROPY, 7)
    moved(module)
    ids = load_tokenizer(base.folder)(TEXTS)["input_ids"]
    wanted = module(batch_of(ids)).detach()
    folded = chosen.fold(trainable)
    card = {"max_length": 64, "thresholds": {}}
    commit_artifact(tmp_path / "model", "k", lambda draft: save_model(draft, folded, TASK, base, card))
    stock, loading = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not any(loading.values())
    found = torch.cat([stock(input_ids=torch.tensor([row])).logits for row in ids])
    assert (found - wanted).abs().max() < 1e-5


class Language(LanguageModel):
    """A language model that answers with its logits[T, V]."""

    def forward(self, batch: Batch) -> Any:
        return self.head(run_trunk(self.trunk, batch.streams["source"]))


@pytest.mark.parametrize("folder_name", ["tiny_llama_folder", "tiny_gpt2_folder"])
def test_an_adapter_of_a_language_model_scores_the_same_under_peft(
    folder_name: str, request: pytest.FixtureRequest, make_base: Any, tmp_path: Path
) -> None:
    from dataclasses import replace

    from peft import PeftModelForCausalLM

    folder: Path = request.getfixturevalue(folder_name)
    base = replace(make_base("llama"), folder=folder)
    model: Any = load_language_model(folder)
    module: Any = Language(model)
    head = module.head.weight.detach().clone()
    chosen = method("lora")
    trainable = chosen.wrap(module, CROSS_ENTROPY, 1)
    moved(module)
    assert not module.head.weight.requires_grad
    row = load_tokenizer(folder)(TEXTS[1])["input_ids"]
    ours = module(batch_of([row])).detach()
    prefix = model.base_model_prefix

    def fill(draft: Any) -> None:
        save_adapter(draft, chosen.adapter(trainable), base, trunk_name=prefix, task_type="CAUSAL_LM")

    commit_artifact(tmp_path / "adapter", "k", fill)
    peft = PeftModelForCausalLM.from_pretrained(load_language_model(folder), str(tmp_path / "adapter"))
    assert (peft(input_ids=torch.tensor([row])).logits[0] - ours).abs().max() < 1e-5
    folded = chosen.fold(trainable)
    assert (folded(batch_of([row])) - ours).abs().max() < 1e-5
    assert torch.equal(module.head.weight, head)


def test_with_a_head_that_only_this_package_has_the_adapter_is_for_the_trunk(make_base: Any, tmp_path: Path) -> None:
    from peft import PeftModel

    base, task = make_base("bert"), Classify(Classify.Config(pooling="mean")).with_labels(["a", "b"], multi_label=False)
    module: Any = task.attach(base, seed=3).eval()
    chosen = method("lora")
    trainable = chosen.wrap(module, CROSS_ENTROPY, 1)
    moved(module)
    adapter = chosen.adapter(trainable)
    commit_artifact(
        tmp_path / "adapter", "k", lambda draft: save_classifier_adapter(draft, adapter, module, task, base)
    )
    row = torch.tensor([[5, 6, 7, 8]])
    wanted = module.trunk(input_ids=row).last_hidden_state
    peft = PeftModel.from_pretrained(load_trunk(base.folder), str(tmp_path / "adapter"))
    assert (peft(input_ids=row).last_hidden_state - wanted).abs().max() < 1e-5


# ----------------------------------------------------------------------------------------------------- the formulas


class One(torch.nn.Module):
    """A trunk of one layer and a head that adds nothing."""

    trains_head = False

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.trunk = torch.nn.Sequential(layer)
        self.head = torch.nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.trunk(x)
        return found


@pytest.mark.parametrize("options", VARIANTS, ids=["lora", "rslora", "dora"])
@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_the_layer_is_the_papers_formula(kind: str, options: dict[str, Any]) -> None:
    from transformers.pytorch_utils import Conv1D

    layer: Any = torch.nn.Linear(5, 7) if kind == "linear" else Conv1D(7, 5)  # type: ignore[no-untyped-call]
    torch.nn.init.normal_(layer.bias)
    weight = (layer.weight if kind == "linear" else layer.weight.T).detach().double().clone()
    module = One(layer)
    chosen = method("lora", rank=3, alpha=5.0, **options)
    trainable = chosen.wrap(module, CROSS_ENTROPY, 0)
    moved(module)
    values = {name.split(".")[2]: p.detach().double() for name, p in module.named_parameters() if ".lora_" in name}
    scale = 5 / 3**0.5 if options.get("rslora") else 5 / 3
    merged = weight + scale * values["lora_B"] @ values["lora_A"]
    if options.get("dora"):
        merged = values["lora_magnitude_vector"][:, None] * merged / merged.norm(dim=1, keepdim=True)
    x = torch.randn(4, 5)
    wanted = (x.double() @ merged.T + layer.bias.detach().double()).float()
    assert torch.allclose(module(x), wanted, atol=1e-5)
    assert torch.allclose(chosen.fold(trainable)(x), wanted, atol=1e-5)


def test_what_decays_are_the_matrices_of_the_update_alone(make_module: Callable[..., Any]) -> None:
    """A length at zero would be no weaker update but no model; what is frozen is in no group."""
    for architecture in ("bert", "gpt2"):
        module = make_module(architecture)
        method("lora", dora=True).wrap(module, CROSS_ENTROPY, 0)
        names = {id(parameter): name for name, parameter in module.named_parameters()}
        groups = parameter_groups(module)
        spared = [names[id(p)] for group in groups if group["kind"] == "other" for p in group["params"]]
        decayed = [names[id(p)] for group in groups if group["kind"] != "other" for p in group["params"]]
        adapted = [names[id(p)] for group in groups if group["kind"] == "adapter" for p in group["params"]]
        assert all(".lora_A." in name or ".lora_B." in name for name in adapted)
        assert {name for name in decayed if name not in adapted} == {"head.dense.weight", "head.output.weight"} & set(
            names.values()
        )
        assert all(".lora_A." in name or ".lora_B." in name or name.startswith("head.") for name in decayed)
        assert any("magnitude" in name for name in spared)
        assert all("magnitude" in name or name.startswith("head.") for name in spared)


# ------------------------------------------------------------------------------------------------------- the targets


QKVO = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
LLAMA = {f"layers.{n}.{name}" for n in (0, 1) for name in (*QKVO, "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")}
BERT = {
    f"encoder.layer.{n}.{name}" for n in (0, 1) for name in (
        "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
        "intermediate.dense", "output.dense",
    )
}  # fmt: skip
GPT2 = {f"h.{n}.{name}" for n in (0, 1) for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")}
DISTILBERT = {
    f"transformer.layer.{n}.{name}" for n in (0, 1) for name in (
        "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "ffn.lin1", "ffn.lin2",
    )
}  # fmt: skip
EXPECTED = {"gpt2": GPT2, "distilbert": DISTILBERT, **dict.fromkeys(("bert", "roberta", "xlm-roberta"), BERT)}


def test_auto_is_attention_and_mlp_of_every_layer(base: Base) -> None:
    paths, reason = find_targets(load_trunk(base.folder), "auto")
    assert set(paths) == EXPECTED.get(base.architecture, LLAMA)
    assert reason


def test_the_choice_is_said_in_names_that_mean_the_same_again(make_module: Callable[..., Any]) -> None:
    for architecture in ("bert", "distilbert", "gpt2", "llama"):
        module = make_module(architecture)
        (choice,) = method("lora").wrap(module, CROSS_ENTROPY, 0).choices
        assert choice.path == "method.targets"
        assert len(choice.value) <= 7
        again = make_module(architecture)
        trainable = method("lora", targets=choice.value).wrap(again, CROSS_ENTROPY, 0)
        assert trainable.choices == ()
        assert all(torch.equal(value, again.state_dict()[name]) for name, value in module.state_dict().items())


def test_targets_by_name_and_all(make_module: Callable[..., Any]) -> None:
    trunk = make_module("llama").trunk
    assert find_targets(trunk, ["q_proj", "v_proj"])[0] == [
        f"layers.{n}.self_attn.{name}" for n in (0, 1) for name in ("q_proj", "v_proj")
    ]
    assert set(find_targets(trunk, "all-linear")[0]) == LLAMA
    assert find_targets(trunk, "layers.1.mlp.up_proj")[0] == ["layers.1.mlp.up_proj"]
    for wrong in ("q_prj", ["q_proj", "q_prj"], []):
        with pytest.raises(InputError) as caught:
            find_targets(trunk, wrong)
        assert caught.value.where == "method.targets"
        assert "q_proj" in caught.value.allowed
    assert "q_proj" in caught.value.allowed


def test_the_files_are_pefts(make_base: Any, tmp_path: Path) -> None:
    import json

    base = make_base("bert")
    module: Any = TASK.attach(base, seed=3)
    chosen = method("lora", rank=2, alpha=4.0, rslora=True)
    adapter = chosen.adapter(chosen.wrap(module, CROSS_ENTROPY, 0))
    commit_artifact(tmp_path / "a", "k", lambda draft: save_classifier_adapter(draft, adapter, module, TASK, base))
    config = json.loads((tmp_path / "a" / CONFIG).read_text(encoding="utf-8"))
    wanted = {
        "peft_type": "LORA", "task_type": "SEQ_CLS", "r": 2, "lora_alpha": 4.0, "use_rslora": True, "use_dora": False,
        "base_model_name_or_path": "tiny-bert", "inference_mode": True, "bias": "none", "fan_in_fan_out": False,
        "modules_to_save": ["bert.pooler.dense", "classifier"],
        "target_modules": ["query", "key", "value", "output.dense", "intermediate.dense"],
    }  # fmt: skip
    assert {name: config[name] for name in wanted} == wanted


# ------------------------------------------------------------------------------------- beside the rest of training


def test_it_works_over_an_embedding_that_was_cut(
    make_module: Callable[..., Any], build_loop: Any, make_examples: Any
) -> None:
    from tunewright.train.batches import Examples

    occurring = np.unique(np.concatenate([np.arange(5, 9), np.arange(300, 1_900, 40)]))
    drawn = make_examples(11, largest_id=len(occurring) - 1)
    examples = Examples([occurring[ids] for ids in drawn.ids], drawn.targets, drawn.row_ids)
    plain, small = (make_module("bert", vocab_size=2_000) for _ in range(2))
    compaction = compact(small, occurring)
    assert compaction is not None
    cut = Examples([compaction.remap[ids] for ids in examples.ids], examples.targets, examples.row_ids)
    losses, folded = [], []
    for module, rows in ((plain, examples), (small, cut)):
        chosen = method("lora", dropout=0.1)
        trainable = chosen.wrap(module, CROSS_ENTROPY, 0)
        losses.append([step.loss for step in build_loop(trainable.module, rows).steps()])
        if module is small:
            expand(small.trunk, compaction)
        folded.append(chosen.fold(trainable).state_dict())
    assert losses[0] == losses[1]
    assert all(torch.equal(value, folded[1][name]) for name, value in folded[0].items())


@pytest.mark.parametrize("computed_by", ["torch", "native"])
@pytest.mark.parametrize("architecture", ["bert", "gpt2", "llama", "gemma3_text"])
def test_computing_again_changes_no_bit(
    architecture: str, computed_by: str, make_module: Callable[..., Any], build_loop: Any, make_examples: Any
) -> None:
    """Dropout of the trunk and of the adapter included, by torch's operators and by kernels."""
    found = []
    for recompute in (False, "mlp", True):
        trainable = method("lora", dropout=0.1).wrap(make_module(architecture), CROSS_ENTROPY, 0)
        loop = build_loop(trainable.module, make_examples(8), kernels=computed_by, recompute=recompute)
        found.append([(step.loss, step.gradient_norm) for step in loop.steps()])
    assert found[0] == found[1] == found[2]


def test_computing_again_keeps_less(make_module: Callable[..., Any], make_examples: Any) -> None:
    kept = []
    for recompute in (False, True):
        module = make_module("llama")
        method("lora").wrap(module, CROSS_ENTROPY, 0)
        set_recompute(module, wanted=recompute)
        sizes: list[int] = []

        def keep(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.nbytes)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            module.train()(batch_of([list(range(5, 60))] * 4))
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 4


# --------------------------------------------------------------------------------------------------- the head alone


@pytest.mark.parametrize("architecture", ["bert", "llama"])
def test_what_is_remembered_is_what_would_be_read_again(
    architecture: str, make_module: Callable[..., Any], build_loop: Any, make_examples: Any
) -> None:
    """The head's dropout included; the trunk's is off."""
    examples = make_examples(11)
    losses, calls = [], []
    for cache_mib in (1024, 0):
        module = make_module(architecture)
        trainable = method("head", cache_mib=cache_mib).wrap(module, CROSS_ENTROPY, 0)
        reads: list[int] = []
        module.trunk.register_forward_hook(lambda *_, reads=reads: reads.append(1))
        assert trainable.look_ahead is not None
        trainable.look_ahead(examples.ids, lambda *_: None)
        ahead = len(reads)
        losses.append([step.loss for step in build_loop(trainable.module, examples).steps()])
        calls.append(len(reads) - ahead)
        assert not module.trunk.training
        assert module.head.training
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert (calls[0], calls[1] > 5) == (0, True)


def test_little_room_is_used_and_never_exceeded(make_module: Callable[..., Any], make_examples: Any) -> None:
    module, examples = make_module("bert"), make_examples(9)
    trainable = method("head").wrap(module, CROSS_ENTROPY, 0)
    remembering: Any = trainable.module
    remembering.room_bytes = 3 * 32 * 4 + 5
    remembering.look_ahead(examples.ids, lambda *_: None)
    assert (len(remembering.states), remembering.room_bytes) == (3, 5)
    ids = [[int(token) for token in row] for row in examples.ids]
    stream = flatten(ids)
    batch = Batch({"source": stream}, {}, tuple(range(9)), len(stream.ids))
    assert torch.allclose(remembering.eval()(batch), module.eval()(batch), atol=1e-5)
    assert len(remembering.states) == 3


def test_a_head_that_came_with_the_base_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        method("head").wrap(One(torch.nn.Linear(2, 2)), CROSS_ENTROPY, 0)
    assert caught.value.hint == "method=lora"


# ------------------------------------------------------------------------------------------------------- in 4 bits


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "bert"])
@pytest.mark.parametrize("recompute", [False, True])
def test_over_4_bits_it_learns_as_over_what_they_hold(
    architecture: str, recompute: bool, make_module: Callable[..., Any], build_loop: Any, make_examples: Any
) -> None:
    """The oracle is LoRA over a plain module with the dequantised matrices: same losses, norms and folded weights."""
    quantised = method("qlora")
    plain = quantised.fold(quantised.wrap(make_module(architecture), CROSS_ENTROPY, 0))
    found, folded = [], []
    for chosen, module in ((quantised, make_module(architecture)), (method("lora"), plain)):
        trainable = chosen.wrap(module, CROSS_ENTROPY, 2)
        recomputes = recompute and chosen is quantised
        steps = build_loop(trainable.module, make_examples(11), epochs=4, kernels="torch", recompute=recomputes).steps()
        found.append([fact for step in steps for fact in (step.loss, step.gradient_norm)])
        folded.append(chosen.fold(trainable).state_dict())
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert folded[0].keys() == folded[1].keys()
    for name, value in folded[0].items():
        assert (value - folded[1][name]).abs().max() < 1e-4, name


def test_over_4_bits_the_loss_falls_and_no_matrix_is_left_whole(
    make_module: Callable[..., Any], build_loop: Any, make_examples: Any
) -> None:
    module = make_module("llama")
    trainable = method("qlora").wrap(module, CROSS_ENTROPY, 2)
    frozen = {n: p for n, p in module.trunk.named_parameters() if not p.requires_grad}
    assert {name for name, value in frozen.items() if value.dim() > 1} == {"embed_tokens.weight"}
    for dtype in ("fp32", "bf16"):
        loop = build_loop(copy.deepcopy(trainable.module), make_examples(12), batch_size=6, epochs=8, dtype=dtype)
        losses = [step.loss for step in loop.steps()]
        assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
