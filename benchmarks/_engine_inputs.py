"""The inputs of one job of `engine.py`, made once for all systems: token ids, what is supervised, the rows of each update.

    python benchmarks/_engine_inputs.py JOB NUM_EXAMPLES FILE [BANKING77]

Two orders are written. `drawn` is the order by chance in which the rows come: what a trainer's random sampler gives, and
Tunewright's loop. `grouped` holds batches of like length, as a peer that pads had better read them. Each has the loss that its
first batch must have, by the stock forward of transformers on padded rows in fp32. `flops` is the work that each row asks for,
whatever a system does besides.
"""

from __future__ import annotations

import csv
import importlib
import inspect
import json
import math
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tunewright.adapt.task.chat import Chat
from tunewright.adapt.task.classify import Classify
from tunewright.model.select import Select, select
from tunewright.train.batches import Batches, Examples
from tunewright.types import Base

SEED = 0
RANK = 16
JOBS: dict[str, dict[str, Any]] = {
    "a": {"kind": "language", "model": "smollm2-135m-instruct", "rank": 0, "batch_size": 8, "lr": 2e-5},
    "b": {"kind": "classify", "model": "minilm-l6", "rank": 0, "batch_size": 32, "lr": 1e-4},
    "c": {"kind": "language", "model": "smollm2-135m-instruct", "rank": RANK, "batch_size": 8, "lr": 2e-4},
}
MODULES = (
    "argparse ast asyncio collections csv datetime decimal doctest email functools heapq http.client inspect itertools json "
    "logging os pathlib pydoc random re shutil socket sqlite3 statistics string subprocess tempfile threading typing unittest "
    "xml.dom"
).split()


def main() -> None:
    """Make the file."""
    job, number, out = JOBS[sys.argv[1]], int(sys.argv[2]), Path(sys.argv[3])
    base = select(Select.Config(name=job["model"]), None)
    if job["kind"] == "language":
        ids, targets, labels = language_rows(base, number)
    else:
        ids, targets, labels = labelled_rows(base, number, Path(sys.argv[4]))
    write(job, base, ids, targets, labels, out)


def write(
    job: dict[str, Any],
    base: Base,
    ids: Sequence[Sequence[int]],
    targets: Sequence[Any],
    labels: Sequence[str],
    out: Path,
) -> None:
    """Everything that the measured processes read."""
    orders = {
        "drawn": np.arange(len(ids)).reshape(-1, job["batch_size"]).tolist(),
        "grouped": grouped(job, ids, targets),
    }
    model = stock_model(job, base, labels, out)
    found = {
        **job,
        "folder": str(base.folder),
        "labels": labels,
        "ids": ids,
        "targets": targets,
        "orders": orders,
        "references": {
            name: stock_loss(model, [ids[row] for row in batches[0]], [targets[row] for row in batches[0]])
            for name, batches in orders.items()
        },
        "flops": [flops(model, len(row), target, job["rank"]) for row, target in zip(ids, targets, strict=True)],
        "products": products(model, orders["drawn"], ids, targets),
    }
    out.write_text(json.dumps(found), encoding="utf-8")


# ------------------------------------------------------------------------------------------------------------------ rows


def language_rows(base: Base, number: int) -> tuple[list[list[int]], list[list[int]], list[str]]:
    """Token ids of conversations, and 1 at each supervised token."""
    import pyarrow as pa

    texts = [json.dumps(messages) for messages in conversations(number)]
    rows = pa.table({"messages": texts, "file": ["made"] * number, "line": range(1, number + 1)})
    examples = Chat().open_encoder(base).encode(rows)
    return [list(each.ids) for each in examples], [[int(weight) for weight in each.target] for each in examples], []


def conversations(number: int) -> Iterator[list[dict[str, str]]]:
    """One question and one answer each, 40 % and 60 % of the words, of lengths as people write: log-normal."""
    draw = random.Random(SEED)
    words = prose()

    def piece(size: int) -> str:
        start = draw.randrange(len(words) - size)
        return " ".join(words[start : start + size])

    for _ in range(number):
        size = min(600, max(12, round(draw.lognormvariate(math.log(95), 0.7))))
        asked = max(4, round(0.4 * size))
        yield [
            {"role": "user", "content": piece(asked)},
            {"role": "assistant", "content": piece(max(4, size - asked))},
        ]


def prose() -> list[str]:
    """The words of the docstrings of the standard library, in the order of modules and names."""
    texts: dict[str, None] = {}
    for name in MODULES:
        for _, value in inspect.getmembers(importlib.import_module(name)):
            text = inspect.getdoc(value)
            if text and len(text) > 40:
                texts[text] = None
    return " ".join(texts).split()


