"""The options of training; the plan settles those that are left open."""

from __future__ import annotations

from typing import Literal

from tunewright.config.base import ComponentConfig, Extension, ExtensionOption, Option
from tunewright.train.average import Average
from tunewright.train.schedule import Schedule


class Train:
    """How the model is trained."""

    class Config(ComponentConfig):
        """Options of training."""

        epochs: int | None = Option(
            None,
            "Passes over the training rows. Empty: 3, or more on little data, until 300 updates or 20 passes.",
            ge=1,
            le=10_000,
            examples=[3],
        )
        batch_size: int = Option(32, "Rows per update.", ge=1, le=65_536)
        lr: float | None = Option(
            None, "Peak learning rate. Empty: 1e-4 for models under 60 million parameters outside the embedding, else 5e-5; "
            "times 4 for lora and qlora, times 20 for head; times 100 for sgd, a fifth for lion.",
            gt=0.0, le=10.0, examples=[5e-5],
        )  # fmt: skip
        optimizer: Extension = ExtensionOption("train.optimizer", "adamw", "What makes an update of the gradients.")
        schedule: Schedule.Config = Option(Schedule.Config(), "How the learning rate moves.")
        layer_decay: float = Option(
            1.0, "Each layer learns at this share of the rate of the layer above; 1: all at the same.", gt=0.0, le=1.0
        )
        average: Average.Config = Option(
            Average.Config(), "Whether a mean of the weights is kept in place of the last."
        )
        clip_norm: float = Option(1.0, "Gradients are scaled down to this norm; 0 leaves them alone.", ge=0.0)
        evaluate_every: int | None = Option(
            None, "Updates between evaluations on the validation rows. Empty: an epoch.", ge=1, examples=[100]
        )
        patience: int = Option(
            3, "Evaluations without a gain in the metric after which training stops; 0 never stops.", ge=0
        )
        target: float | None = Option(
            None, "Stop as soon as the metric on the validation rows reaches this value.", examples=[0.9]
        )
        dtype: Literal["auto", "fp32", "bf16"] = Option(
            "auto", "Precision of matrix products; auto measures what is faster."
        )
        master: Literal["auto", "fp32", "split"] = Option(
            "auto",
            "Where bf16 computes: fp32 keeps the weights in full beside their bf16 copies, 6 bytes each; split keeps bf16 and "
            "the 16 bits that it lacks, 4 bytes each, and moves them alike; auto splits where it can be had.",
        )
        kernels: Literal["auto", "native", "torch"] = Option(
            "auto",
            "What computes norms, activations, softmax and the update on a CPU: kernels compiled on this machine, or "
            "torch's operators; auto compiles where there is a C compiler.",
        )
        device: Literal["auto", "cpu", "cuda", "mps"] = Option("auto", "Where to train.")
        threads: int | None = Option(None, "CPU threads. Empty: as many as torch finds.", ge=1, le=1024, examples=[2])
        token_budget: int | None = Option(
            None,
            "Tokens in one micro-batch, with padding where the model pads; bounds memory and changes nothing else but which row "
            "gets which dropout. Empty: 16,384.",
            ge=8,
            examples=[4096],
        )
        recompute: bool | Literal["mlp"] | None = Option(
            None,
            "Keep less for the way back and compute it again: mlp makes the widest rows of each layer again, for a tenth more "
            "time; true keeps each layer's input alone, for a quarter to a third more. Empty: true for qlora, else false.",
            examples=["mlp"],
        )
        offload: bool = Option(
            False, "On a GPU: what the way back needs waits in main memory, where the GPU's own is short; slower."
        )
        allow: list[Literal["memory", "disk"]] = Option(
            [], "Shortages that do not stop a run whose forecast does not fit: memory, disk.", examples=[["memory"]]
        )
        heal: bool = Option(True, "Take spikes back and pass over their batches; stop a run whose model has collapsed.")
        keep_last: int = Option(1, "Commits kept beside the best one, the newest first.", ge=1, le=1000)
        commit_seconds: float = Option(
            60.0, "Longest time between commits; what is lost when the process dies.", gt=0.0
        )
        selftest: Literal["stop", "tell", "off"] = Option(
            "stop",
            "What a failed self-test of the engine on your rows does: stop the run, or only be told and recorded; off skips it.",
        )
