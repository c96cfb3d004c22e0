"""One measured training by Tunewright: `python benchmarks/_ours_train.py INPUTS SETTING`, a process of its own.

It composes what the pipeline composes between `encode` and `evaluate`, and drives the loop that `make_loop` gives. The one
thing of its own: the rows of each batch are those of the file.
"""

from __future__ import annotations

from typing import Any

import _meter

METER = _meter.Meter()


def main() -> None:
    """Train one epoch and tell."""
    import shutil

    import numpy as np
    import torch
    from _engine_inputs import SEED, examples

    from tunewright.adapt.method.full import Full
    from tunewright.adapt.method.lora import Lora
    from tunewright.adapt.task.chat import Chat
    from tunewright.adapt.task.classify import Classify
    from tunewright.model.select import Select, select
    from tunewright.store.home import cache_folder
    from tunewright.train import rows as embedding_rows
    from tunewright.train.config import Train
    from tunewright.train.plan import make_plan
    from tunewright.train.train import Fit, make_loop

    inputs, setting = _meter.orders_given()
    shutil.rmtree(cache_folder() / "native", ignore_errors=True)  # compiling the kernels is part of the time
    base = select(Select.Config(name=inputs["model"]), None)
    task: Any = Classify().with_labels(inputs["labels"], multi_label=False) if inputs["labels"] else Chat()
    method: Any = Lora(Lora.Config(rank=inputs["rank"])) if inputs["rank"] else Full(Full.Config())
    module = task.attach(base, SEED)
    ids = [np.array(row, dtype=np.int64) for row in inputs["ids"]]
    compaction = embedding_rows.compact(module, np.unique(np.concatenate(ids)))
    if compaction:
        ids = [compaction.remap[row] for row in ids]
    trainable = method.wrap(module, task.objective(), SEED)
    config = Train.Config.model_validate({
        "epochs": 1, "batch_size": inputs["batch_size"], "lr": inputs["lr"], "clip_norm": 1.0, "device": "cpu",
        "threads": setting["threads"], "optimizer": {"name": "adamw", "weight_decay": 0.0},
        "schedule": {"name": "constant", "warmup": 0.0},
    })  # fmt: skip
    plan = make_plan(config, base, len(ids), lr_factor=method.lr_factor)
    fit = Fit(trainable=trainable, plan=plan, config=config, seed=SEED)
    loop = make_loop(fit, examples(inputs, ids, inputs["targets"]))
    order = inputs["orders"][setting["order"]]
    loop.batches = in_order(loop.batches, order)
    for step in loop.steps():
        METER.update_ended()
        METER.losses.append(step.loss)
        if METER.is_late:
            break
    METER.tell(
        read=[sum(len(ids[row]) for row in rows) for rows in order],
        trained_in=sorted({str(each.dtype) for each in loop.module.parameters() if each.requires_grad}),
        plan={choice.path: [str(choice.value), choice.reason] for choice in plan.choices},
        torch=torch.__version__,
    )


def in_order(batches: Any, order: list[list[int]]) -> Any:
    """The same batches with the rows of each update given."""
    import numpy as np

    from tunewright.train.batches import Batches

    class InOrder(Batches):
        def _plan(self, epoch: int) -> list[Any]:
            return [np.array(rows, dtype=np.int64) for rows in order]

    return InOrder(
        batches.examples,
        batch_size=batches.batch_size,
        token_budget=batches.token_budget,
        seed=batches.seed,
        pads=batches.pads,
        shares=batches.shares,
    )


if __name__ == "__main__":
    main()
