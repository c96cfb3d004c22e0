"""Every file in ``train/objective`` is an objective: a summed loss, the count that normalises it, gradients, no cut seen."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tunewright import extensions

NAMES = extensions.names("train.objective")


class AbsoluteError:
    """The seam's fake: the least that an objective can be."""

    def __call__(self, logits: torch.Tensor, columns: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return (logits - columns["target"][:, :1]).abs().mean(dim=1).sum(), self.count(columns)

    def count(self, columns: Any) -> torch.Tensor:
        return torch.tensor(float(len(columns["target"])))


CASES = [(name, width) for name in NAMES for width in {"binary_cross_entropy": (1, 3)}.get(name, (1,))]
"""Each objective with the targets to a row that it reads: one (an index as well as a yes or no), or one an output."""


@pytest.fixture(params=[*CASES, ("a fake", 1)], ids=str)
def case(request: pytest.FixtureRequest) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """An objective with its own defaults, logits[6, C] and target[6, K]."""
    name, width = request.param
    made = AbsoluteError() if name == "a fake" else extensions.load("train.objective", name)()
    logits = torch.randn(6, {"cross_entropy": 3}.get(name, width), requires_grad=True)
    return made, logits, torch.randint(0, 2, (6, width)).float()


def test_it_sums_and_counts(case: Any) -> None:
    objective, logits, target = case
    loss, count = objective(logits.detach(), {"target": target})
    assert loss.shape == count.shape == ()
    assert loss.dtype == torch.float32
    assert float(loss) >= 0
    assert float(count) > 0
    assert not count.requires_grad
    assert float(count) == float(objective.count({"target": target}))


def test_each_row_adds_its_own(case: Any) -> None:
    objective, logits, target = case
    logits = logits.detach()
    whole, count = objective(logits, {"target": target})
    parts = [objective(logits[row : row + 1], {"target": target[row : row + 1]}) for row in range(6)]
    assert float(sum(loss for loss, _ in parts)) == pytest.approx(float(whole), rel=1e-5)
    assert float(sum(part for _, part in parts)) == pytest.approx(float(count))


def test_every_logit_has_a_finite_gradient(case: Any) -> None:
    objective, logits, target = case
    torch.autograd.backward(objective(logits, {"target": target})[0])
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().sum(dim=1).min() > 0


def test_it_is_the_same_each_time_and_leaves_its_input_alone(case: Any) -> None:
    objective, logits, target = case
    logits, columns = logits.detach(), {"target": target.clone()}
    before = logits.clone()
    first, second = (float(objective(logits, columns)[0]) for _ in range(2))
    assert first == second
    assert torch.equal(logits, before)
    assert torch.equal(columns["target"], target)
