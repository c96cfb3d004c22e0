"""A training that does not fit is stopped before its first step, with what to change; what fits is told and compared."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
import torch

from tunewright.errors import GateError
from tunewright.infer.rounding import CODE_BYTES, round_up
from tunewright.store.run import RunFolder
from tunewright.train import memory, pieces, rehearsal
from tunewright.train.pieces import Pieces
from tunewright.train.rehearsal import Rehearsal
from tunewright.train.train import Fit, make_loop
from tunewright.types import Choice

GB = 10**9
TEST_ROWS = pa.table({"source": pa.array([[5, 6, 7], [8]], pa.list_(pa.int32()))})


class Usage(NamedTuple):
    total: int
    used: int
    free: int


class Scene:
    """A rehearsal in a folder of its own, with what it said."""

    def __init__(self, folder: Path, fit: Fit, validation: Any) -> None:
        self.said: list[Choice] = []
        self.folder = RunFolder.open(folder, create=True)
        self.rehearsal = Rehearsal(
            config=fit.config,
            plan=fit.plan,
            folder=self.folder,
            base=SimpleNamespace(num_parameters=1000),  # type: ignore[arg-type]
            encoded=SimpleNamespace(splits={"test": 2}, table=lambda _: TEST_ROWS),  # type: ignore[arg-type]
            validation=validation,
            command=["tunewright", "run", "rows.csv", "train.token_budget=1000", "train.lr=0.1"],
            say=self.said.append,
            tell=lambda *_: None,
        )

    @property
    def kept(self) -> dict[str, Any]:
        found = self.folder.read_json("forecast.json")
        assert found is not None
        return found


@pytest.fixture
def make_scene(tmp_path: Path, make_fit: Callable[..., Fit], make_examples: Callable[..., Any], module: Any) -> Any:
    """The scene and the loop: 40 rows of up to 12 tokens, 20 to a batch, in micro-batches of 100 tokens."""

    def make(**options: Any) -> tuple[Scene, Any]:
        fit = make_fit(module, decided={"token_budget": 100}, batch_size=20, **options)
        return Scene(tmp_path / "run", fit, make_examples(9, seed=1)), make_loop(fit, make_examples(40))

    return make


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A machine whose process holds 1 GB, where each token of a batch takes 10 MB and 0.6 GB are free."""
    sizes: list[int] = []

    class Peak(memory.Peak):
        def __exit__(self, *_: object) -> None:
            super().__exit__(None, None, None)
            self.bytes = GB + sizes[-1] * 10**7

    update = Pieces._update

    def seen(self: Pieces, rows: Any) -> None:
        sizes.append(self.batches.size(rows))
        update(self, rows)

    monkeypatch.setattr(Pieces, "_update", seen)
    monkeypatch.setattr(memory, "Peak", Peak)
    monkeypatch.setattr(memory, "used_bytes", lambda *_: GB)
    monkeypatch.setattr(memory, "free_bytes", lambda *_: int(0.6 * GB))
    return sizes


def test_where_the_longest_batch_will_not_fit_it_is_never_run(make_scene: Any, little_memory: list[int]) -> None:
    """100 tokens would take 1 GB; 0.57 GB of the 0.6 may be planned with, which is 32 tokens and a margin."""
    scene, loop = make_scene()
    with pytest.raises(GateError, match="will not fit into memory") as caught:
        scene.rehearsal(loop)
    error = caught.value
    assert max(little_memory) < 60
    assert error.where == "train.token_budget"
    assert "100 tokens" in str(error.given)
    assert "GB" in error.allowed
    assert error.hint.startswith("tunewright run rows.csv train.lr=0.1 train.token_budget=32")
    assert error.hint.endswith("train.allow=[memory]")
    assert scene.folder.read_json("forecast.json") is None
    assert [path.name for path in scene.folder.folder.iterdir()] == ["run.json"]


