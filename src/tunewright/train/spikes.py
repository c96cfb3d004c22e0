"""Medicine for spikes: an update whose loss and gradient norm lie far out is taken back, its rows named, its batch passed over.

The rule. A window keeps loss and gradient norm of the last 64 updates that were applied; the first 32 are the warm-up. A spike
is an update whose logarithms lie above the window's medians by more than 10 (loss) and 5 (norm) scaled median absolute
deviations (Rousseeuw and Croux 1993, section 1: 1.4826 MAD; here never under 0.1, a tenth of the value), and whose loss lies
above the median of the warm-up, that of a model which has learnt nothing yet. All together, since a mislabelled row late in
training has a large share of a small loss.

The answer. Weights, moments and every memory go back to the last commit, the updates up to the spike are made again, bit for bit,
and that of the spike is left out. At the second spike within 64 updates the rate is also halved for the next 64; at the sixth
within 1,000 the run stops. All of it follows from (seed, step) and the incidents, which each commit holds, so that a run killed
in the middle of it ends with the same bits.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from tunewright.errors import GateError
from tunewright.train.consumers import NOTHING, Consumer
from tunewright.types import Directive, Step

WINDOW = 64
WARM = 32
LOSS_FAR_OUT = 10.0
NORM_FAR_OUT = 5.0
LEAST_SPREAD = 0.1
MOST_INCIDENTS = 5
SPAN = 1000
"""More than ``MOST_INCIDENTS`` within this many updates are not a matter of some bad rows."""

_TINY = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A spike: the update (counted from 1), what it showed, what the window before it showed (medians), and its rows."""

    step: int
    loss: float
    gradient_norm: float
    usual_loss: float
    usual_norm: float
    row_ids: tuple[int, ...]

    @property
    def sentence(self) -> str:
        """What was seen, in one line."""
        seen = f"loss {self.loss:.4g} where {self.usual_loss:.4g} is usual"
        return f"{seen}, gradient norm {self.gradient_norm:.4g} where {self.usual_norm:.4g} is"


class Spikes(Consumer):
    """Finds spikes, and says what share of its rate each update is given."""

    def __init__(self, lr: float) -> None:
        """``lr`` is the peak rate, of which a tenth is proposed when the run is given up."""
        self.lr = lr
        self.window: deque[tuple[float, float]] = deque(maxlen=WINDOW)
        self.beginning: float | None = None
        self.incidents: list[Incident] = []
        self.found: Incident | None = None

    def saw(self, step: Step) -> Collection[Directive]:
        """Compare with the window. The end of the warm-up is committed, so that there is always a state to go back to."""
        if step.skipped:
            return NOTHING
        if self.beginning is not None and self._is_far_out(step, self.beginning):
            usual_loss, usual_norm = (median(values) for values in zip(*self.window, strict=True))
            self.found = Incident(
                step=step.step,
                loss=step.loss,
                gradient_norm=step.gradient_norm,
                usual_loss=usual_loss,
                usual_norm=usual_norm,
                row_ids=step.row_ids,
            )
            return (Directive.ROLL_BACK,)
        self.window.append((step.loss, step.gradient_norm))
        if self.beginning is None and len(self.window) == WARM:
            self.beginning = median(loss for loss, _ in self.window)
            return (Directive.COMMIT,)
        return NOTHING

    def take_in(self, incident: Incident) -> None:
        """Note an incident, once the state before it is restored. Raises GateError where there are too many."""
        self.incidents.append(incident)
        recent = [each for each in self.incidents if incident.step - each.step < SPAN]
        if len(recent) > MOST_INCIDENTS:
            rows = ", ".join(str(row) for row in incident.row_ids[:8])
            raise GateError(
                f"{len(recent)} spikes within {SPAN:,} updates: the training diverges",
                where=f"step {incident.step}",
                given=f"{incident.sentence}; rows {rows} ...",
                allowed=f"{MOST_INCIDENTS} spikes, each taken back and its batch passed over; all with train.heal=false",
                hint=f"train.lr={self.lr / 10:g}",
            )

    def share(self, step: int) -> float:
        """The share of its rate that update ``step`` (0-based) is given; one of 0 is not made."""
        number, bad = step + 1, [incident.step for incident in self.incidents]
        if number in bad:
            return 0.0
        again = [late for late in bad if any(0 < late - early <= WINDOW for early in bad)]
        return float(0.5 ** sum(late < number <= late + WINDOW for late in again))

    def state(self) -> dict[str, object]:
        """For the checkpoint."""
        incidents = [asdict(incident) for incident in self.incidents]
        return {"window": [list(pair) for pair in self.window], "beginning": self.beginning, "incidents": incidents}

    def restore(self, state: Mapping[str, Any]) -> None:
        """From the checkpoint."""
        self.window = deque((tuple(pair) for pair in state["window"]), maxlen=WINDOW)
        self.beginning = state["beginning"]
        self.incidents = [
            Incident(**{**incident, "row_ids": tuple(incident["row_ids"])}) for incident in state["incidents"]
        ]

    def _is_far_out(self, step: Step, beginning: float) -> bool:
        losses, norms = zip(*self.window, strict=True)
        return (
            step.loss > beginning
            and _deviations(step.loss, losses) > LOSS_FAR_OUT
            and _deviations(step.gradient_norm, norms) > NORM_FAR_OUT
        )


def _deviations(value: float, window: Sequence[float]) -> float:
    """How many scaled MADs the logarithm of a value lies above the window's median."""
    logs = [math.log(max(each, _TINY)) for each in window]
    middle = median(logs)
    spread = 1.4826 * median(abs(each - middle) for each in logs)
    return (math.log(max(value, _TINY)) - middle) / max(spread, LEAST_SPREAD)
