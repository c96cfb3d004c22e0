"""Encode: the prepared rows as token ids and targets for one base, cut by a stated rule, with the Ledger closed.

One memory-mapped Arrow table per split, columns ``id``, ``source``, ``target``, ``truncated``.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.config.base import ComponentConfig, Option
from tunewright.store.artifact import Artifact, Draft, commit_artifact
from tunewright.store.digest import digest_code, digest_json
from tunewright.types import Base, Choice, Dataset, Encoded, Ledger, Task, Tell, tell_nobody

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

ROWS_AT_ONCE = 2048
WHOLE_SHARE = 0.99
SHORTEST_LIMIT = 128


class Encode:
    """How rows become token ids."""

    class Config(ComponentConfig):
        """Options of encoding."""

        max_length: int | None = Option(
            None,
            "Tokens of a row that are kept, counted with special tokens; the right end is cut. Empty: the shortest limit that "
            "keeps 99 % of the rows whole, at least 128, at most what the model can read.",
            ge=4,
            le=1_000_000,
        )


def encoding_key(config: Encode.Config, dataset: Dataset, base: Base, task_digest: str) -> str:
    """The digest of all that goes into the encoding."""
    code = digest_code("tunewright.adapt.encode", "tunewright.adapt.task.classify")
    return digest_json([config.model_dump(), dataset.fingerprint, base.digest, task_digest, code])


def encode(
    config: Encode.Config,
    *,
    dataset: Dataset,
    base: Base,
    task: Task,
    tokenizer: Any,
    target: Path,
    key: str,
    tell: Tell = tell_nobody,
) -> Encoded:
    """Tokenise every split, decide the length limit, cut, and commit the folder ``target`` under ``key``."""

    def fill(draft: Draft) -> None:
        facts.update(_write(draft, config, dataset=dataset, base=base, task=task, tokenizer=tokenizer, tell=tell))

    facts: dict[str, object] = {}
    artifact = commit_artifact(target, key, fill, lambda: facts)
    return open_encoded(artifact)


def open_encoded(artifact: Artifact) -> Encoded:
    """The record of a committed encoding."""
    facts: dict[str, Any] = dict(artifact.facts)
    return Encoded(
        folder=artifact.folder,
        splits=facts["splits"],
        max_length=facts["max_length"],
        num_tokens=facts["num_tokens"],
        tokens_cut=facts["tokens_cut"],
        length_histogram={int(edge): count for edge, count in facts["length_histogram"].items()},
        ledger=Ledger(**facts["ledger"]),
        choices=tuple(Choice(**choice) for choice in facts["choices"]),
        fingerprint=artifact.digest,
    )


def _write(
    draft: Draft, config: Encode.Config, *, dataset: Dataset, base: Base, task: Task, tokenizer: Any, tell: Tell
) -> dict[str, object]:
    choices: list[Choice] = []
    max_length = config.max_length
    if max_length is None:
        lengths = _lengths(dataset, task, tokenizer, tell)
        choice = decide_max_length(lengths, base.max_positions)
        choices.append(choice)
        max_length = int(str(choice.value))
    totals: Counter[str] = Counter()
    histogram: Counter[int] = Counter()
    for split in dataset.splits:
        rows = dataset.table(split)
        counted = _write_split(
            draft.path(f"{split}.arrow"), rows, task, tokenizer, max_length, tell, f"encoding {split}"
        )
        totals.update(counted[0])
        histogram.update(counted[1])
    before = dataset.ledger
    ledger = Ledger(
        used=before.used - totals["truncated"],
        truncated=totals["truncated"],
        duplicate=before.duplicate,
        rejected=before.rejected,
        total=before.total,
        reasons=before.reasons,
    )
    return {
        "splits": dict(dataset.splits),
        "max_length": max_length,
        "num_tokens": totals["tokens"],
        "tokens_cut": totals["cut"],
        "length_histogram": {str(edge): histogram[edge] for edge in sorted(histogram)},
        "ledger": ledger.as_json(),
        "choices": [asdict(choice) for choice in choices],
    }


def decide_max_length(lengths: Counter[int], max_positions: int) -> Choice:
    """The shortest multiple of 16 that keeps 99 % of the rows whole, at least 128, at most what the model can read."""
    total = sum(lengths.values())
    longest = max(lengths, default=0)
    kept, quantile = 0, 0
    for length in sorted(lengths):
        kept += lengths[length]
        quantile = length
        if kept >= WHOLE_SHARE * total:
            break
    limit = min(max_positions, max(SHORTEST_LIMIT, 16 * math.ceil(quantile / 16)))
    if longest <= limit:
        reason = f"the longest row has {longest} tokens; no row is cut"
    else:
        cut = sum(count for length, count in lengths.items() if length > limit)
        why = (
            "all that the model can read"
            if limit == max_positions
            else f"{WHOLE_SHARE:.0%} of the rows have at most {quantile}"
        )
        reason = f"{why}; {cut:,} of {total:,} rows are cut (the longest has {longest:,} tokens)"
    return Choice("encode.max_length", limit, reason)


def _lengths(dataset: Dataset, task: Task, tokenizer: Any, tell: Tell) -> Counter[int]:
    lengths: Counter[int] = Counter()
    total = sum(dataset.splits.values())
    for split in dataset.splits:
        for rows in _pieces(dataset.table(split)):
            lengths.update(len(ids) for ids in task.tokenize(rows, tokenizer, None))
            tell("measuring lengths", sum(lengths.values()), total, "")
    return lengths


def _write_split(
    path: Path, rows: pa.Table, task: Task, tokenizer: Any, max_length: int, tell: Tell, label: str
) -> tuple[Counter[str], Counter[int]]:
    import pyarrow as pa

    schema = pa.schema(
        [
            ("id", pa.int64()),
            ("source", pa.list_(pa.int32())),
            ("target", pa.list_(pa.float32())),
            ("truncated", pa.bool_()),
        ]
    )
    totals: Counter[str] = Counter()
    histogram: Counter[int] = Counter()
    done = 0
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for piece in _pieces(rows):
            ids = task.tokenize(piece, tokenizer, None)
            lengths = [len(row) for row in ids]
            too_long = [index for index, length in enumerate(lengths) if length > max_length]
            if too_long:
                for index, row in zip(
                    too_long, task.tokenize(piece.take(too_long), tokenizer, max_length), strict=True
                ):
                    ids[index] = row
            truncated = [length > max_length for length in lengths]
            writer.write_batch(
                pa.record_batch([piece["id"].combine_chunks(), ids, task.targets(piece), truncated], schema=schema)
            )
            totals["truncated"] += len(too_long)
            totals["tokens"] += sum(len(row) for row in ids)
            totals["cut"] += sum(lengths) - sum(len(row) for row in ids)
            histogram.update(_edge(length) for length in lengths)
            done += len(lengths)
            tell(label, done, rows.num_rows, "")
    return totals, histogram


def _pieces(rows: pa.Table) -> Iterator[pa.Table]:
    for start in range(0, rows.num_rows, ROWS_AT_ONCE):
        yield rows.slice(start, ROWS_AT_ONCE)


def _edge(length: int) -> int:
    """The upper edge of the histogram's bin: multiples of 8 up to 64, then doubling steps with four bins each."""
    if length <= 64:  # noqa: PLR2004 - the edge named above
        return 8 * math.ceil(length / 8)
    width = 1 << (math.ceil(math.log2(length)) - 3)
    return width * math.ceil(length / width)
