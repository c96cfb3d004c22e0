"""A fused trunk is the stock trunk: states and every gradient no further from fp32 than the stock modules in bf16 are."""

from __future__ import annotations

import copy
import weakref
from typing import Any

import pytest
import torch

from families import FAMILIES, flattened, stock, stream_of
from tunewright.infer.flat import FUSED
from tunewright.infer.forward import run_trunk
from tunewright.infer.native.functions import kernels, use_kernels
from tunewright.train.fused import bert, gemma, kept, llama
from tunewright.train.recompute import set_recompute
from tunewright.train.worker import Worker

KNOWN = sorted(llama.FAMILIES | gemma.GemmaTrunk.families | bert.FAMILIES)


class Holder(torch.nn.Module):
    """What a task's module is to the engine: something with a trunk."""

    def __init__(self, trunk: torch.nn.Module) -> None:
        super().__init__()
        self.trunk = trunk


def gradients(model: Any, dtype: str, *, wanted: bool) -> tuple[Any, list[torch.Tensor]]:
    """The module that computed; the states, and every parameter's gradient as the original gets it."""
    holder = Holder(copy.deepcopy(model))
    use_kernels(wanted)
    try:
        worker: Any = Worker(holder, dtype)
        stream = stream_of()
        hidden = run_trunk(worker.module.trunk, stream)
        torch.manual_seed(1)
        flow = torch.randn(hidden.shape)
        torch.autograd.backward(hidden, flow.to(hidden.dtype))
    finally:
        use_kernels(True)
    grads = [each.grad for each in holder.parameters()]
    return worker.module.trunk, [hidden.detach().float(), *(each for each in grads if each is not None)]


def drawn_states(model: Any, *, wanted: bool) -> torch.Tensor:
    """States[60, T, H], each with other random numbers."""
    use_kernels(wanted)
    try:
        worker: Any = Worker(Holder(copy.deepcopy(model)), "bf16")
        stream, found = stream_of(), []
        for seed in range(60):
            torch.manual_seed(seed)
            found.append(run_trunk(worker.module.trunk, stream).detach().float())
    finally:
        use_kernels(True)
    return torch.stack(found)


@pytest.mark.parametrize("name", KNOWN)
def test_states_and_gradients_equal_the_stock_modules(name: str) -> None:
    if kernels() is None:
        pytest.skip("no C compiler")
    model = flattened(stock(name))
    _, exact = gradients(model, "fp32", wanted=False)
    plain, theirs = gradients(model, "bf16", wanted=False)
    fused, ours = gradients(model, "bf16", wanted=True)
    assert getattr(fused, FUSED, None) is not None
    assert getattr(plain, FUSED, None) is None
    assert len(ours) == len(theirs) == len(exact)
    least = 0.02 * max(float(right.norm()) for right in exact)  # the gradient of a key's bias is zero but for rounding
    for mine, other, right in zip(ours, theirs, exact, strict=True):
        scale = max(least, float(right.norm()))
        gaps = float((mine - right).norm()) / scale, float((other - right).norm()) / scale
        assert gaps[0] < 1.25 * gaps[1] + 2e-3, gaps


@pytest.mark.parametrize("name", KNOWN)
def test_in_fp32_they_are_equal_to_its_rounding_and_share_the_weights(name: str) -> None:
    if kernels(torch.float32) is None:
        pytest.skip("no C compiler")
    model = flattened(stock(name))
    plain, exact = gradients(model, "fp32", wanted=False)
    fused, ours = gradients(model, "fp32", wanted=True)
    assert getattr(fused, FUSED, None) is not None
    assert getattr(plain, FUSED, None) is None
    assert len(ours) == len(exact)
    least = 0.02 * max(float(right.norm()) for right in exact)
    for mine, right in zip(ours, exact, strict=True):
        assert float((mine - right).norm()) / max(least, float(right.norm())) < 2e-6
    holder = Holder(model)
    worker: Any = Worker(holder, "fp32")
    stream = stream_of()
    before = run_trunk(worker.module.trunk, stream).detach()
    with torch.no_grad():
        for value in holder.parameters():
            value.mul_(1.01)
    after = run_trunk(worker.module.trunk, stream).detach()
    assert not torch.equal(before, after), "new weights of the original compute at once"
    assert torch.allclose(after, run_trunk(model, stream), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [*KNOWN, "gpt2"])
