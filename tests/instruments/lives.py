"""What the campaigns kill: runs of the real pipeline over a toy of random weights and over real models."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kill_campaign import Life
from tunewright.pipeline import run
from tunewright.store.checkpoints import CheckpointStore
from tunewright.store.digest import sha256_file
from tunewright.store.events import EventLog

OF_THE_CLOCK_AND_THE_PLACE = frozenset(
    {"command", "created", "forecast", "next_commands", "peak_memory_bytes", "report", "run", "timings"}
)
"""The parts of ``result.json`` that differ between two undisturbed runs."""

WORDS = "the a an of film movie this and was is wonderful great good terrible boring bad".split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TOY = (
    "train.epochs=2", "train.batch_size=16", "train.token_budget=120", "train.threads=1", "train.lr=0.003",
    "train.evaluate_every=3", "train.commit_seconds=1e-6", "evaluate.out_of_fold=false", "evaluate.resamples=200",
)  # fmt: skip
"""Micro-batches, a commit after every step, and evaluations that do not fall on the epochs."""


def toys(folder: Path) -> tuple[Life, ...]:
    """Three toys: all parameters in fp32, all in bf16 with early stopping, an adapter; ``make_toy`` has filled ``folder``."""
    model = f"model={folder / 'model'}"
    rows = folder / "reviews.csv"
    return (
        life("full", rows, (model, *TOY, "train.dtype=fp32", "train.patience=0")),
        life("bf16", rows, (model, *TOY, "train.dtype=bf16", "train.patience=1")),
        life("lora", rows, (model, *TOY, "train.dtype=fp32", "method=lora", "method.rank=2", "train.patience=0")),
    )


def minilm(model: Path, reviews: Path, folder: Path) -> Life:
    """MiniLM over 300 real reviews, in bf16 on two threads."""
    rows = _first_rows(reviews, folder / "reviews.csv", 300)
    numerics = ("train.dtype=bf16", "train.threads=2")
    options = ("train.epochs=1", "train.batch_size=16", "train.commit_seconds=0.5", "evaluate.out_of_fold=false")
    return life("minilm", rows, (f"model={model}", *options, "evaluate.resamples=200", *numerics))


def smollm2(model: Path, dialogues: Path, folder: Path) -> Life:
    """An adapter on SmolLM2-135M over 40 real dialogues, in bf16 on two threads, up to its tuned model."""
    rows = folder / "dialogues.jsonl"
    rows.write_text("".join(dialogues.read_text("utf-8").splitlines(keepends=True)[:40]), "utf-8")
    numerics = ("train.dtype=bf16", "train.threads=2", "method=lora", "method.rank=4", "encode.max_length=64")
    options = ("train.epochs=1", "train.batch_size=4", "train.commit_seconds=0.5", "train.evaluate_every=4")
    return life("smollm2", rows, (f"model={model}", *options, *numerics), until="train")


def life(name: str, data: Path, overrides: Sequence[str], until: Any = "evaluate") -> Life:
    """The run that the command line makes of ``data`` with these options."""

    def go(out: Path) -> None:
        run(data, out=out, overrides=overrides, until=until)

    return Life(name=name, go=go, outcome=outcome, progress=progress)


def outcome(out: Path) -> Mapping[str, object]:
    """What must be the same, killed or not: every file of every stage, every event, the kept commits, the result."""
    result = json.loads((out / "result.json").read_text("utf-8"))
    events = [event for event in EventLog(out / "events.jsonl").read() if event["kind"] != "resumed"]
    told: dict[str, list[object]] = {}
    for event in events:
        told.setdefault(event["kind"], []).append({name: event[name] for name in event if name != "time"})
    files = [path for path in sorted(out.rglob("*")) if path.is_file()]
    stages = [path for path in files if path.parent != out and "checkpoints" not in path.relative_to(out).parts]
    return {
        "the names of the files": [str(path.relative_to(out)) for path in [*stages, *sorted(out.iterdir())]],
        "what was left unfinished": [str(path) for path in out.rglob(".*") if path.name.startswith((".tmp-", ".old-"))],
        **{f"file {path.relative_to(out)}": sha256_file(path) for path in stages},
        **{f"events of the kind {kind}": found for kind, found in told.items()},
        "commits": _commits(out),
        **{f"{name} in result.json": result[name] for name in result.keys() - OF_THE_CLOCK_AND_THE_PLACE},
    }


def _commits(out: Path) -> list[object]:
    """The newest commit and the best, without their numbers, which count what the clock asked for."""
    store = CheckpointStore(out / "checkpoints")
    return [
        [c.step, c.metric, c.position, {path.name: sha256_file(path) for path in c.folder.glob("*.safetensors")}]
        for c in (store.latest(), store.best())
        if c is not None
    ]


def progress(out: Path) -> int:
    """The step of the newest commit that verifies; raises AssertionError where an acknowledged one is gone or damaged."""
    store = CheckpointStore(out / "checkpoints")
    assert store.findings() == ()
    latest = store.latest()
    return latest.step if latest else 0


def make_toy(folder: Path) -> None:
    """A BERT of 2 layers and width 16 with random weights, dropout, and 80 short reviews. It computes: not for the parent."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    fast: Callable[..., Any] = PreTrainedTokenizerFast
    ids = {word: index for index, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    config = BertConfig(
        vocab_size=len(ids), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder / "model")
    fast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(folder / "model")
    draw = random.Random(0)
    kinds = {"positive": WORDS[10:13], "negative": WORDS[13:]}
    with (folder / "reviews.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        for number in range(80):
            label = ("negative", "positive")[number % 2]
            before, after = draw.choices(WORDS[:10], k=6), draw.choices(WORDS[:10], k=draw.randint(1, 9))
            writer.writerow((" ".join([*before, draw.choice(kinds[label]), *after]), label))


def _first_rows(source: Path, target: Path, count: int) -> Path:
    with source.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows[:: len(rows) // count][:count])
    return target
