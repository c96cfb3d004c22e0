"""Personal data in texts, replaced by typed placeholders; and what a report may show of the rows at all.

    mask("mail me at ann@example.org or 13812345678")      "mail me at [email] or [phone]"

Recognised: e-mail addresses; payment cards (13 to 19 digits, Luhn check, ISO/IEC 7812-1 annex B); IBAN (ISO 13616, remainder
modulo 97 is 1); Chinese resident identity numbers (GB 11643-1999: 18 characters with the ISO 7064 MOD 11-2 check, or 15
digits with a valid date); US social security numbers; IPv4 and IPv6 addresses; phone numbers in international form, and in
the national forms of China, North America and most of Europe. Names and postal addresses are not recognised. Where a number
could be either, it is masked. Full-width forms count as their ASCII counterparts.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

Rows = Literal["none", "ids", "text"]

# One character for one, so that what is found in the folded text lies at the same place in the text itself.
FOLDED = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: " ", 0x00A0: " ", 0x202F: " "}
FOLDED |= {ord(dash): "-" for dash in "\u2010\u2011\u2012\u2013\u2014\u2212"}
CHINESE_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
PROVINCE = r"(?:1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3])"
DATE = r"(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
ALONE = r"(?<![0-9A-Za-z])"
LATIN = "\u00c0-\u024f"


def has_luhn_check(match: str) -> bool:
    """Whether there are 13 to 19 digits, not all the same, that start as payment cards do and pass the Luhn check."""
    digits = [int(character) for character in match if character.isdigit()]
    if not 13 <= len(digits) <= 19 or digits[0] not in range(2, 7):
        return False
    doubled = [digit if place % 2 == 0 else sum(divmod(2 * digit, 10)) for place, digit in enumerate(reversed(digits))]
    return len(set(digits)) > 1 and sum(doubled) % 10 == 0


def has_iban_check(match: str) -> bool:
    """Whether the characters, the first four moved to the end and letters read as 10..35, leave 1 modulo 97."""
    code = match.replace(" ", "")
    return 15 <= len(code) <= 34 and int("".join(str(int(c, 36)) for c in code[4:] + code[:4])) % 97 == 1


def has_chinese_check(match: str) -> bool:
    """Whether an 18-character Chinese identity number ends in its check character (weighted sum modulo 11)."""
    total = sum(weight * int(digit) for weight, digit in zip(CHINESE_WEIGHTS, match[:17], strict=True))
    return "10X98765432"[total % 11] == match[17].upper()


def is_address(match: str) -> bool:
    """Whether the match is an IPv4 or IPv6 address, with a digit in it (``a::b`` is more often code)."""
    if not any(character.isdigit() for character in match):
        return False
    try:
        ipaddress.ip_address(match.partition("%")[0])
    except ValueError:
        return False
    return True


def has_phone_length(match: str) -> bool:
    """Whether the match has 7 to 15 digits (ITU-T E.164 allows no more) and is no date, clock time or range of years."""
    num_digits = sum(character.isdigit() for character in match)
    return 7 <= num_digits <= 15 and not re.fullmatch(r"(?:19|20)\d\d[-. /](?:\d\d?[-. /]\d\d?|(?:19|20)\d\d)", match)


Span = tuple[int, int]
Find = Callable[[str], list[Span]]


def _whole(accepts: Callable[[str], bool] = bool) -> Find:
    """The match as a whole, where it is accepted."""
    return lambda match: [(0, len(match))] if accepts(match) else []


def _among(accepts: Callable[[str], bool], max_characters: int, *, anchored: bool) -> Find:
    """The longest accepted stretches of whole groups, so that neighbouring numbers or words do not hide one."""

    def find(match: str) -> list[Span]:
        groups = [(group.start(), group.end()) for group in re.finditer(r"[0-9A-Za-z]+", match)]
        found: list[Span] = []
        for index, (start, _) in enumerate(groups[:1] if anchored else groups):
            if found and start < found[-1][1]:
                continue
            ends = [end for _, end in groups[index : index + max_characters] if end <= start + max_characters]
            found += [(start, end) for end in reversed(ends) if accepts(match[start:end])][:1]
        return found

    return find


# In this order: the more particular form goes first.
PATTERNS: tuple[tuple[str, re.Pattern[str], Find], ...] = tuple(
    (kind, re.compile(pattern, re.ASCII), find)
    for kind, pattern, find in (
        ("email", rf"[\w.%+'{LATIN}-]{{1,64}}@(?:[\w{LATIN}-]{{1,63}}\.){{1,8}}[A-Za-z][\w-]{{1,62}}", _whole()),
        ("iban", ALONE + r"[A-Za-z]{2}\d\d(?: ?[0-9A-Za-z]){11,40}", _among(has_iban_check, 44, anchored=True)),
        ("id", rf"(?<!\d){PROVINCE}\d{{4}}(?:18|19|20)\d\d{DATE}\d{{3}}[\dXx](?!\d)", _whole(has_chinese_check)),
        ("phone", r"\+ ?[1-9](?:[ .()/-]{0,2}\d){6,14}(?!\d)", _whole(has_phone_length)),
        ("card", r"(?<!\d)\d(?:[ -]?\d){12,}(?!\d)", _among(has_luhn_check, 37, anchored=False)),
        ("id", rf"(?<!\d){PROVINCE}\d{{4}}\d\d{DATE}\d{{3}}(?!\d)", _whole()),
        ("id", r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\d-])", _whole()),
        ("ip", r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?\d)", _whole(is_address)),
        ("ip", r"(?<![0-9A-Za-z_:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![0-9A-Za-z_:])", _whole(is_address)),
        ("phone", r"(?<!\d)00 ?[1-9](?:[ .()/-]{0,2}\d){6,14}(?!\d)", _whole(has_phone_length)),
        ("phone", r"(?<!\d)(?:86[ -]?)?1[3-9]\d(?:[ -]?\d{4}){2}(?!\d)", _whole()),
        (
            "phone",
            r"(?<![\d.])(?:1[ .-]?)?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?!\.?\d)",
            _whole(has_phone_length),
        ),
        ("phone", r"(?<![\d.,])[2-9]\d\d[2-9]\d{6}(?![\d.,]\d|\d)", _whole()),
        ("phone", r"(?<![\d.,])\(?0\d{1,4}\)?[ /-]{0,2}\d(?:[ /-]?\d){5,9}(?!\d)", _whole(has_phone_length)),
        ("phone", r"(?<![\d-])[48]00[ -]\d{3,4}[ -]\d{3,4}(?![\d-])", _whole(has_phone_length)),
        ("phone", r"(?<![\d-])\d{3}-\d{4}(?![\d-])", _whole(has_phone_length)),
    )
)


def mask(text: str) -> str:
    """``text`` with personal data replaced by ``[email]``, ``[phone]``, ``[card]``, ``[iban]``, ``[ip]`` or ``[id]``."""
    for kind, pattern, find in PATTERNS:
        folded = text.translate(FOLDED)
        pieces, end = [], 0
        for match in pattern.finditer(folded):
            for first, last in find(match.group()):
                pieces += [text[end : match.start() + first], f"[{kind}]"]
                end = match.start() + last
        if pieces:
            text = "".join((*pieces, text[end:]))
    return text


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be shown of the user's rows: not at all, by id and file:line, or with text; masked or as it is."""

    rows: Rows = "text"
    masked: bool = True
    max_errors: int = 50

    def text(self, text: str) -> str:
        """The text as it may be shown."""
        return mask(text) if self.masked else text

    def select_dialogues(self, rows: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
        """Judged dialogues as they may be stored and shown; to apply it twice changes nothing."""
        if self.rows == "none":
            return []
        kept = [dict(row) for row in rows[: self.max_errors]]
        for row in kept:
            for key in ("prompt", "reference", "answers"):
                content = row.pop(key, None)
                if self.rows == "text" and content is not None:
                    row[key] = self._shown(content)
        return kept

    def select_xray(self, xray: Mapping[str, object]) -> dict[str, object]:
        """The X-ray as it may be stored and shown; neighbouring spans of a kind are one, so that nothing hides between them."""
        kept = {key: value for key, value in xray.items() if key != "samples"}
        samples = xray.get("samples")
        if self.rows == "text" and isinstance(samples, Sequence):
            kept["samples"] = [self._spans(sample) for sample in samples if isinstance(sample, Sequence)]
        return kept

    def _spans(self, sample: Sequence[object]) -> list[dict[str, object]]:
        spans = [span for span in sample if isinstance(span, Mapping)]
        runs = groupby(spans, key=lambda span: (span.get("role"), span.get("supervised") is True))
        return [
            {"role": role, "supervised": lit, "text": self.text("".join(str(span.get("text", "")) for span in run))}
            for (role, lit), run in runs
        ]

    def _shown(self, content: object) -> object:
        if isinstance(content, Mapping):
            return {str(name): self._shown(one) for name, one in content.items()}
        return self.text(content) if isinstance(content, str) else None

    def select(self, errors: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
        """The wrong rows as they may be stored and shown; to apply it twice changes nothing."""
        if self.rows == "none":
            return []
        kept = [dict(error) for error in errors[: self.max_errors]]
        for error in kept:
            text = error.pop("text", None)
            if self.rows == "text" and isinstance(text, str):
                error["text"] = self.text(text)
            if error.get("quotes") is True:
                for key in ("gold", "answered"):
                    said = error.pop(key, None)
                    if self.rows == "text" and isinstance(said, str):
                        error[key] = self.text(said)
        return kept
