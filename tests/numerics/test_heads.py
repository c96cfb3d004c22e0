"""A tuned model is the ecosystem's own: the stock class loads it, scores the same, learns the same, drops the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tunewright.adapt.classifier import Classifier
from tunewright.adapt.layout import LAYOUTS
from tunewright.adapt.save import load_model, save_model
from tunewright.adapt.task.classify import Classify
from tunewright.infer import forward
from tunewright.infer.batch import flatten
from tunewright.infer.load import load_tokenizer, load_trunk
from tunewright.infer.predict import make_encoder, predict_logits
from tunewright.store.artifact import commit_artifact
from tunewright.train.train import make_loss
from tunewright.types import Base, Batch

TEXTS = [
    "A gripping film.",
    "这部电影非常好看，推荐给大家！",
    "x",
    "Rain, and then wind; 风雨交加。",
    "Not good",
    "terrible " * 8,
]
LABELS = ["bad", "fine", "好"]

SOFTMAX = Classify().with_labels(LABELS, multi_label=False)
ONE_SIGMOID = Classify(Classify.Config(output="sigmoid")).with_labels(LABELS[:2], multi_label=False)
MULTI_LABEL = Classify().with_labels(LABELS, multi_label=True)
TARGETS = {
    SOFTMAX: [[0.0], [2.0], [1.0], [0.0], [1.0], [2.0]],
    ONE_SIGMOID: [[0.0], [1.0], [1.0], [0.0], [1.0], [0.0]],
    MULTI_LABEL: [[0.0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1], [0, 0, 1], [0, 1, 0]],
}


@dataclass
class Saved:
    """A classifier as it was when its run ended, the folder it was saved to, and the stock class over that folder."""

    task: Classify
    base: Base
    module: Classifier
    folder: Path
    stock: Any
    ids: list[list[int]]


def save(folder: Path, task: Classify, base: Base) -> Saved:
    module = task.attach(base, seed=3)
    assert isinstance(module, Classifier)
    for parameter in module.head.parameters():  # away from its start, so that a lost bias or a swapped layer shows
        torch.nn.init.normal_(parameter, std=0.2)
    card = {"max_length": 64, "thresholds": {}}
    commit_artifact(folder / "model", "key", lambda draft: save_model(draft, module, task, base, card))
    ids = load_tokenizer(folder / "model")(TEXTS)["input_ids"]
    return Saved(task, base, module.eval(), folder / "model", load_stock(folder / "model").eval(), ids)


def load_stock(folder: Path) -> Any:
    """The stock class over the saved folder; every weight finds its place, and none is left over."""
    from transformers import AutoModelForSequenceClassification

    stock, loading = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert not any(loading.values()), loading
    return stock


@pytest.fixture(scope="module")
def saved(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    return save(tmp_path_factory.mktemp("saved"), SOFTMAX, base)


def as_batch(ids: list[list[int]], targets: list[list[float]] | None = None) -> Batch:
    stream = flatten(ids)
    columns = {} if targets is None else {"target": torch.tensor(targets)}
    return Batch({"source": stream}, columns, tuple(range(len(ids))), len(stream.ids))


def stock_logits(saved: Saved) -> torch.Tensor:
    """What somebody gets who uses transformers alone: its tokenizer pads the batch, its class scores it."""
    from transformers import AutoTokenizer

    padded = AutoTokenizer.from_pretrained(saved.folder)(TEXTS, padding=True, return_tensors="pt")
    padded.pop("token_type_ids", None)
    logits: torch.Tensor = saved.stock(**padded).logits
    return logits


def stock_name(name: str, saved: Saved) -> str:
    """The name of one of our parameters in the stock class."""
    layout = LAYOUTS[saved.base.architecture]
    part, rest = name.split(".", 1)
    if part == "trunk":
        return f"{saved.stock.base_model_prefix}.{rest}"
    layer, weight = rest.split(".")
    return f"{layout.dense if layer == 'dense' else layout.output}.{weight}"


def check_against_stock(saved: Saved) -> None:
    """Same logits on ragged rows, and the same gradient for every parameter."""
    target = torch.tensor(TARGETS[saved.task])
    ours, theirs = saved.module(as_batch(saved.ids)), stock_logits(saved)
    assert (ours - theirs).abs().max() < 1e-5

    loss, count = make_loss(saved.task.objective())(ours, {"target": target})
    torch.autograd.backward(loss / count)
    if saved.task.sigmoid:
        torch.autograd.backward(functional.binary_cross_entropy_with_logits(theirs, target))
    else:
        torch.autograd.backward(functional.cross_entropy(theirs, target[:, 0].long()))
    own = {stock_name(name, saved): parameter.grad for name, parameter in saved.module.named_parameters()}
    stock = {name: parameter.grad for name, parameter in saved.stock.named_parameters()}
    assert own.keys() == stock.keys()
    largest = max(float(gradient.abs().max()) for gradient in stock.values())
    for name, gradient in own.items():
        assert (gradient - stock[name]).abs().max() < 1e-6 * max(1.0, largest), name


def test_the_stock_class_scores_and_learns_the_same(saved: Saved) -> None:
    assert type(saved.stock).__name__ == LAYOUTS[saved.base.architecture].stock_class
    check_against_stock(saved)


@pytest.mark.parametrize("task", [ONE_SIGMOID, MULTI_LABEL], ids=["one sigmoid", "multi-label"])
@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_so_it_does_with_sigmoid_outputs(architecture: str, task: Classify, make_base: Any, tmp_path: Path) -> None:
    saved = save(tmp_path, task, make_base(architecture))
    assert saved.stock.config.problem_type == "multi_label_classification"
    assert tuple(saved.stock.config.id2label.values()) == (task.labels if task is MULTI_LABEL else (task.labels[1],))
    check_against_stock(saved)


def test_loading_what_was_saved_gives_the_same_bits(saved: Saved) -> None:
    tuned = load_model(saved.folder)
    assert np.array_equal(predict_logits(saved.module, saved.ids), predict_logits(tuned.module, saved.ids))
    assert (tuned.task.labels, tuned.task.multi_label, tuned.max_length) == (tuple(LABELS), False, 64)
    assert tuned.tokenizer(TEXTS)["input_ids"] == saved.ids


def test_dropout_falls_where_the_stock_class_drops(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same seed, same rectangle, training mode: on the padded path every random number is drawn for the same place."""
    monkeypatch.setattr(forward, "is_flat", lambda trunk: False)
    ids = [[5, 6, 7, 8, 9], [9, 10, 11, 12, 13], [20, 21, 22, 23, 24]]
    try:
        torch.manual_seed(11)
        ours = saved.module.train()(as_batch(ids))
        torch.manual_seed(11)
        theirs = saved.stock.train()(input_ids=torch.tensor(ids)).logits
    finally:
        saved.module.eval(), saved.stock.eval()
    assert (ours - theirs).abs().max() < 1e-6
    if saved.base.architecture in ("bert", "roberta", "xlm-roberta", "distilbert", "gpt2"):
        assert (ours - saved.module(as_batch(ids))).abs().max() > 1e-3, "nothing was dropped"


