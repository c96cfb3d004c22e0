"""The model that is being served, held so that it can be exchanged between two requests.

A request takes a lease on the model that is there when it comes in and keeps it to its end. ``replace`` puts another one in
its place at once; the old one is closed when its last lease has ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tunewright.adapt.save import Tuned
from tunewright.adapt.save_tagger import TunedTagger
from tunewright.infer.conversation import Conversation


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """A loaded model: ``conversation`` for one that answers in text, ``tuned`` for one that classifies, ``tagger`` for spans.

    ``context_tokens`` is what it can read, prompt and answer together. ``checked`` names the golden sentences compared.
    """

    name: str
    folder: Path
    context_tokens: int
    conversation: Conversation | None = None
    tuned: Tuned | None = None
    tagger: TunedTagger | None = None
    checked: Sequence[str] = ()
    created: int = field(default_factory=lambda: int(time.time()))
    turn: threading.Lock = field(default_factory=threading.Lock)
    """Held while texts are labelled: one batch at a time has all cores."""

    @property
    def answers(self) -> str:
        """What it answers with: text, labels or spans."""
        return "labels" if self.tuned is not None else "spans" if self.tagger is not None else "text"

    def close(self) -> None:
        """Let go of the engine."""
        if self.conversation is not None:
            self.conversation.close()


class Served:
    """The one model that new requests are answered by."""

    def __init__(self, model: Model) -> None:
        """Serve ``model``, and close it once it has been replaced."""
        self._model = model
        self._leases: dict[Model, int] = {model: 0}
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The name of the model that new requests get."""
        return self._model.name

    @contextmanager
    def lease(self) -> Iterator[Model]:
        """The model of now, which stays open until the block ends."""
        with self._lock:
            model = self._model
            self._leases[model] += 1
        try:
            yield model
        finally:
            with self._lock:
                self._leases[model] -= 1
            self._close_unused()

    def swap(self, model: Model) -> None:
        """From now on, new requests are answered by ``model``."""
        with self._lock:
            self._model = model
            self._leases.setdefault(model, 0)
        self._close_unused()

    def close(self) -> None:
        """Close every model, also those with requests under way: these end early."""
        with self._lock:
            models, self._leases = list(self._leases), {self._model: 0}
        for model in models:
            model.close()

    def _close_unused(self) -> None:
        with self._lock:
            unused = [model for model, count in self._leases.items() if count == 0 and model is not self._model]
            for model in unused:
                del self._leases[model]
        for model in unused:
            model.close()
