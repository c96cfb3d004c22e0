"""The pages of docs/ that are generated from the code. `make reference` writes them; a test says when they are old."""

from __future__ import annotations

from sources import REPOSITORY, families


def pages() -> dict[str, str]:
    """File name below docs/ -> what it must hold."""
    from tunewright.config.reference import extension_reference, reference
    from tunewright.recipe import Recipe

    return {"reference.md": reference(Recipe), "extensions.md": extension_reference(list(families()))}


if __name__ == "__main__":
    for name, text in pages().items():
        (REPOSITORY / "docs" / name).write_text(text, encoding="utf-8")