def test_states_of_some_tokens_are_those_of_all(name: str) -> None:
    """In the fused trunks the others end with the last attention; the wanted ones and every gradient stay the same."""
    model, stream, found = flattened(stock(name)), stream_of(), []
    wanted = torch.tensor([0, 3, 4, len(stream.ids) - 1])
    for is_asked in (True, False):
        holder = Holder(copy.deepcopy(model))
        trunk: Any = Worker(holder, "fp32").module.trunk
        states = run_trunk(trunk, stream, wanted) if is_asked else run_trunk(trunk, stream)[wanted]
        torch.manual_seed(3)
        torch.autograd.backward(states, torch.randn(states.shape))
        found.append([states.detach(), *(each.grad for each in holder.parameters() if each.grad is not None)])
    ours, right = found
    least = 0.02 * max(float(each.norm()) for each in right)
    assert len(ours) == len(right)
    for mine, other in zip(ours, right, strict=True):
        assert float((mine - other).norm()) / max(least, float(other.norm())) < 2e-6


def test_a_family_that_is_not_known_keeps_the_stock_modules() -> None:
    unknown = sorted(FAMILIES.keys() - {*KNOWN})
    assert unknown
    for name in unknown:
        trunk, _ = gradients(flattened(stock(name)), "bf16", wanted=True)
        assert getattr(trunk, FUSED, None) is None


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("name", ["bert", "llama", "qwen2"])
def test_adapters_beside_joined_projections_equal_peft(name: str, dropout: float) -> None:
    """Ranks and targets as a user would set them; with dropout the two draw other masks, so only the mean can be compared."""
    from peft import LoraConfig, inject_adapter_in_model

    if kernels() is None:
        pytest.skip("no C compiler")
    model = flattened(stock(name))
    targets = (
        ["query", "key", "value", "dense"] if name == "bert" else ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj"]
    )
    inject_adapter_in_model(LoraConfig(r=4, lora_alpha=8, lora_dropout=dropout, target_modules=targets), model)
    torch.manual_seed(2)
    for key, value in model.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(value, std=0.3)
    model.train(bool(dropout))
    for layer in model.modules():
        if isinstance(layer, torch.nn.Dropout) and layer.p != dropout:
            layer.p = 0.0
    if dropout:
        drawn, stock_drawn = (drawn_states(model, wanted=wanted) for wanted in (True, False))
        spread = float(stock_drawn.std(dim=0).mean())
        assert 0.8 < float(drawn.std(dim=0).mean()) / spread < 1.25
        assert float((drawn.mean(dim=0) - stock_drawn.mean(dim=0)).abs().mean()) < 0.4 * spread
        return
    _, exact = gradients(model, "fp32", wanted=False)
    _, theirs = gradients(model, "bf16", wanted=False)
    fused, ours = gradients(model, "bf16", wanted=True)
    assert getattr(fused, FUSED).joined
    assert len(ours) == len(theirs) == len(exact)
    least = 0.02 * max(float(right.norm()) for right in exact)
    for mine, other, right in zip(ours, theirs, exact, strict=True):
        scale = max(least, float(right.norm()))
        gaps = float((mine - right).norm()) / scale, float((other - right).norm()) / scale
        assert gaps[0] < 1.3 * gaps[1] + 3e-3, gaps


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_nothing_is_multiplied_for_frozen_weights_or_below_the_first_adapter(name: str) -> None:
    """Forward, each layer is one half of the work. Back, what is frozen costs once for its input, and below nothing."""
    from peft import LoraConfig, inject_adapter_in_model
    from torch.utils.flop_counter import FlopCounterMode

    if kernels() is None:
        pytest.skip("no C compiler")
    stream, shares = stream_of(), []
    for layers in ("[01]", "1"):
        model = flattened(stock(name))
        names = "(query|key|value|dense)" if name == "bert" else "(q_proj|v_proj|o_proj|up_proj)"
        inject_adapter_in_model(LoraConfig(r=1, target_modules=rf".*layers?\.{layers}\..*{names}"), model)
        trunk: Any = Worker(Holder(model), "bf16").module.trunk
        with FlopCounterMode(display=False) as forward:
            states = run_trunk(trunk, stream)
        with FlopCounterMode(display=False) as back:
            torch.autograd.backward(states, torch.ones_like(states))
        shares.append(back.get_total_flops() / forward.get_total_flops())
    assert shares[0] < 1.3, "twice the forward pass would mean gradients of frozen weights"
    assert shares[1] < 0.6, "one layer of two"


MADE_AGAIN = {"bert": bert, "llama": llama, "qwen3": llama, "gemma3_text": llama}


