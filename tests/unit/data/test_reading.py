"""Encodings, lines, delimited text and JSON: what is read is what stands there, on the line where it stands."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tunewright.data.encoding import recognise_encoding
from tunewright.data.lines import Lines, OverlongError
from tunewright.data.rows import read_rows
from tunewright.data.source.base import Unusable
from tunewright.errors import InputError, TunewrightError

Write = Callable[[str, str | bytes], str]
CHINESE = "这个酒店的服务很好，我们非常满意，下次还会来。\n" * 20


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8 with byte-order mark"),
        ("utf-16", "utf-16-le"),
        ("utf-16-le", "utf-16-le without byte-order mark"),
        ("utf-16-be", "utf-16-be without byte-order mark"),
        ("gb18030", "gb18030"),
    ],
)
def test_an_encoding_is_named(encoding: str, name: str, write: Write) -> None:
    path = Path(write("a.txt", ("label,text 1\n" + CHINESE).encode(encoding)))
    found = recognise_encoding(path, "a.txt")
    assert found.name == name
    assert path.read_text(encoding=found.codec) == "label,text 1\n" + CHINESE


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("日本語の文章です。カタカナとひらがな。\n" * 20, "shift_jis"),
        ("日本語の文章です。カタカナとひらがな。\n" * 20, "euc-jp"),
        ("한국어 문장입니다. 아주 좋아요.\n" * 20, "euc-kr"),
        ("這個電影非常好看，我們都很喜歡。\n" * 20, "big5"),
        ("Größe, Übel, naïf, après-midi\n" * 20, "cp1252"),
        ("это очень хороший фильм\n" * 20, "cp1251"),
    ],
)
def test_an_encoding_that_is_not_sure_is_asked_for(text: str, encoding: str, write: Write) -> None:
    path = write("a.txt", text.encode(encoding))
    with pytest.raises(InputError, match="nothing in it names its encoding"):
        recognise_encoding(Path(path), path)
    assert recognise_encoding(Path(path), path, encoding).codec == encoding.replace("-", "_")


def test_a_broken_byte_is_found_on_its_line(write: Write) -> None:
    good = CHINESE.encode()
    path = write("a.txt", good + b"\xff\xfe oops\n" + good)
    with pytest.raises(InputError) as caught:
        recognise_encoding(Path(path), path)
    assert caught.value.where == f"{path}:21"
    assert caught.value.given == "ff fe 20 6f"


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("limit", [3, 4, 5, 7, 10])
def test_lines_keep_true_numbers_past_overlong_ones(end: str, limit: int, write: Write) -> None:
    rng = random.Random(limit)
    words = ["x" * rng.randint(0, 12) for _ in range(200)]
    seen: list[str | None] = []
    with Lines(Path(write("a.txt", end.join(words) + end)), "utf-8", limit) as lines:
        while True:
            try:
                seen.append(next(lines).rstrip("\r\n"))
            except OverlongError:
                seen.append(None)
            except StopIteration:
                break
            assert lines.number == len(seen)
    assert seen == [word if len(word) + len(end) <= limit else None for word in words]


def rows_of(path: str) -> list[tuple[int, list[object] | str]]:
    """(line, values) of each row, the reason in place of the values where it cannot be used."""
    _, records, _ = read_rows(path, max_row_bytes=200)
    return [(r.origin.line, r.reason if isinstance(r, Unusable) else list(r.fields.values())) for r in records]


BODY = "\n".join(f"row number {n} is here,{'pos' if n % 2 else 'neg'}" for n in range(10)) + "\n"


def test_a_record_begins_on_its_first_physical_line(write: Write) -> None:
    rows = rows_of(write("a.csv", 'text,label\n"one\ntwo\nthree",pos\n\n"x ""y"" z",neg\n' + BODY))
    assert rows[:3] == [(2, ["one\ntwo\nthree", "pos"]), (6, ['x "y" z', "neg"]), (7, ["row number 0 is here", "neg"])]
    assert len(rows) == 12


@pytest.mark.parametrize("quote_lines", [(3,), (3, 7), (1, 2, 3), (9,)])
def test_an_unclosed_quote_costs_no_other_row(quote_lines: tuple[int, ...], write: Write) -> None:
    lines = BODY.splitlines()
    for number in quote_lines:
        lines[number] = '"' + lines[number]
    rows = rows_of(write("a.csv", "text,label\n" + "\n".join(lines) + "\n"))
    assert rows == [(n + 2, line.split(",")) for n, line in enumerate(lines)]


def test_quotes_that_swallow_rows_are_seen_by_the_labels(write: Write) -> None:
    lines = BODY.splitlines()
    lines[2], lines[5] = '"' + lines[2], lines[5].replace("here", 'here"')
    rows = rows_of(write("a.csv", "text,label\n" + "\n".join(lines) + "\n"))
    assert [line for line, _ in rows] == list(range(2, 12))
    assert rows[2][1] == ['"row number 2 is here', "neg"]


def test_a_quote_that_is_never_closed_names_its_line(write: Write) -> None:
    with pytest.raises(InputError) as caught:
        rows_of(write("a.csv", "text,label\n" + BODY + '"open text without end\nmore\n'))
    assert caught.value.where.endswith("a.csv:12")


def test_oversized_rows_are_passed_over_and_the_rest_is_read(write: Write) -> None:
    long_line, long_quoted = "w" * 300 + ",pos", '"' + ("ten words \n" * 30) + '",neg'
    rows = rows_of(write("a.csv", f"text,label\n{BODY}{long_line}\n{long_quoted}\nlast row,pos\n"))
    assert rows[10:] == [(12, "more than 200 bytes"), (13, "more than 200 bytes"), (44, ["last row", "pos"])]


def test_ragged_rows_are_rejected_by_name(write: Write) -> None:
    rows = rows_of(write("a.csv", "text,label\n" + BODY * 3 + "too,many,fields\nfew\n,\ntail,pos,,\n"))
    assert rows[30:] == [
        (32, "3 fields where 2 are expected"),
        (33, "1 fields where 2 are expected"),
        (34, ["", ""]),
        (35, ["tail", "pos"]),
    ]


def test_backslashes_may_escape_quotes(write: Write) -> None:
    body = "".join(f'"he said \\"hi, {n}\\"",{"pos" if n % 2 else "neg"}\n' for n in range(10))
    assert rows_of(write("a.csv", "text,label\n" + body))[3] == (5, ['he said "hi, 3"', "pos"])


def test_tsv_takes_a_quote_as_a_character(write: Write) -> None:
    rows = rows_of(write("a.tsv", 'text\tlabel\n"one\tpos\ntwo"\tneg\n5" wide\tpos\n'))
    assert rows == [(2, ['"one', "pos"]), (3, ['two"', "neg"]), (4, ['5" wide', "pos"])]


def test_json_objects_keep_their_lines_across_chunks(write: Write) -> None:
    objects = [{"text": "x" * (n % 90), "label": str(n % 3), "more": {"n": [n]}} for n in range(9000)]
    text = (
        '{"version": 1, "items": [\n'
        + ",\r\n".join(json.dumps(one, indent=1).replace("\n", "\r\n") for one in objects)
        + "]}"
    )
    _, records, _ = read_rows(write("a.json", text))
    found = list(records)
    assert [record.fields for record in found] == objects
    height = json.dumps(objects[0], indent=1).count("\n") + 1
    assert [record.origin.line for record in found] == [2 + height * n for n in range(9000)]


def test_an_oversized_object_is_passed_over(write: Write) -> None:
    big = {"text": 'a ] } " \\ [' * 100_000, "label": "pos"}
    path = write("a.json", json.dumps([{"text": "a", "label": "b"}, big, {"text": "c", "label": "d"}], indent=0))
    assert [line for line, _ in rows_of(path)] == [2, 6, 10]
    assert rows_of(path)[1][1] == "more than 200 bytes"


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.jsonl", '{"text": "a"}\n\n{"text": \n', 3),
        ("a.jsonl", '{"text": "a"}\n["a"]\n', 2),
        ("a.jsonl", '{"text": "a"}\n' + "[" * 100_000 + "\n", 2),
        ("a.json", '[\n{"text": "a"},\n{"text" "b"}\n]', 3),
        ("a.json", '[\n{"text": "a"}\n{"text": "b"}\n]', 3),
        ("a.json", '[\n{"text": "a"},\n{"text": "b"}\n', 4),
        ("a.json", '[{"text": "a"},\n]', 2),
        ("a.json", '{"text": ["a", "b"]}', 1),
        ("a.json", '"text"', 1),
    ],
)
def test_broken_json_ends_with_file_and_line(name: str, content: str, line: int, write: Write) -> None:
    path = write(name, content)
    with pytest.raises(InputError) as caught:
        read_rows(path, max_row_bytes=1 << 20)
    assert caught.value.where == f"{path}:{line}"
    assert caught.value.allowed
    assert caught.value.hint


def test_a_repeated_key_makes_a_row_unusable(write: Write) -> None:
    rows = rows_of(write("a.jsonl", '{"text": "a", "text": "b"}\n{"text": "c", "label": NaN}\n'))
    assert rows == [(1, "a key stands twice"), (2, ["c", None])]


def test_predict_keeps_the_columns_of_the_user(write: Write) -> None:
    columns, records, file = read_rows(write("a.csv", "id;text\n7;one\n8;two\n"))
    assert columns == ("id", "text")
    assert [record.fields for record in records] == [{"id": "7", "text": "one"}, {"id": "8", "text": "two"}]
    assert (file.format, file.encoding, file.num_rows) == ("csv", "utf-8", 2)
    assert file.notes == ("delimiter: semicolon", "header: yes")


@pytest.mark.parametrize(
    "option", [{"name": "csv", "delimiter": "::"}, {"name": "csv", "header": "perhaps"}, {"name": "cvs"}]
)
def test_a_wrong_option_of_a_format_is_named(option: dict[str, str], write: Write) -> None:
    with pytest.raises(TunewrightError) as caught:
        read_rows(write("a.csv", "text,label\n" + BODY), option)
    assert caught.value.exit_code == 2
    assert caught.value.allowed


def test_pairs_carry_the_split_that_their_list_is_named_after(write: Write) -> None:
    text = (
        '{"oos_val": [],\n"训练": [["多少钱", "价格"],\n ["hi", "greet"]], '
        '"OOS_Test": [["who won",\n "oos"]],\n"dev": [[3, null]]}'
    )
    columns, records, file = read_rows(write("a.json", text))
    assert columns == ("text", "label", "split")
    assert [(record.id, record.origin.line, *record.fields.values()) for record in records] == [
        (0, 2, "多少钱", "价格", "train"),
        (1, 3, "hi", "greet", "train"),
        (2, 3, "who won", "oos", "test"),
        (3, 5, 3, None, "validation"),
    ]
    assert file.format == "pairs"


@pytest.mark.parametrize(
    ("text", "line", "problem", "given"),
    [
        ('{"train": [["a", "b"]],\n"domains": [["a", "b"]]}', 2, "not named after a split", "domains"),
        ('{"data": [["a", "b"]]}', 1, "not named after a split", "data"),
        ('{"train": [["a", "b"]],\n"val": {"a": "b"}}', 2, "no list under val", '{"a": "b"}}'),
        ('{"train": [["a", "b"],\n["a", "b", "c"]]}', 2, "not a pair", "['a', 'b', 'c']"),
        ('{"train": [["a", "b"],\n"a"]}', 2, "not a pair", "a"),
        ('{"train": [["a", "b"],\n{"text": "a", "label": "b"}]}', 2, "not a pair", "{'text'"),
        ('{"train": [["a", "b"]\n["a", "b"]]}', 2, "a comma is missing between two records", '["a", "b"]]}'),
        ('{"train": [["a", "b"]]\n"val": []}', 2, "a comma is missing between two lists", '"val": []}'),
        ('{"train": [["a", "b"],\n]}', 2, "a comma before the end", "]}"),
        ('{"train": [["a", "b"]],\n}', 2, "Expecting value", "}"),
        ('{"train": [["a", "b"]]}\n{"val": []}', 2, "more after the object", '{"val": []}'),
        ('{"train": [["a", "b"]],\n"val" []}', 2, "':' is missing", "[]}"),
        ('{"train": [["a", "b"],\n["a', 2, "the file ends inside", '["a'),
        ('{"train": [["a", "b"]\n', 2, "the file ends inside", ""),
    ],
)
def test_lists_that_are_no_pairs_name_their_line(text: str, line: int, problem: str, given: str, write: Write) -> None:
    path = write("a.json", text)
    with pytest.raises(InputError, match=problem) as caught:
        list(read_rows(path)[1])
    assert caught.value.where == f"{path}:{line}"
    assert given in str(caught.value.given)
    assert '{"train": [["a text", "its label"], ...]' in str(caught.value.allowed)
    assert "jsonl" in caught.value.hint


def test_a_pair_that_is_too_long_is_left_out(write: Write) -> None:
    path = write("a.json", json.dumps({"train": [["a", "b"], ["long " * 90, "b"], ["c", "d"]]}))
    found = [
        one.reason if isinstance(one, Unusable) else one.fields["text"] for one in read_rows(path, max_row_bytes=200)[1]
    ]
    assert found == ["a", "more than 200 bytes", "c"]
