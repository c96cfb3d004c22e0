"""What is imported is declared: a bare installation holds all that the package needs, the `dev` extra all that tests do."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from sources import REPOSITORY, imported, python_files, without_type_checking

PART_OF = {"pydantic-core": "pydantic", "starlette": "fastapi"}
"""Distributions that belong to another, which pins them."""

THROUGH = {
    "accelerate": "transformers reads a GGUF file with it",
    "gguf": "transformers reads a GGUF file with it",
}
"""What another package needs for what this one asks of it."""


EXTRAS = ("search", "serve")
"""What some commands need and others do not; imported late, with an error that names the extra."""


def declared(*extras: str) -> set[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    return {re.split(r"[\s<>=!~;\[]", line)[0].lower() for line in lines}


def needed(*folders: str) -> dict[str, str]:
    """Every distribution that the files import when they run, and one place where."""
    distributions = packages_distributions()
    own = {
        "tunewright",
        *(path.stem for path in python_files(*folders) if folders != ("src",)),
    }  # src names itself whole
    found: dict[str, str] = {}
    for path in python_files(*folders):
        for _, full, line in imported(without_type_checking(path)):
            package = full.partition(".")[0]
            if package not in sys.stdlib_module_names and package not in own:
                for distribution in distributions.get(package, [package]):
                    name = distribution.lower().replace("_", "-")
                    found[PART_OF.get(name, name)] = f"{path.name}:{line}"
    return found


def test_the_package_declares_what_it_imports() -> None:
    assert {name: place for name, place in needed("src").items() if name not in declared(*EXTRAS)} == {}


def test_the_tests_import_what_the_dev_extra_declares() -> None:
    found = needed("tests", "examples", "benchmarks")
    lines = (REPOSITORY / "benchmarks/peers.txt").read_text(encoding="utf-8").splitlines()
    beside = {line.partition("==")[0] for line in lines}  # what the peers' programs find in their own environment
    assert {
        name: place
        for name, place in found.items()
        if name not in declared("dev", *EXTRAS) and not (name in beside and place.startswith("_peer_"))
    } == {}


def test_the_package_imports_what_it_declares() -> None:
    assert declared(*EXTRAS) - set(needed("src")) - set(THROUGH) == set()
    assert set(THROUGH) <= declared()


def test_imports_for_the_type_checker_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("if TYPE_CHECKING:\n    import attrs\nelse:\n    import json\nimport numpy\n")
    assert [full for _, full, _ in imported(without_type_checking(path))] == ["json", "numpy"]
