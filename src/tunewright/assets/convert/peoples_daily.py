"""The People's Daily corpus, ``word/tag`` with two spaces between, becomes one character and its BIO tag a line.

Tags kept: nr (person) as PER, ns (place) as LOC, nt (organisation) as ORG. The corpus tags a Chinese surname and the given
name after it as two words of one person; they are joined. Source of the tag set: Yu Shiwen et al., "Specification for
Corpus Processing at Peking University", 2003.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tunewright.assets.convert.base import Material
from tunewright.errors import CorruptError
from tunewright.store.artifact import Draft

_KINDS = {"nr": "PER", "ns": "LOC", "nt": "ORG"}
_LONG_SURNAMES = (
    "欧阳",
    "诸葛",
    "司马",
    "上官",
    "令狐",
    "南宫",
    "司徒",
    "夏侯",
    "端木",
    "皇甫",
    "尉迟",
    "公孙",
    "慕容",
    "宇文",
)

Word = tuple[str, str]


class PeoplesDaily:
    """A two-column file: character TAB tag; an empty line after each sentence."""

    def convert(self, material: Material, draft: Draft) -> tuple[str, ...]:
        """Write the result; the note counts sentences and entities."""
        ((name, path),) = material.members.items()
        counts: Counter[str] = Counter()
        lines: list[str] = []
        sentences = read_sentences(path.read_text(encoding="utf-8").split("\n"), name)
        for number, sentence in enumerate(sentences, start=1):
            for word, kind in join_persons(sentence):
                label = _KINDS.get(kind)
                counts[label or ""] += 1
                lines += _tagged(word, label)
            lines.append("")
            counts["sentences"] = number
        draft.write_bytes(material.result, "\n".join([*lines, ""]).encode("utf-8"))
        entities = ", ".join(f"{counts[label]:,} {label}" for label in _KINDS.values())
        return (f"{counts['sentences']:,} sentences with {entities}",)


def read_sentences(lines: Iterable[str], file: str) -> Iterator[list[Word]]:
    """The (word, tag) pairs of each line that has any. Raises CorruptError with file:line."""
    for number, line in enumerate(lines, start=1):
        words = [token.rpartition("/") for token in line.split()]
        if any(not word or not tag for word, _, tag in words):
            raise CorruptError("not a tagged sentence", where=f"{file}:{number}", given=line, allowed="word/tag ...")
        if words:
            yield [(word, tag) for word, _, tag in words]


def join_persons(words: Sequence[Word]) -> Iterator[Word]:
    """The words with each surname joined to the given name after it: a surname is one character or a known longer one."""
    position = 0
    while position < len(words):
        length = _person_length(words, position)
        yield "".join(word for word, _ in words[position : position + length]), words[position][1]
        position += length


def _person_length(words: Sequence[Word], position: int) -> int:
    end = position
    while end < len(words) and words[end][1] == "nr":
        end += 1
    run = [word for word, _ in words[position:end]]
    if [len(word) for word in run] == [1, 1, 2]:  # a wife's surname before her own, as in 陈 方 安生
        return 3
    return 2 if len(run) > 1 and (len(run[0]) == 1 or run[0] in _LONG_SURNAMES) else 1


def _tagged(word: str, label: str | None) -> list[str]:
    if label is None:
        return [f"{character}\tO" for character in word]
    return [f"{character}\t{'I' if position else 'B'}-{label}" for position, character in enumerate(word)]
