"""Each objective equals its formula written out in numpy, in value and in gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tunewright.train.train import make_loss
from tunewright.types import Floats, Objective

LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0], [-3.0, 4.0, 1.0], [30.0, -30.0, 0.25], [1.5, 1.0, -2.0]])
CLASSES = np.array([0, 2, 0, 1, 1])
MULTI = np.array([[0, 1, 1], [0, 0, 0], [1, 1, 1], [0, 0, 1], [1, 0, 0]], dtype=np.float64)

Formula = Callable[[Floats], float]


def cross_entropy(smoothing: float = 0.0, weights: tuple[float, ...] = (1, 1, 1)) -> Formula:
    """Mean of -sum_c w_c q_c log p_c over the rows, each row counted by the weight of its label."""

    def mean(logits: Floats) -> float:
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        q = (1 - smoothing) * np.eye(3)[CLASSES] + smoothing / 3
        w = np.array(weights)
        return float(-(w * q * log_p).sum() / w[CLASSES].sum())

    return mean


def binary_cross_entropy(
    smoothing: float = 0.0, positive: tuple[float, ...] = (1, 1, 1), target: Floats = MULTI
) -> Formula:
    """Mean of -[w q log s(x) + (1 - q) log(1 - s(x))] over rows and outputs."""

    def mean(logits: Floats) -> float:
        log_yes, log_no = -np.log1p(np.exp(-logits)), -np.log1p(np.exp(logits))
        q = (1 - smoothing) * target + smoothing / 2
        return float(-(np.array(positive) * q * log_yes + (1 - q) * log_no).mean())

    return mean


def focal(gamma: float, smoothing: float = 0.0, weights: tuple[float, ...] = (1, 1, 1)) -> Formula:
    """Lin et al. 2017, equation 4, for several classes: each term of the cross-entropy times (1 - p_c)^gamma."""

    def mean(logits: Floats) -> float:
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        q = (1 - smoothing) * np.eye(3)[CLASSES] + smoothing / 3
        w = np.array(weights)
        return float(-(w * q * (1 - p) ** gamma * np.log(p)).sum() / w[CLASSES].sum())

    return mean


def binary_focal(gamma: float, smoothing: float = 0.0, positive: tuple[float, ...] = (1, 1, 1)) -> Formula:
    """The same for independent outputs, with alpha as the weight of positives."""

    def mean(logits: Floats) -> float:
        yes, q = 1 / (1 + np.exp(-logits)), (1 - smoothing) * MULTI + smoothing / 2
        hard_yes, hard_no = (1 / (1 + np.exp(logits))) ** gamma, yes**gamma
        log_yes, log_no = -np.log1p(np.exp(-logits)), -np.log1p(np.exp(logits))
        return float(-(np.array(positive) * q * hard_yes * log_yes + (1 - q) * hard_no * log_no).mean())

    return mean


def mean_squared_error(outputs: Floats) -> float:
    return float(np.mean((outputs - MULTI) ** 2))


CASES: list[tuple[str, Mapping[str, object], Formula]] = [
    ("cross_entropy", {}, cross_entropy()),
    ("cross_entropy", {"label_smoothing": 0.2}, cross_entropy(0.2)),
    ("cross_entropy", {"class_weights": [0.5, 2.0, 3.0]}, cross_entropy(0.0, (0.5, 2, 3))),
    ("cross_entropy", {"class_weights": [0.5, 2.0, 3.0], "label_smoothing": 0.1}, cross_entropy(0.1, (0.5, 2, 3))),
    ("binary_cross_entropy", {}, binary_cross_entropy()),
    ("binary_cross_entropy", {"label_smoothing": 0.2}, binary_cross_entropy(0.2)),
    ("binary_cross_entropy", {"positive_weights": [0.5, 2.0, 3.0]}, binary_cross_entropy(0.0, (0.5, 2, 3))),
    ("cross_entropy", {"focal_gamma": 2.0}, focal(2.0)),
    ("cross_entropy", {"focal_gamma": 0.5}, focal(0.5)),
    ("cross_entropy", {"focal_gamma": 1e-12, "label_smoothing": 0.2}, cross_entropy(0.2)),
    (
        "cross_entropy",
        {"focal_gamma": 3.0, "label_smoothing": 0.1, "class_weights": [0.5, 2.0, 3.0]},
        focal(3.0, 0.1, (0.5, 2, 3)),
    ),
    ("binary_cross_entropy", {"focal_gamma": 2.0}, binary_focal(2.0)),
    ("binary_cross_entropy", {"focal_gamma": 0.5, "label_smoothing": 0.1}, binary_focal(0.5, 0.1)),
    ("binary_cross_entropy", {"focal_gamma": 1e-12}, binary_cross_entropy()),
    (
        "binary_cross_entropy",
        {"focal_gamma": 1.0, "positive_weights": [0.5, 2.0, 3.0]},
        binary_focal(1.0, 0.0, (0.5, 2, 3)),
    ),
    ("mean_squared_error", {}, mean_squared_error),
]


def target_of(name: str) -> torch.Tensor:
    values = CLASSES[:, None] if name == "cross_entropy" else MULTI
    return torch.tensor(values, dtype=torch.float32)


@pytest.mark.parametrize(("name", "options", "formula"), CASES)
def test_value_and_gradient_are_the_formulas(name: str, options: Mapping[str, Any], formula: Formula) -> None:
    logits = torch.tensor(LOGITS, dtype=torch.float32, requires_grad=True)
    loss, count = make_loss(Objective(name, options))(logits, {"target": target_of(name)})
    torch.autograd.backward(loss / count)
    assert loss.item() / count.item() == pytest.approx(formula(LOGITS), rel=1e-6)
    assert logits.grad is not None
    assert np.abs(logits.grad.numpy() - by_finite_differences(formula)).max() < 1e-6


def by_finite_differences(formula: Formula, step: float = 1e-4) -> Floats:
    gradient = np.zeros_like(LOGITS)
    for index in np.ndindex(*LOGITS.shape):
        moved = np.zeros_like(LOGITS)
        moved[index] = step
        gradient[index] = (formula(LOGITS + moved) - formula(LOGITS - moved)) / (2 * step)
    return gradient


@pytest.mark.parametrize(("name", "options", "formula"), CASES)
def test_parts_sum_to_the_whole(name: str, options: Mapping[str, Any], formula: Formula) -> None:
    """Summed losses over summed counts are the mean of all the rows, wherever the batch is cut."""
    function = make_loss(Objective(name, options))
    logits, target = torch.tensor(LOGITS, dtype=torch.float32), target_of(name)
    parts = [function(logits[rows], {"target": target[rows]}) for rows in (slice(0, 1), slice(1, 4), slice(4, 5))]
    total = sum(float(count) for _, count in parts)
    assert total == float(function.count({"target": target}))
    assert sum(float(loss) for loss, _ in parts) / total == pytest.approx(formula(LOGITS), rel=1e-6)


def test_defaults_are_torchs_own_means() -> None:
    logits = torch.tensor(LOGITS, dtype=torch.float32)
    loss, count = make_loss(Objective("cross_entropy"))(logits, {"target": target_of("cross_entropy")})
    assert torch.isclose(loss / count, functional.cross_entropy(logits, torch.tensor(CLASSES)))
    loss, count = make_loss(Objective("binary_cross_entropy"))(logits, {"target": target_of("multi")})
    assert torch.isclose(loss / count, functional.binary_cross_entropy_with_logits(logits, target_of("multi")))
    loss, count = make_loss(Objective("mean_squared_error"))(logits, {"target": target_of("multi")})
    assert torch.isclose(loss / count, functional.mse_loss(logits, target_of("multi")))


def test_the_focal_loss_looks_away_from_what_is_easy() -> None:
    """At p = 0.9 and gamma = 2 a row weighs a hundredth, at p = 0.5 a quarter (Lin et al. 2017, section 3.2)."""
    logits = torch.tensor([[np.log(9.0), 0.0], [0.0, 0.0]], dtype=torch.float32)
    target = torch.zeros(2, 1)
    for row, share in ((0, 0.01), (1, 0.25)):
        columns = {"target": target[row : row + 1]}
        plain, hard = (
            float(make_loss(Objective("cross_entropy", {"focal_gamma": gamma}))(logits[row : row + 1], columns)[0])
            for gamma in (0.0, 2.0)
        )
        assert hard / plain == pytest.approx(share, rel=1e-4)


@pytest.mark.parametrize("gamma", [0.0, 0.01, 0.5, 1.0, 2.0, 10.0])
@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy"])
def test_huge_logits_give_a_finite_loss_and_gradient(name: str, gamma: float) -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0]] * 5, requires_grad=True)
    loss, _ = make_loss(Objective(name, {"focal_gamma": gamma}))(logits, {"target": target_of(name)})
    torch.autograd.backward(loss)
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_bf16_logits_are_summed_in_fp32() -> None:
    logits = torch.zeros(1000, 3, dtype=torch.bfloat16)
    loss, _ = make_loss(Objective("cross_entropy"))(logits, {"target": torch.zeros(1000, 1)})
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(1000 * np.log(3), rel=1e-5)
