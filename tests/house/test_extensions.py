"""Every extension is one file, says what it is, knows no sibling, and is found in the docs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from sources import REPOSITORY, extension_class, families, imported, module_name, parse
from tunewright import extensions

FILES = [
    pytest.param(family, path, id=f"{family}.{path.stem}") for family, paths in families().items() for path in paths
]


def test_the_families_are_found() -> None:
    assert {"adapt.method", "adapt.task", "data.source", "evaluate.metric", "train.objective"} <= set(families())


@pytest.mark.parametrize(("family", "path"), FILES)
def test_an_extension_says_what_it_is(family: str, path: Path) -> None:
    declared = extension_class(path)
    assert declared is not None, f"{path.name} does not hold the class that its name says"
    assert path.stem in extensions.names(family)
    for node in (parse(path), declared):
        summary = (ast.get_docstring(node) or "").partition("\n")[0]
        assert summary.endswith((".", "?")), f"the first line of a docstring is its help: {summary!r}"


@pytest.mark.parametrize(("family", "path"), FILES)
def test_an_extension_knows_no_sibling(family: str, path: Path) -> None:
    siblings = {f"tunewright.{family}.{other}" for other in extensions.names(family)} - {module_name(path)}
    known = {full for _, full, _ in imported(parse(path))}
    assert not {name for name in known if any(f"{name}.".startswith(f"{sibling}.") for sibling in siblings)}


@pytest.mark.parametrize(("family", "path"), FILES)
def test_an_extension_is_in_the_docs(family: str, path: Path) -> None:
    pages = [page.read_text(encoding="utf-8") for page in sorted((REPOSITORY / "docs").glob("**/*.md"))]
    assert any(f"`{path.stem}`" in page for page in pages), (
        f"add a line about `{path.stem}` ({family}) to a page of docs/"
    )