def labelled_rows(base: Base, number: int, folder: Path) -> tuple[list[list[int]], list[int], list[str]]:
    """Token ids of texts, the number of each one's label, and the labels."""
    import pyarrow as pa

    with (folder / "train.csv").open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    labels = sorted({row["category"] for row in read})
    random.Random(SEED).shuffle(read)
    read = read[:number]
    rows = pa.table({"text": [row["text"] for row in read], "label": [[row["category"]] for row in read]})
    task = Classify().with_labels(labels, multi_label=False)
    examples = task.open_encoder(base).encode(rows)
    return [list(each.ids) for each in examples], [int(each.target[0]) for each in examples], labels


def grouped(job: dict[str, Any], ids: Sequence[Sequence[int]], targets: Sequence[Any]) -> list[list[int]]:
    """Rows sorted by length within windows, cut into batches, and the batches shuffled."""
    batches = Batches(examples(job, ids, targets), batch_size=job["batch_size"], token_budget=1 << 30, seed=SEED)
    return [batches.rows(step).tolist() for step in range(batches.steps_per_epoch)]


def examples(job: dict[str, Any], ids: Sequence[Sequence[int]], targets: Sequence[Any]) -> Examples:
    """The rows as the loop takes them."""
    rows = [np.array(row, dtype=np.int64) for row in ids]
    if job["kind"] == "classify":
        return Examples(rows, torch.tensor(targets, dtype=torch.float32).view(-1, 1), np.arange(len(rows)))
    weights = torch.tensor([weight for row in targets for weight in row], dtype=torch.float32)
    return Examples(rows, weights, np.arange(len(rows)), per_token=True)


# ------------------------------------------------------------------------------------------------------- the stock model


def stock_model(job: dict[str, Any], base: Base, labels: Sequence[str], out: Path) -> Any:
    """transformers' own model in fp32. For labels, all systems start with the head that is written beside the file."""
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    if job["kind"] == "language":
        return AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32).eval()
    output = Classify().with_labels(labels, multi_label=False).attach(base, SEED).head.output
    head = {"weight": output.weight.detach().clone(), "bias": output.bias.detach().clone()}
    save_file(head, str(out.with_suffix(".head.safetensors")))
    model = AutoModelForSequenceClassification.from_pretrained(base.folder, num_labels=len(labels), dtype=torch.float32)
    model.classifier.load_state_dict(head)
    return model.eval()


@torch.no_grad()
def stock_loss(model: Any, ids: Sequence[Sequence[int]], targets: Sequence[Any]) -> float:
    """Mean loss of the supervised tokens, or of the rows, of one batch padded on the right."""
    longest = max(map(len, ids))
    padded = torch.tensor([[*row, *[0] * (longest - len(row))] for row in ids])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids])
    logits = model(input_ids=padded, attention_mask=mask).logits
    if not isinstance(targets[0], list):
        return float(torch.nn.functional.cross_entropy(logits, torch.tensor(targets)))
    wanted = torch.tensor([[*row, *[0] * (longest - len(row))] for row in targets])[:, 1:] > 0
    return float(torch.nn.functional.cross_entropy(logits[:, :-1][wanted], padded[:, 1:][wanted]))


# --------------------------------------------------------------------------------------------------------------- the work


def matrices(model: Any) -> list[tuple[int, int]]:
    """(Inputs, outputs) of every product that each token goes through: the layers, without embedding and head."""
    layers = next(module for module in model.base_model.modules() if isinstance(module, torch.nn.ModuleList))
    linear = [module for module in layers.modules() if isinstance(module, torch.nn.Linear)]
    return [(module.in_features, module.out_features) for module in linear]


def flops(model: Any, length: int, target: Any, rank: int) -> float:
    """Operations that one row asks for: forward and twice that back, or once where the weights are frozen.

    Attention: 4 L^2 d operations a layer forward, half of them where it is causal. The head reads supervised rows alone.
    """
    config = model.config
    through = 4 if rank else 6
    work = through * sum(inputs * outputs for inputs, outputs in matrices(model)) * length
    work += 6 * rank * sum(inputs + outputs for inputs, outputs in matrices(model)) * length
    attention = 3 * 4 * config.num_hidden_layers * length**2 * config.hidden_size
    if isinstance(target, list):
        return work + attention / 2 + through * config.hidden_size * config.vocab_size * sum(target)
    return work + attention + 6 * config.hidden_size * (config.hidden_size + config.num_labels)


def products(model: Any, batches: Sequence[Sequence[int]], ids: Sequence[Any], targets: Sequence[Any]) -> Any:
    """[rows, inputs, outputs, times] of a mean batch's forward products; the same shapes turned go back."""
    number = len(batches)
    tokens = round(sum(map(len, ids)) / number)
    found = [[tokens, *shape, 1] for shape in matrices(model)]
    if isinstance(targets[0], list):
        found.append([round(sum(map(sum, targets)) / number), model.config.hidden_size, model.config.vocab_size, 1])
    counted: dict[tuple[int, ...], int] = {}
    for rows, inputs, outputs, times in found:
        counted[rows, inputs, outputs] = counted.get((rows, inputs, outputs), 0) + times
    return [[*shape, times] for shape, times in counted.items()]


if __name__ == "__main__":
    main()
