"""Size is a budget. A ceiling is raised only by a commit that argues for it."""

from __future__ import annotations

import ast
import warnings

import pytest

from sources import parse, python_files, short

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 80
PACKAGE_LINES_TO_WARN = 30_000
MAX_PACKAGE_LINES = 60_000


def test_no_file_is_too_long() -> None:
    files = python_files("src", "tests", "examples", "benchmarks")
    lengths = {short(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {path: length for path, length in lengths.items() if length > MAX_FILE_LINES} == {}


def test_no_function_is_too_long() -> None:
    too_long = {
        f"{short(path)}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for path in python_files("src", "tests", "examples", "benchmarks")
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    }
    assert too_long == {}


@pytest.mark.filterwarnings("default:the package has grown")
def test_the_package_stays_small() -> None:
    total = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in python_files("src"))
    assert total <= MAX_PACKAGE_LINES
    if total > PACKAGE_LINES_TO_WARN:
        warnings.warn(f"the package has grown to {total:,} lines", stacklevel=1)
