"""The source itself: what nothing but copying scores, and more than that where the target is a small change of it."""

from __future__ import annotations

from collections.abc import Sequence

from tunewright.config.base import ComponentConfig


class CopySource:
    """Answers with the source as it is."""

    title = "the source as it is"
    answers = "text"

    class Config(ComponentConfig):
        """Copying has no options."""

    def __init__(self, config: Config | None = None, *, seed: int = 0) -> None:
        """Nothing here is random, so ``seed`` changes nothing."""

    def fit(self, sources: Sequence[str], targets: Sequence[str]) -> None:
        """There is nothing to learn."""

    def predict(self, sources: Sequence[str]) -> list[str]:
        """The sources."""
        return list(sources)