def applied_modules(monkeypatch: pytest.MonkeyPatch, name: str, apply: Any) -> None:
    monkeypatch.setattr(MADE_AGAIN[name], "apply", apply)


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize("name", MADE_AGAIN)
def test_what_is_made_again_has_the_same_bits_and_is_not_held_meanwhile(
    name: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernels() is None:
        pytest.skip("no C compiler")
    model = flattened(stock(name)).train()
    for layer in model.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    read: list[Any] = []

    def watching(layer: Any, given: kept.Made) -> torch.Tensor:
        assert given.again is not None or not read, "the first layer of an encoder alone reads what dropout gave"
        read.append(weakref.ref(given.rows))
        return kept.apply(layer, given)

    applied_modules(monkeypatch, name, watching)
    worker: Any = Worker(Holder(copy.deepcopy(model)), dtype)
    states = run_trunk(worker.module.trunk, stream_of())
    held = [each for each in read if each() is not None]
    assert len(held) <= int(name == "bert"), "norms and gates are let go before the way back"
    del states
    applied_modules(monkeypatch, name, kept.apply)
    _, ours = gradients(model, dtype, wanted=True)
    applied_modules(monkeypatch, name, lambda layer, given: layer(given.rows))
    _, held_back = gradients(model, dtype, wanted=True)
    assert len(ours) == len(held_back) > 10
    assert all(torch.equal(mine, other) for mine, other in zip(ours, held_back, strict=True))


@pytest.mark.parametrize("name", KNOWN)
def test_layers_that_compute_again_give_the_same_bits_and_keep_less(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout of the layers included."""
    if kernels() is None:
        pytest.skip("no C compiler")
    model = flattened(stock(name)).train()
    found, sizes = [], []
    hooks = torch.autograd.graph.saved_tensors_hooks
    for wanted in (False, "mlp", True):
        set_recompute(model, wanted=wanted)
        torch.manual_seed(4)
        fused, grads = gradients(model, "bf16", wanted=True)
        assert getattr(fused, FUSED, None) is not None
        found.append(grads)
        worker: Any = Worker(Holder(copy.deepcopy(model)), "bf16")
        saved: list[int] = []

        def counting(pack: Any, unpack: Any, saved: list[int] = saved) -> Any:
            def keep(tensor: torch.Tensor) -> Any:
                packed = pack(tensor)
                is_weight = isinstance(tensor, torch.nn.Parameter) or isinstance(tensor._base, torch.nn.Parameter)
                saved.append(packed.nbytes if isinstance(packed, torch.Tensor) and not is_weight else 0)
                return packed

            return hooks(keep, unpack)

        monkeypatch.setattr(torch.autograd.graph, "saved_tensors_hooks", counting)
        with counting(lambda tensor: tensor, lambda tensor: tensor):
            run_trunk(worker.module.trunk, stream_of())
        monkeypatch.setattr(torch.autograd.graph, "saved_tensors_hooks", hooks)
        sizes.append(sum(saved))
    for others in found[1:]:
        assert all(torch.equal(mine, other) for mine, other in zip(found[0], others, strict=True))
    assert sizes[2] < 0.5 * sizes[0]
    assert sizes[2] < sizes[1] < 0.85 * sizes[0]


@pytest.mark.parametrize("frozen", [False, True])
def test_the_widest_rows_are_made_once_for_both_who_need_them(frozen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate needs them, and the projection behind it where its weight is trained; then they are let go."""
    if kernels() is None:
        pytest.skip("no C compiler")
    model = flattened(stock("llama")).train()
    set_recompute(model, wanted="mlp")
    for key, value in model.named_parameters():
        value.requires_grad_(not (frozen and "down_proj" in key))
    made: list[Any] = []
    calls: list[bool] = []

    class Twice(kept._Twice):
        def __init__(self, make: Any) -> None:
            made.append(self)
            super().__init__(make)

        def __call__(self) -> torch.Tensor:
            calls.append(self.made is None)
            return super().__call__()

    monkeypatch.setattr(kept, "_Twice", Twice)
    gradients(model, "bf16", wanted=True)
    assert len(made) == sum(calls) == model.config.num_hidden_layers
    assert frozen or all(each.made is None for each in made)


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_frozen_and_adapted_projections_are_not_joined_wrongly(name: str) -> None:
    """With one of three projections frozen, each is called by itself, and the frozen one gets no gradient."""
    if kernels() is None:
        pytest.skip("no C compiler")
    model = flattened(stock(name))
    frozen = [key for key, _ in model.named_parameters() if ".key." in key or "k_proj" in key]
    assert frozen
    for key, value in model.named_parameters():
        value.requires_grad_(key not in frozen)
    _, ours = gradients(model, "bf16", wanted=True)
    _, theirs = gradients(model, "bf16", wanted=False)
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert float((mine - other).norm()) < 0.05 * (float(other.norm()) + 0.1)
