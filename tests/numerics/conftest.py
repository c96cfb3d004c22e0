"""Random models of every architecture that the package knows, two layers deep, each with the tokenizer that goes with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tunewright.types import Base, Choice, Objective, Phase, Plan, Trainable

ARCHITECTURES = (
    "bert", "roberta", "xlm-roberta", "distilbert", "gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2",
    "gemma3_text",
)  # fmt: skip

MakeBase = Callable[..., Base]
BuildLoop = Callable[..., Any]
MakeExamples = Callable[..., Any]

CROSS_ENTROPY = Objective("cross_entropy")

_BERT = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
_ROBERTA = {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}
_GEMMA = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}
_SPECIAL: Mapping[str, Mapping[str, str]] = {
    "bert": _BERT,
    "distilbert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "gpt2": {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"},
    "llama": {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"},
    "mistral": {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"},
    "qwen2": {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"},
    "qwen3": {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"},
    "gemma": _GEMMA,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
}
_ENDS = {
    "bert": "[CLS] $A [SEP]", "distilbert": "[CLS] $A [SEP]", "roberta": "<s> $A </s>", "xlm-roberta": "<s> $A </s>",
    "llama": "<s> $A", "mistral": "<s> $A", "gemma": "<bos> $A", "gemma2": "<bos> $A", "gemma3_text": "<bos> $A",
}  # fmt: skip


@pytest.fixture(scope="session")
def make_base(tmp_path_factory: pytest.TempPathFactory) -> MakeBase:
    """A base by its architecture; further arguments change the model's configuration."""

    @cache
    def make(architecture: str, **changes: Any) -> Base:
        return _make(tmp_path_factory.mktemp(architecture), architecture, changes)

    return make


def _make(folder: Path, architecture: str, changes: Mapping[str, Any]) -> Base:
    import torch
    import transformers
    from transformers import CONFIG_MAPPING, MODEL_MAPPING

    tokenizer, ids = _tokenizer(architecture)
    names = _SPECIAL[architecture]
    known = {f"{role}_token_id": ids[names[f"{role}_token"]] for role in ("bos", "eos") if f"{role}_token" in names}
    options = {**_shape(architecture), "vocab_size": len(ids), **known, **changes}
    torch.manual_seed(1)
    config_class: Any = CONFIG_MAPPING[architecture]
    model_class: Any = MODEL_MAPPING[config_class]
    model = model_class(config_class(**options))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):  # zero at first, which would hide a bias that is lost
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(folder)
    fast: Any = transformers.PreTrainedTokenizerFast
    fast(tokenizer_object=tokenizer, model_max_length=96, **names).save_pretrained(folder)
    return Base(
        name=f"tiny-{architecture}",
        folder=folder,
        architecture=architecture,
        kind="encoder" if architecture in ("bert", "roberta", "xlm-roberta", "distilbert") else "decoder",
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        max_positions=96,
        vocabulary_size=len(ids),
        licence="Apache-2.0",
        source="test",
        digest=architecture,
        reason="test",
    )


