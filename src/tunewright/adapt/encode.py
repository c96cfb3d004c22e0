"""Encode: the prepared rows as token ids and targets for one base, cut by a stated rule, with the Ledger closed.

One memory-mapped Arrow table per split, columns ``id``, ``source``, ``target``, ``truncated``; a row that was divided stands in
several lines of one id.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.adapt.whole import keep_examples, kept_examples
from tunewright.config.base import ComponentConfig, Option
from tunewright.errors import InputError
from tunewright.seams import RowEncoder
from tunewright.store.artifact import Artifact, Draft, commit_artifact
from tunewright.store.digest import digest_code, digest_json
from tunewright.types import SPLITS, Base, Choice, Dataset, Encoded, Example, Finding, Ledger, Tell, tell_nobody
from tunewright.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

ROWS_AT_ONCE = 2048
BYTES_AT_ONCE = 1 << 24
"""Of long rows fewer are read at once: a token takes some sixty bytes while it is a number of Python's."""

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
            examples=[256],
        )


def encoding_key(config: Encode.Config, dataset: Dataset, base: Base, task_digest: str) -> str:
    """The digest of all that goes into the encoding, the code and the versions of the tokenizer's libraries included."""
    code = digest_code("tunewright.adapt", "tunewright.infer")
    versions = [version("tokenizers"), version("transformers")]
    model = [base.digest, base.max_positions]
    return digest_json([config.model_dump(mode="json"), dataset.fingerprint, model, task_digest, code, versions])


def encode(
    config: Encode.Config,
    *,
    dataset: Dataset,
    base: Base,
    encoder: RowEncoder,
    target: Path,
    key: str,
    tell: Tell = tell_nobody,
) -> Encoded:
    """Tokenise every split, decide the length limit, cut, and commit the folder ``target`` under ``key``.

    Raises InputError when more tokens are asked for than the model can read.
    """
    facts: dict[str, object] = {}
    work = _Encoding(dataset, encoder, tell)

    def fill(draft: Draft) -> None:
        choices = list(encoder.choices)
        max_length = _asked_length(config, base)
        with draft.scratch() as scratch:
            whole = work.encode()
            if max_length is None:
                decided = decide_max_length(
                    work.measure(keep_examples(whole, scratch)), base.max_positions, encoder.usual_length
                )
                choices.append(decided)
                max_length, whole = int(str(decided.value)), kept_examples(scratch)
            facts.update(work.write(draft, whole, max_length), choices=[asdict(choice) for choice in choices])
        xray, findings = encoder.seen()
        facts.update(per_token=encoder.per_token, xray=xray, findings=[asdict(finding) for finding in findings])

    return open_encoded(commit_artifact(target, key, fill, lambda: facts))


def open_encoded(artifact: Artifact) -> Encoded:
    """The record of a committed encoding."""
    facts: dict[str, Any] = dict(artifact.facts)
    return Encoded(
        folder=artifact.folder,
        splits={name: facts["splits"][name] for name in SPLITS},
        max_length=facts["max_length"],
        num_tokens=facts["num_tokens"],
        tokens_cut=facts["tokens_cut"],
        length_histogram={int(edge): count for edge, count in facts["length_histogram"].items()},
        ledger=Ledger(**facts["ledger"]),
        choices=tuple(Choice(**choice) for choice in facts["choices"]),
        fingerprint=artifact.digest,
        per_token=facts["per_token"],
        findings=tuple(Finding(**{**each, "origins": tuple(each["origins"])}) for each in facts["findings"]),
        xray=facts["xray"],
    )


def decide_max_length(lengths: Counter[int], max_positions: int, usual: int | None = None) -> Choice:
    """The shortest multiple of 16 that keeps 99 % of the rows whole, at least 128, at most what the model can read.

    Where rows are divided, at most what is ``usual``, too.
    """
    total = sum(lengths.values())
    longest = max(lengths, default=0)
    kept, quantile = 0, 0
    for length in sorted(lengths):
        kept += lengths[length]
        quantile = length
        if kept >= WHOLE_SHARE * total:
            break
    limit = min(max_positions, max(SHORTEST_LIMIT, 16 * math.ceil(quantile / 16)), usual or max_positions)
    if usual is not None and longest > limit:
        divided = sum(count for length, count in lengths.items() if length > limit)
        reason = f"{divided:,} of {total:,} rows are longer, up to {longest:,} tokens; they are read in pieces"
        return Choice("encode.max_length", limit, reason)
    if longest <= limit:
        reason = f"the longest row has {counted(longest, 'token')}; no row is cut"
    else:
        cut = sum(count for length, count in lengths.items() if length > limit)
        why = (
            "all that the model can read"
            if limit == max_positions
            else f"{WHOLE_SHARE:.0%} of the rows have at most {quantile}"
        )
        reason = f"{why}; {cut:,} of {total:,} rows are cut (the longest has {longest:,} tokens)"
    return Choice("encode.max_length", limit, reason)


