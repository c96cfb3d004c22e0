"""Which settings of the peers are tried: a list that covers every axis, then the neighbours of the quickest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Setting = Mapping[str, Any]
Result = Mapping[str, Any]

DTYPES = ("fp32", "bf16_autocast", "bf16_products", "bf16_weights")
"""The last one trains weights in bf16; the others keep them in fp32. `bf16_products`: oneDNN multiplies fp32 tensors in bf16."""

LOST = 2.5
"""A setting that needs this many times what the quickest of its class needed, for the same rows, is stopped."""
COMPILING = 240.0
"""Seconds more for a setting that is compiled first; twice the rows are read, too."""

CLIMBS = 2
"""How often the neighbours of the quickest setting of a class are tried, if it changed meanwhile."""


def default(trainer: str, kind: str) -> Setting:
    """What the trainer does by itself, on a CPU and with fp32 weights."""
    is_trl = trainer == "trl"
    return {
        "trainer": trainer, "dtype": "bf16_autocast" if is_trl else "fp32", "attention": "sdpa", "checkpointing": is_trl,
        "order": "drawn", "layout": "padded", "compiled": False, "micro": 32 if kind == "classify" else 8, "threads": 2,
    }  # fmt: skip


def defaults(kind: str) -> list[Setting]:
    """The default of each peer, the main one first."""
    return [default(name, kind) for name in axes(kind)["trainer"]]


def axes(kind: str) -> Mapping[str, tuple[Any, ...]]:
    """Every axis and its values."""
    is_language = kind == "language"
    return {
        "trainer": ("trl", "transformers") if is_language else ("transformers",),
        "dtype": DTYPES,
        "attention": ("sdpa", "eager"),
        "checkpointing": (False, True),
        "order": ("drawn", "grouped"),
        "layout": ("padded", "flat", "packed") if is_language else ("padded", "to_128"),
        "compiled": (False,) if is_language else (False, True),  # see first_list
        "micro": (8, 4, 2, 1) if is_language else (32, 16, 8),
        "threads": (2, 1),
    }


def is_sound(setting: Setting) -> bool:
    """Whether the setting means anything: one row has nothing to pad or group, packing is TRL's and forms its own batches."""
    if setting["layout"] == "packed":
        return setting["trainer"] == "trl" and setting["micro"] == 8 and setting["order"] == "drawn"
    return setting["micro"] != 1 or (setting["layout"] == "padded" and setting["order"] == "drawn")


def first_list(kind: str) -> list[Setting]:
    """What is tried in any case: defaults, every dtype in every batch shape that is known to be quick, and each axis alone.

    A language model is compiled here alone: with rows of any length it is compiled for minutes before the first update.
    """
    main = {**defaults(kind)[0], "checkpointing": False}
    found = defaults(kind)
    if kind == "language":
        found += [{**main, "dtype": dtype} for dtype in DTYPES]
        found += [{**main, "dtype": dtype, "order": "grouped"} for dtype in DTYPES]
        for attention in ("sdpa", "eager"):
            found += [{**main, "dtype": dtype, "micro": 1, "attention": attention} for dtype in DTYPES]
        single = {**main, "micro": 1, "attention": "eager"}
        found += [{**single, "dtype": dtype, "trainer": "transformers"} for dtype in DTYPES[1:]]
        found += [{**main, "dtype": dtype, "layout": "flat"} for dtype in DTYPES[1:]]
        found += [{**main, "dtype": dtype, "layout": "packed"} for dtype in ("bf16_autocast", "bf16_weights")]
        grouped = {**main, "dtype": "bf16_weights", "attention": "eager", "order": "grouped"}
        found += [{**grouped, "micro": 4}, {**grouped, "micro": 2}, {**grouped, "micro": 2, "trainer": "transformers"}]
        found += [{**single, "threads": 1}, {**single, "dtype": "bf16_products", "compiled": True}]
    else:
        found += [
            {**main, "dtype": dtype, "attention": attention, "order": order}
            for dtype in DTYPES
            for attention in ("sdpa", "eager")
            for order in ("drawn", "grouped")
        ]
        quick = {**main, "dtype": "bf16_autocast", "order": "grouped"}
        found += [{**quick, "micro": 16}, {**quick, "micro": 8}, {**quick, "threads": 1}, {**quick, "compiled": True}]
        found += [{**quick, "checkpointing": True}, {**quick, "layout": "to_128"}, {**main, "layout": "to_128"}]
        found += [{**quick, "dtype": "bf16_weights", "micro": 16}]
    return unique(found)


