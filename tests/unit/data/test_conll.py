"""Files of tagged words, as they are published."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunewright.data.files import recognise_format
from tunewright.data.source.conll import Conll
from tunewright.errors import InputError

FIRST = {"tokens": ["EU", "rejects", "#"], "tags": ["B-ORG", "O", "O"]}
SECOND = {"tokens": ["北京", "。"], "tags": ["B-LOC", "O"]}
FORMS = {
    "tabs": "EU\tB-ORG\nrejects\tO\n#\tO\n\t\n北京\tB-LOC\n。\tO\n",
    "spaces": "EU B-ORG\nrejects O\n# O\n\n北京 B-LOC\n。 O",
    "conll2003": "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n# SYM O O\n\n北京 NNP B-NP B-LOC\n。 . O O\n",
    "numbered": "# id = 1\n# text = EU rejects\n1\tEU\tB-ORG\t-\t-\n2\trejects\tO\t-\t-\n3\t#\tO\t-\t-\n\n"
    "# id = 2\n1\t北京\tB-LOC\t-\ty\n2\t。\tO\t-\ty\n",
    "windows": "EU\tB-ORG\r\nrejects\tO\r\n#\tO\r\n\r\n\r\n北京\tB-LOC\r\n。\tO\r\n\r\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_it_reads_what_is_published(form: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.conll"
    path.write_bytes(FORMS[form].encode())
    records = list(Conll().read(path))
    assert [dict(record.fields) for record in records] == [FIRST, SECOND]
    assert [record.id for record in records] == [0, 1]
    starts = [
        number
        for number, line in enumerate(FORMS[form].splitlines(), 1)
        if "EU\t" in line or "EU " in line or "北" in line
    ]
    assert [record.origin.line for record in records] == [starts[-2], starts[-1]]
    assert recognise_format(path) == "conll"


def test_a_label_to_each_word_is_read_where_the_name_says_so(tmp_path: Path) -> None:
    path = tmp_path / "rows.conll"
    path.write_text("She PRON\nslept VERB\n\nYes INTJ\n", encoding="utf-8")
    assert [record.fields["tags"] for record in Conll().read(path)] == [["PRON", "VERB"], ["INTJ"]]


def test_other_files_are_not_taken_for_it(tmp_path: Path) -> None:
    for name, text in {
        "a.txt": "O what a film\nso O\n\nB-movie\n" * 5,
        "b.tsv": "text\tlabel\ngood film\tpos\nbad\tneg\n",
        "c.csv": "text,label\nO,B-x\n",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert recognise_format(tmp_path / name) != "conll", name


def test_a_line_without_its_tag_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.conll"
    path.write_text("EU\tB-ORG\nrejects\tO\n\n" * 3, encoding="utf-8")
    with path.open("a", encoding="utf-8") as file:
        file.write("alone\n")
    with pytest.raises(InputError) as caught:
        list(Conll().read(path))
    assert caught.value.where.startswith(str(path))
    path.write_text("no tags here\nat all\n", encoding="utf-8")
    with pytest.raises(InputError, match="no word with its tag"):
        list(Conll().read(path))


def test_a_sentence_that_is_too_long_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.conll"
    path.write_text("EU\tB-ORG\n" * 300 + "\nshort\tO\n", encoding="utf-8")
    first, second = Conll(Conll.Config(max_row_bytes=1000)).read(path)
    assert getattr(first, "reason", "") == "more than 1,000 bytes"
    assert second.fields["tokens"] == ["short"]


def test_comments_that_end_like_a_tag_and_numbers_as_words(tmp_path: Path) -> None:
    path = tmp_path / "rows.conll"
    path.write_text("# text = my blood type O\n# sent_id = S-12\n5551234\tB-phone\n42\tO\n", encoding="utf-8")
    [record] = Conll().read(path)
    assert record.fields == {"tokens": ["5551234", "42"], "tags": ["B-phone", "O"]}
