"""A transformers folder that lies in the package as it is: its files are taken unchanged."""

from __future__ import annotations

from tunewright.assets.convert.base import Material
from tunewright.store.artifact import Draft


class Folder:
    """A plain copy."""

    def convert(self, material: Material, draft: Draft) -> tuple[str, ...]:
        """Give every member its own name back."""
        for name, path in material.members.items():
            path.rename(draft.path(name.rpartition("/")[2]))
        return ()
