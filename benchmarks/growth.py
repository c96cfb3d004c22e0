"""What a training step costs as rows, batches and models grow: `python benchmarks/growth.py [--peers PYTHON] [--only WORD]`.

Every weight is trained on random tokens, all of them supervised, for three updates, of which the first is not counted. One thing
grows at a time: the tokens of a row, the rows of a batch, the weights of a model. Models besides SmolLM2-135M have random
weights in the shapes of known ones. The peer is the Trainer of transformers in the setting that was quickest with fp32 weights in
`engine.py`: bf16 autocast, eager attention, row by row. What has its file under runs/benchmarks/growth is not measured again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import _engine_inputs
import _page
import engine
import numpy as np

FOLDER = engine.ROOT / "runs" / "benchmarks" / "growth"
UPDATES = 3
KNOWN = "smollm2-135m-instruct"
SHAPES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "Llama, 30M": ("Llama", {
        "hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6, "num_attention_heads": 6,
        "num_key_value_heads": 2, "vocab_size": 49152, "tie_word_embeddings": True,
    }),
    "Qwen3-0.6B": ("Qwen3", {
        "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16,
        "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": True,
    }),
}  # fmt: skip
PEER = {
    "trainer": "transformers", "dtype": "bf16_autocast", "attention": "eager", "checkpointing": False, "order": "drawn",
    "layout": "padded", "compiled": False, "micro": 1, "threads": engine.THREADS,
}  # fmt: skip
POINTS = [
    *(("row", KNOWN, length, 4096 // length) for length in (64, 256, 1024, 4096)),
    *(("batch", KNOWN, 256, rows) for rows in (1, 4, 32)),
    *(("model", model, 256, 8) for model in ("Llama, 30M", KNOWN, "Qwen3-0.6B")),
]


def main() -> None:
    """Measure what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--peers", type=Path, default=engine.ROOT / ".venv-peers/bin/python", help="python with the peers"
    )
    parser.add_argument("--only", choices=("row", "batch", "model"), help="grow this alone; the page is not written")
    options = parser.parse_args()
    rows = []
    for what, model, length, num_rows in POINTS:
        if options.only in (None, what):
            rows.append(measured(options.peers, what, model, length, num_rows))
            print(" | ".join(rows[-1]), flush=True)
    columns = (
        "grows",
        "model",
        "tokens a row",
        "rows a batch",
        "useful tokens/s",
        "peak memory",
        "the peer's",
        "its peak",
    )
    if options.only is None:
        _page.write(
            "growth", columns, rows, "The peer: transformers' Trainer, bf16 autocast, eager attention, row by row."
        )


def measured(peers: Path, what: str, model: str, length: int, num_rows: int) -> tuple[str, ...]:
    """One line: ours and the peer's, on the same rows."""
    inputs = make_inputs(model, length, num_rows)
    setting = {"order": "drawn", "threads": engine.THREADS}
    cells: list[str] = []
    for word, python, program, given in (
        ("ours", sys.executable, "_ours_train.py", setting), ("peer", str(peers), "_peer_train.py", PEER),
    ):  # fmt: skip
        path = inputs.with_name(f"{inputs.stem}-{word}-{engine.stamp(inputs, is_ours=word == 'ours')}.json")
        if not path.is_file():
            variables = engine.environment(engine.THREADS, is_ours=word == "ours")
            command = [python, str(engine.HERE / program), str(inputs), json.dumps(given)]
            path.write_text(json.dumps(engine.run(command, variables, engine.SECONDS)), encoding="utf-8")
        cells += told(json.loads(path.read_text(encoding="utf-8")))
    return (what, model, str(length), str(num_rows), *cells)


def told(result: Mapping[str, Any]) -> tuple[str, str]:
    """Tokens a second after the first update, and the peak; or why there are none."""
    if "error" in result:
        return result["error"].splitlines()[-1][:80].replace("|", "/"), ""
    ends, read = result["ends"], result["read"]
    rate = sum(read[1 : len(ends)]) / (ends[-1] - ends[0])
    return f"{rate:.0f}", f"{result['peak_bytes'] / 1e9:.1f} GB"


def make_inputs(model: str, length: int, num_rows: int) -> Path:
    """Random rows for the measured processes."""
    from tunewright.model.select import Select, select

    path = FOLDER / f"{model.replace(', ', '-')}-{length}-{num_rows}.json"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        name = KNOWN if model == KNOWN else str(make_model(model))
        base = select(Select.Config(name=name), None)
        random = np.random.default_rng(0)
        ids = random.integers(100, 40_000, (UPDATES * num_rows, length)).tolist()
        job = {**_engine_inputs.JOBS["a"], "model": name, "batch_size": num_rows}
        draft = path.with_suffix(".draft")
        _engine_inputs.write(job, base, ids, [[0] + [1] * (length - 1) for _ in ids], [], draft)
        draft.replace(path)
    return path


def make_model(name: str) -> Path:
    """A folder with a model of random weights and the tokenizer of the known one."""
    import torch
    import transformers

    from tunewright.model.select import Select, select

    folder = FOLDER / "models" / name.replace(", ", "-")
    if not (folder / "model.safetensors").is_file():
        family, sizes = SHAPES[name]
        torch.manual_seed(0)
        config = getattr(transformers, f"{family}Config")(**sizes)
        getattr(transformers, f"{family}ForCausalLM")(config).save_pretrained(folder)
        for file in select(Select.Config(name=KNOWN), None).folder.glob("*token*"):
            shutil.copy(file, folder)
    return folder


if __name__ == "__main__":
    main()
