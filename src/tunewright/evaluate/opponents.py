"""The systems that the tuned model has to beat: made, fitted on the training rows, asked for answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tunewright import extensions
from tunewright.errors import InputError
from tunewright.evaluate.out_of_fold import FitPredict
from tunewright.evaluate.score import better_first
from tunewright.evaluate.verdict import UNTOUCHED_BASE, show_value
from tunewright.seams import Baseline, Encoder
from tunewright.types import Choice, Classified, Tell, Text

if TYPE_CHECKING:
    from tunewright.types import Floats, Ints

FAMILY = "evaluate.baseline"
PATH = "evaluate.baselines"


class EncodeOnce:
    """An encoder that asks the one inside for each text only once, since every baseline and every fold asks again."""

    def __init__(self, encoder: Encoder) -> None:
        """Wrap ``encoder``."""
        self._encoder = encoder
        self._rows: dict[str, Floats] = {}

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Embeddings[N, H] of the texts."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._rows]
        if fresh:
            self._rows.update(zip(fresh, self._encoder(fresh), strict=True))
        return np.stack([self._rows[text] for text in texts])


def choose_opponents(
    requested: str | Sequence[str], of_task: Sequence[str], encoder: Encoder | None, kind: str = "labels"
) -> Choice:
    """The baselines to fit: those requested, or the task's; without an encoder, those that need none.

    ``kind`` is what has to be answered: ``labels`` or ``spans``. Raises InputError where a requested name does not exist, answers
    otherwise, or needs an encoder that is not there.
    """
    names = list(dict.fromkeys(of_task if isinstance(requested, str) else requested))
    _check_kind(names, kind)
    needing = [name for name in names if getattr(extensions.load(FAMILY, name), "needs_encoder", False)]
    if encoder is not None or not needing:
        return Choice(PATH, tuple(names), "the task's references" if isinstance(requested, str) else "asked for")
    if not isinstance(requested, str):
        raise InputError(
            "this baseline needs the embeddings of the base, and there are none here",
            where=PATH,
            given=", ".join(needing),
            allowed=", ".join(name for name in extensions.names(FAMILY) if name not in needing),
            hint=f"{PATH}=auto",
        )
    left = tuple(name for name in names if name not in needing)
    return Choice(PATH, left, f"left out, as there are no embeddings of the base: {', '.join(needing)}")


def describe_strongest(
    strongest: Sequence[str], validation: Mapping[str, Mapping[str, float | None]], metric: str
) -> Choice:
    """The baseline that decides beside the untouched base, with its score on the validation rows, as a choice."""
    path = "evaluate.strongest_baseline"
    value = validation.get(strongest[0], {}).get(metric) if len(strongest) == 1 else None
    if value is None:
        reason = "there is no validation score to choose by: all of them have to be beaten"
        return Choice(path, tuple(strongest), reason)
    reason = f"{show_value(metric, value)} {metric} on the validation rows, the most of the baselines"
    return Choice(path, strongest[0], reason)


def choose_writers(requested: str | Sequence[str], of_task: Sequence[str]) -> tuple[str, ...]:
    """The baselines that copy from the source: those requested, or the task's. Raises InputError as ``choose_opponents``."""
    if isinstance(requested, str):
        known = extensions.names(FAMILY)
        return tuple(name for name in of_task if name in known and _kind_of(name) == "text")
    _check_kind(requested, "text")
    return tuple(dict.fromkeys(requested))


def copies(
    name: str, sources: Mapping[str, Sequence[str]], references: Sequence[str], seed: int
) -> Callable[[Ints], Text]:
    """A baseline that copies, fitted on the training sources and references: what it writes for some test rows."""
    made: Any = extensions.load(FAMILY, name)
    baseline = made(seed=seed)
    baseline.fit(sources["train"], references)

    def write(rows: Ints) -> Text:
        texts = baseline.predict([sources["test"][row] for row in rows])
        return Text(tuple(texts), np.zeros(len(texts), np.int64), np.ones(len(texts), np.bool_))

    return write


def _kind_of(name: str) -> str:
    return str(getattr(extensions.load(FAMILY, name), "answers", "labels"))


def _check_kind(names: Sequence[str], kind: str) -> None:
    for name in names:
        if _kind_of(name) != kind:
            fitting = [each for each in extensions.names(FAMILY) if _kind_of(each) == kind]
            raise InputError(
                f"this baseline does not answer with {kind}",
                where=PATH,
                given=name,
                allowed=", ".join(fitting),
                hint=f"{PATH}=auto",
            )


def fit_opponents(
    names: Sequence[str], texts: Sequence[str], gold: Classified, encoder: Encoder | None, seed: int, tell: Tell
) -> dict[str, Baseline]:
    """Each baseline fitted on these training rows, in order."""
    fitted: dict[str, Baseline] = {}
    for number, name in enumerate(names):
        tell("baselines", number, len(names), name)
        fitted[name] = _fitted(name, texts, gold, encoder, seed)
    tell("baselines", len(names), len(names), "")
    return fitted


def refit_opponent(name: str, texts: Sequence[str], gold: Classified, encoder: Encoder | None, seed: int) -> FitPredict:
    """A function that fits a fresh baseline on some of the rows and answers others, for the out-of-fold design."""

    def fit_predict(train_rows: Ints, test_rows: Ints, repeat: int) -> Classified:
        fresh = _fitted(name, [texts[row] for row in train_rows], gold.take(train_rows), encoder, seed + repeat)
        return fresh.predict([texts[row] for row in test_rows], encoder)

    return fit_predict


def strongest_on_validation(
    names: Sequence[str], validation: Mapping[str, Mapping[str, float | None]], metric: str
) -> tuple[str, ...]:
    """The baseline with the best score on validation, the untouched base apart; all of them where none has a score."""
    rivals = [name for name in names if name != UNTOUCHED_BASE]
    scored = [name for name in rivals if validation.get(name, {}).get(metric) is not None]
    return tuple(better_first(scored, validation, metric)[:1]) or tuple(rivals)


def _fitted(name: str, texts: Sequence[str], gold: Classified, encoder: Encoder | None, seed: int) -> Baseline:
    made: Any = extensions.load(FAMILY, name)
    try:
        baseline: Baseline = made(seed=seed)
    except TypeError:
        baseline = made()
    baseline.fit(texts, gold, encoder)
    return baseline