def test_allowed_it_is_said_and_the_training_goes_on(make_scene: Any, little_memory: list[int]) -> None:
    scene, loop = make_scene(allow=["memory"])
    before = {name: value.clone() for name, value in loop.module.state_dict().items()}
    scene.rehearsal(loop)
    assert max(little_memory) < 60
    assert not scene.kept["forecast"]["is_measured"]
    assert scene.kept["forecast"]["memory_bytes"] > 1.8 * GB
    assert {choice.path for choice in scene.said} == {"train.allow.memory", "forecast"}
    assert all(torch.equal(value, before[name]) for name, value in loop.module.state_dict().items())


def test_what_torch_cannot_get_is_told_in_the_same_words(make_scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, loop = make_scene()

    def refuse(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")

    monkeypatch.setattr(loop.module, "forward", refuse)
    with pytest.raises(GateError, match="will not fit into memory"):
        scene.rehearsal(loop)

    def fail(*_: object) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(loop.module, "forward", fail)
    with pytest.raises(RuntimeError, match="something else"):
        scene.rehearsal(loop)


def test_a_full_disk_stops_it_unless_that_is_allowed(make_scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, loop = make_scene()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**6, 10**6 - 8000, 8000))
    with pytest.raises(GateError, match="not enough room") as caught:
        scene.rehearsal(loop)
    assert caught.value.where == str(scene.folder.folder)
    assert "8.0 kB" in caught.value.allowed
    assert "method=lora" in caught.value.hint
    assert caught.value.hint.endswith("train.allow=[disk]")
    assert not loop.step

    scene, loop = make_scene(allow=["disk"])
    scene.rehearsal(loop)
    assert {choice.path for choice in scene.said} == {"train.allow.disk", "forecast"}


def test_a_training_that_goes_on_tells_what_was_forecast_and_compares_no_time(make_scene: Any) -> None:
    scene, loop = make_scene()
    scene.rehearsal(loop)
    first = scene.said[-1]
    scene.rehearsal.compare()
    assert scene.kept["fact"]["train_seconds"] >= 0
    resumed, other = make_scene()
    other.step = 2
    resumed.rehearsal(other)
    assert resumed.said == [first]
    resumed.rehearsal.compare()
    assert resumed.kept["fact"]["train_seconds"] is None
    assert resumed.kept["forecast"] == scene.kept["forecast"]


def test_code_for_numbers_of_tokens_that_are_to_come_is_foreseen(
    make_scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "peak_bytes", lambda *_: GB)
    for bound in ("MOST_SECONDS", "MOST_SHARE"):
        monkeypatch.setattr(pieces, bound, 10**6)  # on a busy machine, too, every piece is run
    found = []
    for is_kept in (False, True):
        monkeypatch.setattr(pieces, "rounds", lambda _, is_kept=is_kept: is_kept)
        scene, loop = make_scene()
        scene.rehearsal(loop)
        found.append(scene.kept["forecast"]["memory_bytes"])
        batches, lengths = loop.batches, [len(ids) for ids in loop.batches.examples.ids]
        groups = [group for step in range(2) for group in batches.groups(batches.rows(step))]
        sizes = {round_up(sum(lengths[row] for row in group)) for group in groups}
        shutil.rmtree(scene.folder.folder)
    more, left = divmod(found[1] - found[0], CODE_BYTES)
    assert (left, len(sizes) > 4) == (0, True)
    assert 0 <= more < len(sizes), "what the rehearsal has read has its code"


@pytest.mark.parametrize(("can", "change"), [(True, "train.recompute=mlp"), (False, "method=lora")])
def test_where_no_smaller_budget_would_do_layers_are_to_be_computed_again(
    make_scene: Any, little_memory: list[int], monkeypatch: pytest.MonkeyPatch, can: bool, change: str
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda *_: int(0.05 * GB))
    monkeypatch.setattr(rehearsal, "can_recompute", lambda _: can)
    scene, loop = make_scene()
    with pytest.raises(GateError, match="will not fit into memory") as caught:
        scene.rehearsal(loop)
    assert change in caught.value.hint
