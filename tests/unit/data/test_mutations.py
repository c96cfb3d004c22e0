"""Whatever the bytes are, prepare ends with a Dataset whose account closes, or with an error of the house."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunewright.data.prepare import Prepare, prepare
from tunewright.errors import TunewrightError
from tunewright.types import read_arrow

_PAIRS = [
    (f'a "{word}" film, number {n}', "pos" if n % 2 else "neg")
    for n, word in enumerate(["good", "bad", "很好", "一般"] * 4)
]
_SEEDS = {
    "csv": ("text,label\n" + "".join('"' + t.replace('"', '""') + f'",{c}\n' for t, c in _PAIRS)).encode(),
    "jsonl": "\n".join(json.dumps({"text": t, "label": c}, ensure_ascii=False) for t, c in _PAIRS).encode(),
    "json": json.dumps([{"text": t, "label": c} for t, c in _PAIRS], indent=1).encode(),
    "tsv": ("text\tlabel\n" + "".join(f"{t}\t{c}\n" for t, c in _PAIRS)).encode("utf-16"),
    "txt": "".join(f"__label__{c} {t}\n" for t, c in _PAIRS).encode("gb18030"),
}
_BYTES = st.one_of(
    st.binary(max_size=4),
    st.sampled_from(
        [b'"', b'""', b"\n", b"\r", b"\r\n", b",", b"\t", b"\\", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"{", b"]", b"[["]
    ),
    st.sampled_from(
        [b'"\\ud800"', b"1e999", b"NaN", b"null", b'{"text":1}', b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"x" * 300]
    ),
)
_EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 6), _BYTES), min_size=1, max_size=6)


def _mutate(content: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for place, num_cut, put in edits:
        at = int(place * len(content))
        content = content[:at] + put + content[at + num_cut :]
    return content


@pytest.mark.parametrize("suffix", sorted(_SEEDS))
@given(edits=_EDITS)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_files_never_crash_and_the_account_closes(
    suffix: str, edits: list[tuple[float, int, bytes]], task: Any
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"rows.{suffix}")
        path.write_bytes(_mutate(_SEEDS[suffix], edits))
        config = Prepare.Config(path=str(path), columns={}, max_rejected=1.0, min_rows=2, max_row_bytes=250)
        refused = None
        try:
            made = prepare(config, task, Path(folder, "out"))
        except TunewrightError as error:
            refused = error
        if refused is not None:
            assert refused.exit_code in (2, 3)
            assert str(path) in str(refused)
            assert [entry.name for entry in Path(folder).iterdir()] == [path.name]
            return
        ledger = made.ledger
        assert ledger.used + ledger.duplicate + ledger.rejected == ledger.total == made.files[0].num_rows
        tables = [made.table(split) for split in made.splits]
        assert sum(table.num_rows for table in tables) == ledger.used
        lost = read_arrow(made.folder / "ledger.arrow")
        ids = [number for table in (*tables, lost) for number in table.column("id").to_pylist()]
        assert sorted(ids) == list(range(ledger.total))
        assert lost.num_rows == ledger.duplicate + ledger.rejected


@given(content=st.binary(max_size=400))
@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_bytes_under_any_name_are_refused_in_words(content: bytes, task: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".csv", ".json", ".jsonl", ".parquet", ""):
            path = Path(folder, f"rows{suffix}")
            path.write_bytes(content)
            with pytest.raises(TunewrightError) as caught:
                prepare(Prepare.Config(path=str(path)), task, Path(folder, "out"))
            assert caught.value.exit_code in (2, 3)
