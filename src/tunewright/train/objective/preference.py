"""Which of two answers is the better one, by the likelihoods that the model gives them; one loss a pair.

With pi and ref the log-probabilities of an answer under the model and the reference, c the chosen and r the rejected one, |.|
their tokens, and s the logistic function:

    dpo     -(1 - e) log s(b d) - e log s(-b d), d = (pi_c - ref_c) - (pi_r - ref_r)
            Rafailov et al. 2023, "Direct Preference Optimization", equation 7; label smoothing e: Mitchell 2023, "A note on DPO
            with noisy preferences"
    ipo     (d / tokens - 1 / (2 b))^2, each difference divided by the tokens of its answer
            Azar et al. 2024, "A General Theoretical Paradigm", equation 17
    simpo   -log s(b pi_c / |c| - b pi_r / |r| - g)                       Meng et al. 2024, "SimPO", equation 6
    orpo    -pi_c / |c| - b log s(log odds_c - log odds_r), odds = p / (1 - p), log p = pi / |.|
            Hong et al. 2024, "ORPO", equations 6 and 7

Shape letters: N pairs, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch.nn.functional import logsigmoid

from tunewright.infer.pairs import BEGINS, is_whole, kept_tokens


class Likelihoods(Protocol):
    """What a model of pairs gives: logs[N, 2] of the chosen and the rejected answer, lengths[N, 2], reference[N, 2]."""

    @property
    def logs(self) -> torch.Tensor:
        """Log-probabilities under the model."""
        ...

    @property
    def lengths(self) -> torch.Tensor:
        """Tokens."""
        ...

    @property
    def reference(self) -> torch.Tensor:
        """Log-probabilities under the reference."""
        ...


class Preference:
    """The losses of preferences between two answers."""

    def __init__(
        self,
        *,
        loss: Literal["dpo", "ipo", "simpo", "orpo"] = "dpo",
        beta: float = 0.1,
        gamma: float = 0.5,
        label_smoothing: float = 0.0,
    ) -> None:
        """``beta`` is b, ``gamma`` is g (simpo alone), ``label_smoothing`` is e (dpo alone)."""
        self.loss = loss
        self.beta = beta
        self.gamma = gamma
        self.label_smoothing = label_smoothing

    def __call__(self, outputs: Likelihoods, columns: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The summed loss and the number of pairs."""
        return self._of_pairs(outputs.logs, outputs.lengths, outputs.reference).sum(), self.count(columns)

    def judge(self, outputs: torch.Tensor, columns: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The same from logs, lengths and reference[N, 6] of each pair; one of which nothing is learnt does not count."""
        logs, lengths, reference = outputs[:, :2], outputs[:, 2:4], outputs[:, 4:]
        whole = (lengths > 0).all(dim=1)
        return self._of_pairs(logs[whole], lengths[whole], reference[whole]).sum(), whole.sum().to(outputs.dtype)

    def count(self, columns: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The number of pairs: answers that begin, of which a row has two or none."""
        return (columns["target"] >= BEGINS).sum().float() / 2

    def kept(self, targets: Any, most: int) -> Any:
        """The places of a pair's tokens that stay where a check takes few of them; none where it is no pair."""
        if not is_whole(targets):
            return np.zeros(0, dtype=np.int64)
        places = kept_tokens(targets, most)
        return places if is_whole(targets[places]) else places[:0]

    def _of_pairs(self, logs: torch.Tensor, lengths: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        means = logs / lengths
        if self.loss == "simpo":
            return -logsigmoid(self.beta * (means[:, 0] - means[:, 1]) - self.gamma)
        if self.loss == "orpo":
            odds = means - torch.log1p(-torch.exp(means.clamp(max=-1e-7)))
            return -means[:, 0] - self.beta * logsigmoid(odds[:, 0] - odds[:, 1])
        ratios = logs - reference
        if self.loss == "ipo":
            ratios = ratios / lengths
            return (ratios[:, 0] - ratios[:, 1] - 1 / (2 * self.beta)).square()
        margins = self.beta * (ratios[:, 0] - ratios[:, 1])
        return -(1 - self.label_smoothing) * logsigmoid(margins) - self.label_smoothing * logsigmoid(-margins)