def _shape(architecture: str) -> dict[str, Any]:
    """Width 32 and two layers, under each architecture's own names."""
    if architecture == "gpt2":
        return {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 96}
    if architecture == "distilbert":
        return {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 96}
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    if architecture in ("roberta", "xlm-roberta"):
        return {**shape, "max_position_embeddings": 98, "pad_token_id": 1, "type_vocab_size": 1}
    if architecture == "bert":
        return {**shape, "max_position_embeddings": 96}
    shape |= {"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 96}
    if architecture.startswith("qwen"):
        return {**shape, "pad_token_id": None}
    if architecture.startswith("gemma"):
        return {**shape, "pad_token_id": 0, "sliding_window": 8}
    return {**shape, "pad_token_id": None}


def _tokenizer(architecture: str) -> tuple[Any, dict[str, int]]:
    """A tokenizer of bytes, so that it reads every language, with the special tokens and ends of its architecture."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    special: Sequence[str] = list(dict.fromkeys(_SPECIAL[architecture].values()))
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *special] if architecture in ("gpt2", "qwen2", "qwen3") else [*special, *letters]
    ids = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(ids, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if architecture in _ENDS:
        ends = [(token, ids[token]) for token in special]
        tokenizer.post_processor = processors.TemplateProcessing(single=_ENDS[architecture], special_tokens=ends)
    return tokenizer, ids


@pytest.fixture(scope="session", params=ARCHITECTURES)
def base(request: pytest.FixtureRequest, make_base: MakeBase) -> Base:
    """A base of each architecture in turn."""
    return make_base(request.param)


@pytest.fixture(autouse=True)
def _one_thread(_same_start: None) -> None:
    """Sums in one order, so that equal bits may be asked for, and the kernels at hand."""
    import torch

    from tunewright.infer.native.build import built
    from tunewright.infer.native.functions import use_kernels

    torch.set_num_threads(1)
    use_kernels(built().library is not None)


@pytest.fixture
def build_loop() -> BuildLoop:
    """A loop over ``examples``: cross-entropy of three labels, four rows to a batch, two epochs, AdamW, fp32.

    By the native kernels, where they can be had.
    """
    from tunewright.infer.native.build import built
    from tunewright.train.config import Train
    from tunewright.train.train import Fit, make_loop

    def build(
        module: Any,
        examples: Any,
        *,
        objective: Objective = CROSS_ENTROPY,
        seed: int = 5,
        clip_norm: float = 1.0,
        batch_size: int = 4,
        optimizer: Mapping[str, Any] = MappingProxyType({}),
        options: Mapping[str, Any] = MappingProxyType({}),
        **decided: object,
    ) -> Any:
        values = {"device": "cpu", "threads": 1, "dtype": "fp32", "token_budget": 10_000, "epochs": 2, "lr": 1e-2}
        values["recompute"] = False
        is_native = built().library is not None
        values["kernels"] = "native" if is_native else "torch"
        plan = Plan(tuple(Choice(f"train.{name}", value, "test") for name, value in {**values, **decided}.items()))
        given = {"batch_size": batch_size, "clip_norm": clip_norm, "optimizer": optimizer, **options}
        config = Train.Config.model_validate(given)
        trainable = Trainable(module, (Phase(objective),))
        return make_loop(Fit(trainable=trainable, plan=plan, config=config, seed=seed), examples)

    return build


@pytest.fixture
def make_examples() -> MakeExamples:
    """Rows of 1 to 20 random tokens above the special ones, with one of three labels."""

    def make(num_rows: int, *, largest_id: int = 250, seed: int = 0, targets: Any = None) -> Any:
        import numpy as np
        import torch

        from tunewright.train.batches import Examples

        random = np.random.default_rng(seed)
        ids = [random.integers(5, largest_id + 1, random.integers(1, 21)) for _ in range(num_rows)]
        drawn = random.integers(0, 3, (num_rows, 1)) if targets is None else targets
        return Examples(ids, torch.tensor(drawn, dtype=torch.float32), np.arange(num_rows) + 100)

    return make


@pytest.fixture
def make_module(make_base: MakeBase) -> Callable[..., Any]:
    """A classifier of three labels over a base of the architecture named; the same weights each time."""
    from tunewright.adapt.task.classify import Classify

    def make(architecture: str, task: Any = None, **changes: Any) -> Any:
        task = task or Classify().with_labels(["a", "b", "c"], multi_label=False)
        return task.attach(make_base(architecture, **changes), seed=3)

    return make


class Training:
    """The train stage in a folder of its own; the validation score falls from evaluation to evaluation."""

    def __init__(self, folder: Path, trainable: Trainable, plan: Plan, config: Any, validation: Any) -> None:
        from tunewright.store.checkpoints import CheckpointStore
        from tunewright.store.events import EventLog

        self.trainable, self.plan, self.config, self.validation = trainable, plan, config, validation
        self.checkpoints = CheckpointStore(folder / "checkpoints")
        self.events = EventLog(folder / "events.jsonl")

    def begin_anew(self, trainable: Trainable) -> None:
        """As a new process would: nothing is left but the folder."""
        self.trainable = trainable

    def train(self, examples: Any, stop_after: int | None = None) -> Any:
        """To the end, or until ``stop_after`` steps are made."""
        from tunewright.train.train import Fit, Watch, train

        told: list[float] = []
        watch = Watch(
            validation=self.validation,
            score=lambda _: {"accuracy": 1.0 / (1 + len(self.events.read("evaluation")))},
            metric="accuracy",
            higher_is_better=True,
            checkpoints=self.checkpoints,
            events=self.events,
            asked_to_stop=lambda: len(told) == stop_after,
            tell=lambda _label, done, *_: told.append(done),
        )
        return train(Fit(trainable=self.trainable, plan=self.plan, config=self.config, seed=5), examples, watch)

    def steps(self) -> list[dict[str, Any]]:
        """The facts of every step without its time."""
        return [{**event, "time": ""} for event in self.events.read("step")]


@pytest.fixture
def make_training(tmp_path: Path, make_examples: MakeExamples) -> Callable[..., Training]:
    """A training of four rows to a batch over two epochs, at a rate of 0.01, on one thread."""
    from tunewright.infer.native.build import built
    from tunewright.train.config import Train

    def make(name: str, trainable: Trainable, decided: Mapping[str, object], **options: Any) -> Training:
        kernels = "torch" if built().library is None else "native"
        values = {
            "device": "cpu",
            "threads": 1,
            "kernels": kernels,
            "recompute": False,
            "epochs": 2,
            "lr": 1e-2,
            **decided,
        }
        plan = Plan(tuple(Choice(f"train.{key}", value, "test") for key, value in values.items()))
        config = Train.Config(**{"batch_size": 4, **options})
        return Training(tmp_path / name, trainable, plan, config, make_examples(5, seed=1))

    return make