def test_a_row_scores_alone_as_among_others_in_any_order(saved: Saved) -> None:
    ids = [*saved.ids, [7], list(range(3, 99))]  # the shortest and the longest that the model reads
    together = predict_logits(saved.module, ids)
    for row, alone in enumerate(predict_logits(saved.module, [one])[0] for one in ids):
        assert np.abs(together[row] - alone).max() < 1e-5
    order = [3, 0, 7, 5, 1, 6, 2, 4]
    shuffled = predict_logits(saved.module, [ids[row] for row in order], tokens_per_batch=100)
    assert np.abs(shuffled - together[order]).max() < 1e-5


def test_a_rectangle_needs_no_mask(saved: Saved) -> None:
    """Rows of one length take the path without a mask; one shorter row more sends them through the mask."""
    rows = [[id_, 11, 12, 13] for id_ in range(20, 26)]
    rectangle = saved.module(as_batch(rows))
    padded = saved.module(as_batch([*rows, [9, 9, 9, 9, 9]]))[:-1]
    assert (rectangle - padded).abs().max() < 1e-5


def test_mean_states_leave_padding_out(saved: Saved) -> None:
    trunk = load_trunk(saved.base.folder)
    found = make_encoder(trunk, load_tokenizer(saved.base.folder), 96)(TEXTS)
    for text, embedding in zip(TEXTS, found, strict=True):
        ids = load_tokenizer(saved.base.folder)(text)["input_ids"]
        states = trunk(input_ids=torch.tensor([ids])).last_hidden_state[0]
        assert np.abs(states.mean(dim=0).detach().numpy() - embedding).max() < 1e-5
