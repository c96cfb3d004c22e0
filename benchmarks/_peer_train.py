"""One measured training by a peer: `python benchmarks/_peer_train.py INPUTS SETTING`, a process of its own in `.venv-peers`.

TRL's SFTTrainer or the Trainer of transformers, as a user would set them up, on token ids that are given: nothing is tokenised,
shuffled, saved or evaluated. What is not in the setting is the library's default.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import _meter

METER = _meter.Meter()
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PACKED_ROWS = 2
"""Packed rows of 1,024 tokens in one update: about the tokens of a batch of eight conversations."""


def main() -> None:
    """Train one epoch and tell."""
    import torch
    from transformers import AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    inputs, setting = _meter.orders_given()
    torch.set_num_threads(setting["threads"])
    if setting["dtype"] == "bf16_products":
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    model = load(inputs, setting)
    tokenizer = AutoTokenizer.from_pretrained(inputs["folder"])
    with tempfile.TemporaryDirectory() as folder:
        trainer = build(inputs, setting, model, tokenizer, folder)
        rows = trainer.train_dataset["input_ids"]
        size = trainer.args.train_batch_size * trainer.args.gradient_accumulation_steps
        trainer.add_callback(watching())
        trainer.train()
    METER.tell(
        read=[sum(map(len, rows[start : start + size])) for start in range(0, len(rows), size)],
        trained_in=sorted({str(each.dtype) for each in trainer.model.parameters() if each.requires_grad}),
        torch=torch.__version__,
        versions={name: version(name) for name in ("trl", "transformers", "accelerate", "peft")},
    )


def load(inputs: dict[str, Any], setting: dict[str, Any]) -> Any:
    """The model with the dtype and the attention of the setting, adapters in it where there are any."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    options = {
        "dtype": torch.bfloat16 if setting["dtype"] == "bf16_weights" else torch.float32,
        "attn_implementation": setting["attention"],
    }
    if inputs["kind"] == "classify":
        from safetensors.torch import load_file

        number = len(inputs["labels"])
        model = AutoModelForSequenceClassification.from_pretrained(inputs["folder"], num_labels=number, **options)
        model.classifier.load_state_dict(load_file(str(Path(sys.argv[1]).with_suffix(".head.safetensors"))))
        return model
    model = AutoModelForCausalLM.from_pretrained(inputs["folder"], **options)
    if inputs["rank"] and setting["trainer"] == "transformers":
        from peft import get_peft_model

        model = get_peft_model(model, adapters(inputs))
        if setting["checkpointing"]:
            model.enable_input_require_grads()
    return model


def adapters(inputs: dict[str, Any]) -> Any:
    """LoRA on every projection."""
    from peft import LoraConfig

    return LoraConfig(
        r=inputs["rank"],
        lora_alpha=2 * inputs["rank"],
        lora_dropout=0.0,
        target_modules=PROJECTIONS,
        task_type="CAUSAL_LM",
    )


def build(inputs: dict[str, Any], setting: dict[str, Any], model: Any, tokenizer: Any, folder: str) -> Any:
    """The trainer over the rows in the order of the setting."""
    from datasets import Dataset

    order = [row for batch in inputs["orders"][setting["order"]] for row in batch]
    ids = [inputs["ids"][row] for row in order]
    targets = [inputs["targets"][row] for row in order]
    is_packed = setting["layout"] == "packed"
    options: dict[str, Any] = {
        "output_dir": folder,
        "num_train_epochs": 1,
        "per_device_train_batch_size": 1 if is_packed else setting["micro"],
        "gradient_accumulation_steps": PACKED_ROWS if is_packed else inputs["batch_size"] // setting["micro"],
        "learning_rate": inputs["lr"],
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "bf16": setting["dtype"] == "bf16_autocast",
        "gradient_checkpointing": setting["checkpointing"],
        "torch_compile": setting["compiled"],
        "train_sampling_strategy": "sequential",  # the rows lie in their order
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "seed": 0,
    }
    if inputs["kind"] == "classify":
        dataset = Dataset.from_dict({"input_ids": ids, "labels": targets})
        return plain(setting, model, tokenizer, options, dataset)
    labels = [
        [token if weight else -100 for token, weight in zip(row, target, strict=True)]
        for row, target in zip(ids, targets, strict=True)
    ]
    dataset = Dataset.from_dict({"input_ids": ids, "labels": labels})
    if setting["trainer"] == "transformers":
        return plain(setting, model, tokenizer, options, dataset)
    from trl import SFTConfig, SFTTrainer

    layout = {
        "padded": {},
        "flat": {"padding_free": True, "max_length": None},
        "packed": {"packing": True, "max_length": 1024},
    }[setting["layout"]]
    return SFTTrainer(
        model=model,
        args=SFTConfig(**options, **layout),
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=adapters(inputs) if inputs["rank"] else None,
    )


def plain(setting: dict[str, Any], model: Any, tokenizer: Any, options: dict[str, Any], dataset: Any) -> Any:
    """transformers' own Trainer."""
    from transformers import (
        DataCollatorForSeq2Seq,
        DataCollatorWithFlattening,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    collator: Any
    if setting["layout"] == "flat":
        collator = DataCollatorWithFlattening()
    elif setting["layout"] == "to_128":
        collator = DataCollatorWithPadding(tokenizer, padding="max_length", max_length=128)
    elif isinstance(dataset[0]["labels"], list):
        collator = DataCollatorForSeq2Seq(tokenizer)
    else:
        collator = DataCollatorWithPadding(tokenizer)
    return Trainer(
        model=model,
        args=TrainingArguments(**options),
        train_dataset=dataset,
        processing_class=tokenizer,
        data_collator=collator,
    )


def watching() -> Any:
    """A callback that tells the meter."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            METER.update_ended()
            if METER.is_late:
                control.should_training_stop = True

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
            if logs and "loss" in logs:
                METER.losses.append(float(logs["loss"]))

    return Watch()


if __name__ == "__main__":
    main()
