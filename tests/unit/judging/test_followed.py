"""What training tells the judges: its curves, and the training loss where the weights were kept."""

from __future__ import annotations

from typing import Any

import pytest

from tunewright.judging.followed import curves_of

LOSSES = (4.0, 3.0, 2.0, 1.5, 1.0, 0.5)


def events(values: tuple[float | None, ...], tokens: tuple[int, ...] = (10,) * 6) -> list[dict[str, Any]]:
    """Two steps an epoch, an evaluation after each epoch."""
    found: list[dict[str, Any]] = []
    for step, (loss, count) in enumerate(zip(LOSSES, tokens, strict=True), start=1):
        time = f"2026-01-01T00:00:0{step}.000Z"
        facts = {"step": step, "epoch": step / 2, "loss": loss, "num_tokens": count, "num_examples": 1, "time": time}
        found.append({"kind": "step", **facts})
        if step % 2 == 0:
            value = values[step // 2 - 1]
            found.append({"kind": "evaluation", "step": step, "epoch": step / 2, "value": value, "metrics": {}})
    return found


def test_the_training_loss_is_that_around_the_kept_step_and_not_the_last() -> None:
    assert curves_of(events((3.0, 2.0, 2.5)), False).kept_loss == pytest.approx((1.5 + 1.0) / 2)
    assert curves_of(events((3.0, 2.0, 1.5)), False).kept_loss == pytest.approx(0.5)
    assert curves_of(events((3.0, 2.0, 2.5)), True).kept_loss == pytest.approx((3.0 + 2.0) / 2)


def test_every_token_counts_once_and_a_lost_evaluation_is_none() -> None:
    uneven = curves_of(events((3.0, 2.0, 2.5), (10, 10, 10, 30, 10, 10)), False)
    assert uneven.kept_loss == pytest.approx((30 * 1.5 + 10 * 1.0) / 40)
    assert curves_of(events((None, None, None)), False).kept_loss is None
    assert curves_of([], False).kept_loss is None
