"""The account of every row while it is read: compact arrays, some fifty bytes to a row."""

from __future__ import annotations

import json
from array import array
from collections import Counter

from tunewright.data.duplicates import hash_text, normalise

MAX_REASONS = 50


class Numbering:
    """Numbers for distinct values, in the order in which they first come."""

    def __init__(self) -> None:
        """Begin empty."""
        self._numbers: dict[str, int] = {}

    def number(self, value: str) -> int:
        """The number of a value; a new one for a new value. ValueError for text that is not valid Unicode."""
        found = self._numbers.get(value)
        if found is None:
            value.encode()
            found = self._numbers[value] = len(self._numbers)
        return found

    def values(self) -> list[str]:
        """The values by number."""
        return list(self._numbers)


class Account:
    """Good rows with what splitting needs, and rejected rows with their reasons. ``files`` numbers the file names."""

    def __init__(self) -> None:
        """Begin empty."""
        self.files, self.answers, self.strata, self.reasons = Numbering(), Numbering(), Numbering(), Numbering()
        self.id, self.file, self.line = array("q"), array("i"), array("i")
        self.text, self.group, self.length = array("Q"), array("Q"), array("i")
        self.answer, self.stratum, self.split = array("i"), array("i"), array("b")
        self.rejected_id, self.rejected_file, self.rejected_line = array("q"), array("i"), array("i")
        self.rejected_reason = array("i")
        self.total = 0

    def prove(self, identity: str, labels: object, stratum: str, group: str | None) -> tuple[int, int, int, int]:
        """Hashes and numbers of a row; ValueError when a part of it cannot be stored as UTF-8."""
        text = hash_text(normalise(identity))
        answer = self.answers.number(json.dumps(labels, ensure_ascii=False))
        return text, answer, self.strata.number(stratum), text if group is None else hash_text(group)

    def keep(
        self, number: int, file: int, line: int, proof: tuple[int, int, int, int], length: int, split: int
    ) -> None:
        """Enter a good row."""
        text, answer, stratum, group = proof
        self.id.append(number)
        self.file.append(file)
        self.line.append(line)
        self.text.append(text)
        self.answer.append(answer)
        self.stratum.append(stratum)
        self.group.append(group)
        self.length.append(length)
        self.split.append(split)

    def reject(self, number: int, file: int, line: int, reason: str) -> None:
        """Enter a row that cannot be used."""
        self.rejected_id.append(number)
        self.rejected_file.append(file)
        self.rejected_line.append(line)
        self.rejected_reason.append(self.reasons.number(reason.encode("utf-8", "replace").decode()[:200]))

    def origin(self, index: int) -> str:
        """``file:line`` of a good row."""
        return f"{self.files.values()[self.file[index]]}:{self.line[index]}"

    def rejections(self, limit: int) -> list[str]:
        """``file:line: reason`` of the first rejected rows."""
        files, reasons = self.files.values(), self.reasons.values()
        entries = zip(self.rejected_file, self.rejected_line, self.rejected_reason, strict=True)
        return [
            f"{files[file]}:{line}: {reasons[reason]}"
            for (file, line, reason), _ in zip(entries, range(limit), strict=False)
        ]

    def reason_counts(self) -> dict[str, int]:
        """Rejected rows by reason, the commonest first; beyond fifty reasons the rest is counted as ``other``."""
        names = self.reasons.values()
        counts = Counter(self.rejected_reason).most_common()
        shown = {names[reason]: count for reason, count in counts[:MAX_REASONS]}
        rest = sum(count for _, count in counts[MAX_REASONS:])
        return {**shown, "other": rest} if rest else shown
