"""A run says what it will cost before its first step, and sets beside it what it took; one that does not fit stops there."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_reviews import SMALL, sentences, write_csv

import tunewright
from tunewright.errors import GateError
from tunewright.pipeline import Watcher
from tunewright.store.events import EventLog
from tunewright.train import memory
from tunewright.types import Choice


def test_forecast_and_fact_stand_side_by_side(
    tmp_path: Path, tiny_bert_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_csv(tmp_path / "reviews.csv", ("text", "label"), sentences(120))
    overrides = (f"model={tiny_bert_folder}", *SMALL, "train.epochs=3")
    said: list[Choice] = []
    run = Watcher(say=said.append)

    with monkeypatch.context() as short:
        short.setattr(memory, "free_bytes", lambda *_: 1000)
        with pytest.raises(GateError, match="will not fit into memory") as caught:
            tunewright.run(data, out=tmp_path / "run", overrides=overrides, until="train", watcher=run)
    assert "tunewright run" in caught.value.hint
    assert EventLog(tmp_path / "run" / "events.jsonl").read("step") == []

    result = tunewright.run(data, out=tmp_path / "run", overrides=overrides, until="train", watcher=run)
    told = next(choice for choice in said if choice.path == "forecast")
    assert "of memory" in str(told.value)
    assert "of disk" in str(told.value)
    forecast, fact = (result["forecast"][name] for name in ("forecast", "fact"))
    assert forecast["num_updates"] == fact["num_updates"] == len(result["curves"]["steps"])
    assert forecast["num_evaluations"] == len(result["curves"]["evaluations"])
    assert forecast["disk_bytes"] == pytest.approx(fact["disk_bytes"], rel=0.25)
    assert forecast["memory_bytes"] == pytest.approx(fact["memory_bytes"], rel=0.25)
    assert 0 < forecast["train_seconds"] < 60
    assert 0 < fact["train_seconds"] < result["timings"]["train"]
    page = Path(result["report"]).read_text(encoding="utf-8")
    assert "Forecast and fact" in page
    for name in ("Training time", "Peak memory", "Disk", "Updates"):
        assert f'<th scope="row">{name}</th>' in page
