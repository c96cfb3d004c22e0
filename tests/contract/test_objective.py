"""Every file in ``train/objective`` is an objective: a summed loss, the count that normalises it, gradients, no cut seen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tunewright import extensions
from tunewright.infer.likelihood import Predictions

NAMES = extensions.names("train.objective")


class AbsoluteError:
    """The seam's fake: the least that an objective can be."""

    def __call__(self, logits: torch.Tensor, columns: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return (logits - columns["target"][:, :1]).abs().mean(dim=1).sum(), self.count(columns)

    def count(self, columns: Any) -> torch.Tensor:
        return torch.tensor(float(len(columns["target"])))


CASES = [
    (name, width)
    for name in NAMES
    for width in {"binary_cross_entropy": (1, 3), "mean_squared_error": (1, 3)}.get(name, (1,))
]
"""Each objective with the targets to a row that it reads: one (an index as well as a yes or no), or one an output."""


TOKENS = "token_cross_entropy"
"""The one that reads states before a head, with a weight to each token, and not logits."""

TAGS = "tag_cross_entropy"
"""The one that reads logits with the right tags beside them; a word's token has its tag's number plus one."""


PAIRS = "preference"
"""The one that reads the likelihoods of two answers; each begins with a target of 4 or more."""


class Case:
    """An objective with its own defaults, what it reads of six rows (a tensor that takes gradients), and their targets."""

    def __init__(self, name: str, width: int) -> None:
        self.objective: Any = AbsoluteError() if name == "a fake" else extensions.load("train.objective", name)()
        self.is_of_tokens = name == TOKENS
        self.given = torch.randn(
            6, {"cross_entropy": 3, TAGS: 3, TOKENS: 4, PAIRS: 2}.get(name, width), requires_grad=True
        )
        self.is_of_tags = name == TAGS
        self.target = torch.rand(6) + 0.5 if self.is_of_tokens else torch.randint(0, 2, (6, width)).float()
        self.is_of_pairs = name == PAIRS
        if self.is_of_pairs:
            self.target = torch.full((6, 2), 4.0)
        if self.is_of_tags:
            self.target = torch.randint(1, 4, (6,)).float()
        self.head, self.ids = torch.randn(7, 4), torch.randint(0, 7, (6,))

    def loss(self, rows: slice = slice(None)) -> tuple[torch.Tensor, torch.Tensor]:
        outputs: Any = self.given[rows]
        if self.is_of_tokens:
            ids, owners = self.ids[rows], torch.arange(6)[rows]
            outputs = Predictions(outputs, self.head, None, ids, self.target[rows], owners)
        if self.is_of_pairs:
            outputs = SimpleNamespace(
                logs=outputs, lengths=torch.full((6, 2), 3.0)[rows], reference=torch.zeros(6, 2)[rows]
            )
        if self.is_of_tags:
            outputs = SimpleNamespace(logits=outputs, tags=self.target[rows].long() - 1)
        found: tuple[torch.Tensor, torch.Tensor] = self.objective(outputs, {"target": self.target[rows]})
        return found


@pytest.fixture(params=[*CASES, ("a fake", 1)], ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(*request.param)


def test_it_sums_and_counts(case: Case) -> None:
    loss, count = (each.detach() for each in case.loss())
    assert loss.shape == count.shape == ()
    assert loss.dtype == torch.float32
    assert float(loss) >= 0
    assert float(count) > 0
    assert not case.loss()[1].requires_grad
    assert float(count) == float(case.objective.count({"target": case.target}))


def test_each_row_adds_its_own(case: Case) -> None:
    whole, count = (each.detach() for each in case.loss())
    parts = [case.loss(slice(row, row + 1)) for row in range(6)]
    assert float(sum(loss.detach() for loss, _ in parts)) == pytest.approx(float(whole), rel=1e-5)
    assert float(sum(part for _, part in parts)) == pytest.approx(float(count))


def test_whatever_it_reads_has_a_finite_gradient(case: Case) -> None:
    torch.autograd.backward(case.loss()[0])
    assert case.given.grad is not None
    assert torch.isfinite(case.given.grad).all()
    assert case.given.grad.abs().sum(dim=1).min() > 0


def test_it_is_the_same_each_time_and_leaves_its_input_alone(case: Case) -> None:
    given, target = case.given.detach().clone(), case.target.clone()
    first, second = (float(case.loss()[0].detach()) for _ in range(2))
    assert first == second
    assert torch.equal(case.given, given)
    assert torch.equal(case.target, target)
