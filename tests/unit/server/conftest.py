"""A model that says what a test tells it to say, and a tiny classifier; each behind a real socket on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from parrot import CONTEXT, Parrot, Serve, talk

from tunewright.adapt.save import load_model, save_model
from tunewright.adapt.task.classify import Classify
from tunewright.infer.load import load_tokenizer
from tunewright.server.limits import Limits
from tunewright.server.listen import listening
from tunewright.server.served import Model, Served
from tunewright.store.artifact import commit_artifact
from tunewright.types import Base


@pytest.fixture(scope="session")
def tokenizer(tiny_llama_folder: Path) -> Any:
    return load_tokenizer(tiny_llama_folder)


@pytest.fixture
def parrot(tokenizer: Any) -> Parrot:
    return Parrot(tokenizer)


@pytest.fixture
def talking(parrot: Parrot, tmp_path: Path) -> Model:
    return Model(name="parrot", folder=tmp_path, context_tokens=CONTEXT, conversation=talk(parrot))


@pytest.fixture(scope="session")
def classifier_folder(tiny_bert_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tuned classifier as a run saves it, with two labels and a threshold."""
    base = Base(
        name="tiny", folder=tiny_bert_folder, architecture="bert", kind="encoder", num_parameters=1, max_positions=128,
        vocabulary_size=1, licence="MIT", source="test", digest="d", reason="test",
    )  # fmt: skip
    task = Classify(Classify.Config()).with_labels(("bad", "好"), multi_label=False)
    folder = tmp_path_factory.mktemp("tuned") / "model"
    card = {"max_length": 16, "thresholds": {"好": 0.3}, "clean": ["html"]}
    commit_artifact(folder, "key", lambda draft: save_model(draft, task.attach(base, seed=1), task, base, card))
    return folder


@pytest.fixture
def labelling(classifier_folder: Path) -> Model:
    tuned = load_model(classifier_folder)
    return Model(name="标签", folder=classifier_folder, context_tokens=16, tuned=tuned)


@pytest.fixture
def serve() -> Serve:
    """``with serve(model, max_batch=2) as address``."""

    def start(model: Model | Served, *, key: str | None = None, **limits: Any) -> AbstractContextManager[str]:
        served = model if isinstance(model, Served) else Served(model)
        return listening(served, Limits.Config(**limits), key=key)

    return start


@pytest.fixture
def client(serve: Serve, talking: Model) -> Iterator[httpx2.Client]:
    """A client of the parrot."""
    with serve(talking) as address, httpx2.Client(base_url=address, trust_env=False) as made:
        yield made