def _asked_length(config: Encode.Config, base: Base) -> int | None:
    if config.max_length is not None and config.max_length > base.max_positions:
        raise InputError(
            f"{base.name} cannot read rows of this length",
            where="encode.max_length",
            given=config.max_length,
            allowed=f"at most {base.max_positions} tokens",
            hint=f"encode.max_length={base.max_positions}, or a model that reads longer texts",
        )
    return config.max_length


@dataclass(frozen=True, slots=True)
class _Encoding:
    """What is encoded, and by what."""

    dataset: Dataset
    encoder: RowEncoder
    tell: Tell

    def encode(self) -> Iterator[list[Example]]:
        """Every row as a whole example, piece by piece, one split after the other."""
        for split in self.dataset.splits:
            yield from map(self.encoder.encode, _pieces(self.dataset.table(split)))

    def measure(self, whole: Iterator[list[Example]]) -> Counter[int]:
        """How many rows have how many tokens, over all splits."""
        lengths: Counter[int] = Counter()
        for examples in whole:
            lengths.update(len(example.ids) for example in examples)
            self.tell("measuring lengths", lengths.total(), sum(self.dataset.splits.values()), "")
        return lengths

    def write(self, draft: Draft, whole: Iterator[list[Example]], max_length: int) -> dict[str, object]:
        """Write every split, its ``whole`` examples cut to ``max_length``; the facts of the encoding."""
        totals: Counter[str] = Counter(tokens=0, cut=0, truncated=0)
        histogram: Counter[int] = Counter()
        for split in self.dataset.splits:
            self._write_split(draft.path(f"{split}.arrow"), split, whole, max_length, totals, histogram)
        return {
            "splits": {split: totals[split] for split in self.dataset.splits},
            "max_length": max_length,
            "num_tokens": totals["tokens"],
            "tokens_cut": totals["cut"],
            "length_histogram": {str(edge): histogram[edge] for edge in sorted(histogram)},
            "ledger": _closed(self.dataset, totals["truncated"]).as_json(),
        }

    def _write_split(
        self,
        path: Path,
        split: str,
        whole: Iterator[list[Example]],
        max_length: int,
        totals: Counter[str],
        histogram: Counter[int],
    ) -> None:
        import pyarrow as pa

        columns = {"id": pa.int64(), "source": pa.list_(pa.int32()), "target": pa.list_(pa.float32())}
        schema = pa.schema({**columns, "truncated": pa.bool_()})
        rows = self.dataset.table(split)
        done = 0
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for piece in _pieces(rows):
                given = next(whole)
                lengths = [len(example.ids) for example in given]
                rows_of = [self._fitted(example, max_length) for example in given]
                lost = [
                    max(0, length - max_length) if len(parts) == 1 else 0
                    for length, parts in zip(lengths, rows_of, strict=True)
                ]
                truncated = [loss > 0 for loss, parts in zip(lost, rows_of, strict=True) for _ in parts]
                examples = [example for parts in rows_of for example in parts]
                self.encoder.inspect(examples, truncated)
                ids, targets = [each.ids for each in examples], [each.target for each in examples]
                owners = [number for number, parts in zip(piece["id"].to_pylist(), rows_of, strict=True) for _ in parts]
                writer.write_batch(pa.record_batch([owners, ids, targets, truncated], schema=schema))
                totals.update(tokens=sum(map(len, ids)), cut=sum(lost), truncated=sum(truncated))
                totals[split] += len(examples)
                histogram.update(bin_edge(length) for length in lengths)
                done += len(lengths)
                self.tell(f"encoding {split}", done, rows.num_rows, "")

    def _fitted(self, example: Example, max_length: int) -> Sequence[Example]:
        """A row as examples of at most ``max_length`` tokens each."""
        return (example,) if len(example.ids) <= max_length else self.encoder.divide(example, max_length)


def _closed(dataset: Dataset, truncated: int) -> Ledger:
    """The Ledger with the truncated rows taken out of those used whole."""
    before = dataset.ledger
    assert sum(dataset.splits.values()) == before.used, (dataset.splits, before)
    return replace(before, used=before.used - truncated, truncated=truncated)


def _pieces(rows: pa.Table) -> Iterator[pa.Table]:
    size = max(1, min(ROWS_AT_ONCE, BYTES_AT_ONCE * rows.num_rows // max(1, rows.nbytes)))
    for start in range(0, rows.num_rows, size):
        yield rows.slice(start, size)


def bin_edge(length: int) -> int:
    """The upper edge of a length's bin in the histogram: multiples of 8 up to 64, then four bins to each doubling."""
    width = 8 if length <= 64 else 1 << ((length - 1).bit_length() - 3)
    return width * math.ceil(length / width)
