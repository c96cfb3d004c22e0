"""What the check of two processes says where ranks add up what they should average; `tests/journey/test_doctor.py` passes it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tunewright.doctor.job import Job, open_job, read_encoded, settle
from tunewright.doctor.pair import check_pair
from tunewright.errors import MachineError
from tunewright.recipe import read_request
from tunewright.types import tell_nobody

if TYPE_CHECKING:
    from conftest import StartProcess

SUMMED = """
import sys
from pathlib import Path
from torch import distributed
from tunewright.doctor import pair
from tunewright.train.batches import Batches
from tunewright.train.ranks import divide
def own_count(self, step):
    rows = self.rows(step)
    own = divide(rows, self.examples, 2)[distributed.get_rank()] if distributed.is_initialized() else rows
    return {"target": self.examples.target(own if len(own) else rows)}
Batches.columns = own_count
pair.main(Path(sys.argv[1]))
"""
"""Each rank normalises by its own rows, and the gradients are added up: twice what they should be."""


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, tiny_bert_folder: Path) -> Job:
    """A small recipe, prepared."""
    folder = tmp_path_factory.mktemp("job")
    rows = [{"text": f"a {word} film {number}", "label": word} for number in range(40) for word in ("good", "bad")]
    request = read_request(rows, (), {"model": str(tiny_bert_folder), "train": {"device": "cpu"}})
    return settle(request, folder, folder / "runs", tell_nobody)


def test_every_process_opens_the_same_miniature(job: Job) -> None:
    one, two = open_job(job), open_job(job)
    assert one.examples.row_ids.tolist() == two.examples.row_ids.tolist() == list(range(7))
    assert one.note == two.note
    assert all((a == b).all() for a, b in zip(one.module.parameters(), two.module.parameters(), strict=True))
    assert read_encoded(job).splits["train"] > 40


def test_gradients_summed_instead_of_averaged_are_seen(job: Job, tmp_path: Path, start_process: StartProcess) -> None:
    def start(command: Sequence[str], environment: Mapping[str, str]) -> Any:
        return start_process(sys.executable, "-c", SUMMED, command[-1], environment=environment)

    found = check_pair(job, tmp_path, start)
    assert not found.passed
    assert found.deviation > 0.1


def test_a_process_that_dies_is_named_and_the_other_ended(
    job: Job, tmp_path: Path, start_process: StartProcess
) -> None:
    started: list[Any] = []

    def start(command: Sequence[str], environment: Mapping[str, str]) -> Any:
        code = "import sys; sys.exit('no memory')" if not started else "import time; time.sleep(600)"
        started.append(start_process(sys.executable, "-c", code))
        return started[-1]

    with pytest.raises(MachineError) as failed:
        check_pair(job, tmp_path, start)
    assert failed.value.given == "no memory"
    assert all(process.poll() is not None for process in started)
