"""A model that has lost what it had: looked for at each evaluation, and the run stopped with the cause.

Three signs, each of which a healthy run can show, and what makes it evidence, at two evaluations in a row:

    one answer       the same label for every validation row, where the best model so far gave several; the loss is a
                     quarter above the lowest so far, and the metric under the best
    no doubt         the predictions' mean entropy under a hundredth of that of guessing (Shannon 1948, section 6)
    weights' norm    ten times what it was at the first evaluation
                     both: and the loss above, the metric under, those of the first evaluation

Rare labels that are not learnt yet are no collapse: nothing was lost. Nor is a model that is too sure while its metric holds.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from tunewright.errors import GateError
from tunewright.train.consumers import NOTHING, Consumer, Evaluation, finite
from tunewright.types import Directive, Floats

PATIENCE = 2
RISE = 1.25
NO_DOUBT = 0.01
RUNAWAY = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What an evaluation shows: whether all answers are one label, their entropy as a share of guessing's, the weights' norm.

    The first two are None where the outputs are not one label's logits.
    """

    one_answer: bool | None
    entropy: float | None
    weight_norm: float


def signs_of(outputs: Floats, targets: torch.Tensor, module: torch.nn.Module) -> Signs:
    """The signs in outputs[N, C] for targets[N, K], and in what the module trains."""
    trained = [parameter.detach() for parameter in module.parameters() if parameter.requires_grad]
    norm = float(torch.nn.utils.get_total_norm(trained)) if trained else 0.0
    one_label = targets.dim() == 2 and targets.shape[1] == 1 and outputs.ndim == 2 and outputs.shape[1] > 1
    if not one_label or bool((targets == targets[:1]).all()):
        return Signs(one_answer=None, entropy=None, weight_norm=norm)
    logits = torch.from_numpy(outputs)
    logs = logits.log_softmax(dim=1)
    entropy = float(-(logs.exp() * logs).sum(dim=1).mean()) / math.log(logits.shape[1])
    answers = logits.argmax(dim=1)
    return Signs(one_answer=bool((answers == answers[0]).all()), entropy=entropy, weight_norm=norm)


class StopWhenCollapsed(Consumer):
    """Compares each evaluation with the first and with the best so far."""

    def __init__(self, *, higher_is_better: bool, lr: float) -> None:
        """``lr`` is the peak rate, of which a tenth is proposed."""
        self.sign = 1.0 if higher_is_better else -1.0
        self.lr = lr
        self.seen: dict[str, Any] = {}
        self.num_in_a_row = 0

    def evaluated(self, evaluation: Evaluation) -> Collection[Directive]:
        """Count evaluations with evidence. Raises GateError at the second in a row."""
        signs, loss, value = evaluation.signs, evaluation.metrics.get("loss"), evaluation.value
        if signs is None or loss is None:
            return NOTHING
        score = finite(self.sign * value)
        cause = self._cause(signs, loss, score) if self.seen else ""
        self.num_in_a_row = self.num_in_a_row + 1 if cause else 0
        if self.num_in_a_row >= PATIENCE:
            raise GateError(
                f"the model has collapsed: {cause}",
                where=f"step {evaluation.step}",
                given=f"validation loss {loss:.4g}, lowest before {self.seen['lowest']:.4g}; metric {value:.4g}",
                allowed="a model that keeps what it has learnt; all with train.heal=false",
                hint=f"train.lr={self.lr / 10:g}",
            )
        self._remember(signs, loss, score)
        return NOTHING

    def state(self) -> dict[str, object]:
        """For the checkpoint."""
        return {"seen": dict(self.seen), "num_in_a_row": self.num_in_a_row}

    def restore(self, state: Mapping[str, Any]) -> None:
        """From the checkpoint."""
        self.seen, self.num_in_a_row = dict(state["seen"]), state["num_in_a_row"]

    def _cause(self, signs: Signs, loss: float, score: float | None) -> str:
        seen = self.seen
        if signs.one_answer and seen["several"] and _above(loss, RISE * seen["lowest"]) and _under(score, seen["best"]):
            return "it gives one answer to every validation row"
        if not (_above(loss, seen["loss"]) and _under(score, seen["score"])):
            return ""
        if signs.entropy is not None and not signs.entropy >= NO_DOUBT:
            return "it is sure of everything while its loss rises"
        if not signs.weight_norm <= RUNAWAY * seen["norm"]:
            return f"its weights' norm has grown from {seen['norm']:.4g} to {signs.weight_norm:.4g}"
        return ""

    def _remember(self, signs: Signs, loss: float, score: float | None) -> None:
        if not math.isfinite(loss) or score is None:
            return
        if not self.seen:
            self.seen = {"loss": loss, "score": score, "norm": signs.weight_norm, "best": -math.inf, "lowest": loss}
        if score >= self.seen["best"]:
            self.seen |= {"best": score, "several": signs.one_answer is False}
        self.seen["lowest"] = min(self.seen["lowest"], loss)


def _above(loss: float, limit: float) -> bool:
    """Whether a loss lies above the limit; one that is not finite does."""
    return not loss <= limit


def _under(score: float | None, limit: float) -> bool:
    return score is None or score < limit
