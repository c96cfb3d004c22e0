"""Results come back in the order given, whatever the order of work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tunewright.infer.load import load_tokenizer, load_trunk
from tunewright.infer.predict import make_encoder, predict_logits
from tunewright.types import Batch


class FirstAndLength(nn.Module):
    """Logits that say which row this is: its first token and its length; notes the sizes of the batches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.sizes: list[int] = []
        self.modes: list[bool] = []

    def forward(self, batch: Batch) -> torch.Tensor:
        stream = batch.streams["source"]
        lengths = stream.bounds[1:] - stream.bounds[:-1]
        self.sizes.append(len(lengths) * int(lengths.max()))
        self.modes.append(self.training)
        return torch.stack([stream.ids[stream.bounds[:-1]], lengths], dim=1) * self.weight


ROWS = [[5, 0, 0], [9], [7, 0, 0, 0, 0, 0], [3, 0], [8, 0, 0]]
WANTED = [[5, 3], [9, 1], [7, 6], [3, 2], [8, 3]]


@pytest.mark.parametrize("tokens_per_batch", [1, 6, 7, 1000])
def test_rows_come_back_in_the_order_given(tokens_per_batch: int) -> None:
    module = FirstAndLength()
    told: list[tuple[str, float, float | None, str]] = []
    found = predict_logits(
        module, ROWS, tokens_per_batch=tokens_per_batch, tell=lambda *facts: told.append(facts), label="judging"
    )
    assert found.tolist() == WANTED
    assert found.dtype == np.float64
    assert all(size <= max(6, tokens_per_batch) for size in module.sizes)
    assert told[-1] == ("judging", 5, 5, "")


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_evaluation_and_comes_back(training: bool) -> None:
    module = FirstAndLength().train(training)
    predict_logits(module, ROWS)
    assert set(module.modes) == {False}
    assert module.training is training


def test_the_mode_comes_back_after_a_failure() -> None:
    module = FirstAndLength()
    module.forward = None  # type: ignore[assignment,method-assign]
    with pytest.raises(TypeError):
        predict_logits(module, ROWS)
    assert module.training


def test_no_rows_give_no_logits() -> None:
    assert predict_logits(FirstAndLength(), []).shape == (0, 0)


def test_what_a_model_caches_while_predicting_still_serves_training() -> None:
    """Tensors made in inference mode could not."""

    class Caching(FirstAndLength):
        scale: Any = None

        def forward(self, batch: Batch) -> torch.Tensor:
            if self.scale is None:
                self.scale = torch.ones(2)
            logits: torch.Tensor = super().forward(batch) * self.scale
            return logits

    module = Caching()
    predict_logits(module, ROWS[:1])
    torch.autograd.backward((module.weight * module.scale).sum())
    assert module.weight.grad == 2


def test_an_encoder_reads_both_languages_and_repeats_itself(tiny_bert_folder: Path) -> None:
    trunk = load_trunk(tiny_bert_folder).train()
    encode = make_encoder(trunk, load_tokenizer(tiny_bert_folder), max_length=16)
    texts = ["a good film", "", "这部电影很好看", "a good film", "bad " * 100]
    found = encode(texts)
    assert found.shape == (5, 32)
    assert np.isfinite(found).all()
    assert np.abs(found[0] - found[3]).max() < 1e-5
    assert np.abs(found - encode(texts)).max() == 0
    assert np.abs(found - encode(texts[::-1])[::-1]).max() < 1e-5
