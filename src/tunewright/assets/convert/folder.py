"""A transformers folder that lies in the package as it is: its files are taken unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tunewright.store.artifact import Draft
from tunewright.types import Tell


class Folder:
    """A plain copy."""

    def convert(
        self, members: Mapping[str, Path], options: Mapping[str, object], result: str, draft: Draft, tell: Tell
    ) -> tuple[str, ...]:
        """Give every member its own name back."""
        for name, path in members.items():
            path.rename(draft.path(name.rpartition("/")[2]))
        return ()