def neighbours(setting: Setting, kind: str) -> Iterator[Setting]:
    """Every setting that differs on one axis; a change of the batch shape takes along what would mean nothing in it."""
    for axis, values in axes(kind).items():
        for value in values:
            moved = {**setting, axis: value}
            if axis == "micro" and value == 1:
                moved |= {"layout": "padded", "order": "drawn"}
            if axis in ("layout", "order") and value != setting[axis] and setting["micro"] == 1:
                moved["micro"] = 8
            if moved != setting and is_sound(moved):
                yield moved


def search(
    kind: str, measure: Callable[[Setting, float], Result], rate: Callable[[Result], float], *, has_bf16: bool
) -> list[Result]:
    """Measure the list, then climb from the quickest with fp32 weights and from the quickest of all.

    ``measure`` is told after how many seconds a setting has lost: it cannot become the quickest of its class any more.
    """
    tried: dict[str, Result] = {}

    def try_one(setting: Setting) -> None:
        if name(setting) not in tried:
            tried[name(setting)] = measure(setting, patience(setting, list(tried.values())))

    for setting in sorted(first_list(kind), key=lambda setting: expected(setting, kind, has_bf16=has_bf16)):
        try_one(setting)
    for is_equal in (True, False):
        before = ""
        for _ in range(CLIMBS):
            best = quickest(list(tried.values()), rate, is_equal=is_equal, number=1)
            if not best or name(best[0]["setting"]) == before:
                break
            before = name(best[0]["setting"])
            for setting in neighbours(best[0]["setting"], kind):
                try_one(setting)
    return list(tried.values())


def expected(setting: Setting, kind: str, *, has_bf16: bool) -> tuple[Any, ...]:
    """What is likely to be quick comes first, so that what is slow is known as such early."""
    is_language = kind == "language"
    is_padded = is_language and setting["micro"] > 1 and setting["order"] == "drawn"
    size = setting["micro"] if is_language else -setting["micro"]
    return setting["compiled"], setting["checkpointing"], is_padded, (setting["dtype"] == "fp32") == has_bf16, size


def patience(setting: Setting, results: list[Result]) -> float:
    """Seconds for a setting: some times what the quickest of its class took as a whole, and more where it compiles first."""
    is_equal = setting["dtype"] != "bf16_weights"
    wholes = [each["ends"][-1] for each in results if "ends" in each and (not is_equal or trains_in_fp32(each))]
    return LOST * min(wholes, default=float("inf")) + COMPILING * setting["compiled"]


def quickest(
    results: list[Result],
    rate: Callable[[Result], float],
    *,
    is_equal: bool,
    number: int,
    compiled: tuple[bool, ...] = (False, True),
) -> list[Result]:
    """The quickest few, of those that train in fp32 (`is_equal`) or of all; compiled ones too, unless told otherwise."""
    able = [each for each in results if "error" not in each and (not is_equal or trains_in_fp32(each))]
    able = [each for each in able if each["setting"]["compiled"] in compiled]
    return sorted(able, key=rate, reverse=True)[:number]


def trains_in_fp32(result: Result) -> bool:
    """Whether every trained weight is kept in fp32, as Tunewright keeps it."""
    return bool(result["trained_in"] == ["torch.float32"])


def unique(settings: list[Setting]) -> list[Setting]:
    """Without repetitions, in order."""
    return list({name(setting): setting for setting in settings}.values())


def name(setting: Setting) -> str:
    """A word for a setting: its file's name, and what the tables call it."""
    marks = {"checkpointing": "checkpointed", "compiled": "compiled"}
    words = [str(setting[axis]) for axis in ("trainer", "dtype", "attention", "layout", "order")]
    words += [word for axis, word in marks.items() if setting[axis]]
    return "-".join([*words, f"micro{setting['micro']}", f"threads{setting['threads']}"])


def told(setting: Setting, kind: str) -> str:
    """The setting in words for a table."""
    size = 32 if kind == "classify" else 8
    shape = "rows of 1,024" if setting["layout"] == "packed" else f"{setting['micro']} x {size // setting['micro']}"
    words = [setting["dtype"].replace("_", " "), setting["attention"], setting["layout"].replace("_", " "), shape]
    words += ["grouped by length"] if setting["order"] == "grouped" else []
    words += [word for axis, word in (("checkpointing", "checkpointing"), ("compiled", "compiled")) if setting[axis]]
    return ", ".join([*words, *(["1 thread"] if setting["threads"] == 1 else [])])
