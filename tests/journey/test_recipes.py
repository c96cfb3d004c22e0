"""Every recipe that comes with the code is valid, says what it is for, and starts from what the catalogue has."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import REPOSITORY

from tunewright import extensions
from tunewright.assets import find
from tunewright.evaluate.score import metric_named
from tunewright.model.select import find_source
from tunewright.recipe import read_request

FOR_A_GPU = {"qlora-8gb", "qlora-16gb", "qlora-24gb"}
"""They need a card and a hub, so they are read and not run; their arithmetic stands in tests/unit/model/test_fits.py."""

OF_OTHERS = {"customer-service"}
"""They read a file that is not shipped and say where it comes from; they are run in ``test_refusing.py``."""

RECIPES = sorted((REPOSITORY / "recipes").glob("*.yaml"))


def test_the_recipes_are_there() -> None:
    assert {path.stem for path in RECIPES} >= {"movie-reviews", "chinese-reviews", "tweets", "gpt-reviews"}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_valid_and_teaches(path: Path) -> None:
    recipe = read_request(path, (), {}, {}).recipe
    assert recipe.name == path.stem
    data, model = str(recipe.data.path), recipe.model.name
    if path.stem in FOR_A_GPU:
        assert recipe.train.device == "cuda"
        assert (data, "/" in model) == ("chats.jsonl", True), "the reader's own chats, and a model of the hub"
        find_source(model)
    elif path.stem in OF_OTHERS:
        assert recipe.task.name in find(model, "model").tasks
        assert f"data.path={data}" in path.read_text(encoding="utf-8")
    else:
        assert find(data.removeprefix("asset:"), "data").tasks == (recipe.task.name,)
        assert recipe.task.name in find(model, "model").tasks
    assert recipe.task.name in extensions.names("adapt.task")
    assert recipe.evaluate.metric == "auto" or metric_named(recipe.evaluate.metric)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert sum(line.lstrip().startswith("#") for line in lines) >= 5
    assert f"tunewright run recipes/{path.name}" in "\n".join(lines)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_in_the_readme(path: Path) -> None:
    assert f"recipes/{path.name}" in (REPOSITORY / "README.md").read_text(encoding="utf-8")
