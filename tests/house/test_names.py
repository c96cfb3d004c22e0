"""The words that are used, and those that say nothing."""

from __future__ import annotations

import ast
import re

import tunewright
from sources import PACKAGE, REPOSITORY, parse, python_files, short

PUBLIC = ["examine", "predict", "predict_file", "replay", "run", "tune"]
"""What `tunewright` promises. A name is added or removed here by a commit that says why."""

BARRED = frozenset({"common", "handler", "helper", "helpers", "info", "manager", "misc", "processor", "util", "utils"})
"""Words that say nothing about what a thing is."""

MACHINE_PATHS = re.compile(r"(?<![\w.<>~-])/(?:root|work)/")
"""Folders of somebody's machine."""


def test_public_names_are_the_pinned_ones() -> None:
    assert sorted(getattr(tunewright, "__all__", [])) == PUBLIC
    assert all(hasattr(tunewright, name) for name in PUBLIC)


def test_no_barred_names() -> None:
    definitions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    found = [
        f"{short(path)}:{node.lineno} {node.name}"
        for path in python_files("src", "examples", "benchmarks")
        for node in ast.walk(parse(path))
        if isinstance(node, definitions) and BARRED & set(words(node.name))
    ]
    found += [short(path) for path in PACKAGE.rglob("*") if BARRED & set(words(path.stem))]
    assert found == []


def words(name: str) -> list[str]:
    """`read_file`, `ReadFile` and `readFile` are the words read and file."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def test_words_are_told_apart() -> None:
    assert words("HTTPHandler_of_files") == ["http", "handler", "of", "files"]


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    kinds = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".css", ".js", ".json", ""}
    built = {"runs", "build", "dist", "__pycache__"}
    found = []
    for path in sorted(REPOSITORY.rglob("*")):
        parts = set(path.relative_to(REPOSITORY).parts)
        hidden = {part for part in parts if part.startswith(".")} - {".ci", ".gitignore"}
        if path.is_file() and path.suffix in kinds and not parts & built and not hidden:
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [f"{short(path)}: {match.group()}" for match in MACHINE_PATHS.finditer(text)]
    assert found == []
