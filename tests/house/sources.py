"""The source files as the house gates read them: paths, syntax trees, families of extensions, calls by full name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "src" / "tunewright"


def python_files(*folders: str) -> list[Path]:
    """Every Python file below some folders of the repository, sorted."""
    return sorted(path for folder in folders for path in (REPOSITORY / folder).rglob("*.py"))


@cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of one file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def short(path: Path) -> str:
    """A path as it is written in messages and lists: below the repository, with forward slashes."""
    return path.relative_to(REPOSITORY).as_posix()


def module_name(path: Path) -> str:
    """The name under which a file of the package is imported."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> list[str]:
    """The names of all modules of the package."""
    return [module_name(path) for path in python_files("src/tunewright")]


def families() -> dict[str, list[Path]]:
    """The extension files by family: sub-packages of a stage whose files each hold the class that the file name says."""
    found: dict[str, list[Path]] = {}
    for folder in sorted(path.parent for path in PACKAGE.glob("*/*/__init__.py")):
        files = [path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_") and path.stem != "base"]
        if any(extension_class(path) for path in files):
            found[f"{folder.parent.name}.{folder.name}"] = files
    return found


def extension_class(path: Path) -> ast.ClassDef | None:
    """The class of an extension file: its name in CamelCase."""
    name = "".join(part.capitalize() for part in path.stem.split("_"))
    return next((node for node in parse(path).body if isinstance(node, ast.ClassDef) and node.name == name), None)


def imported(tree: ast.AST) -> Iterator[tuple[str, str, int]]:
    """Every imported thing as (local name, full dotted name, line)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0], alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}", node.lineno


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call with the full name of what is called: `from os import system as s; s()` is `os.system`."""
    known = {local: full for local, full, _ in imported(tree) if not full.startswith(f"{local}.")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, dot, rest = dotted(node.func).partition(".")
            yield known.get(first, first) + dot + rest, node


def dotted(node: ast.expr) -> str:
    """`a.b.c` for an attribute chain; what is computed stands as an empty name (`f().x` is `.x`)."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def without_type_checking(path: Path) -> ast.Module:
    """The tree of a file without the imports that only the type checker sees."""

    class Drop(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
            return node.orelse if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)

    tree = ast.parse(path.read_text(encoding="utf-8"))
    Drop().visit(tree)
    return tree
