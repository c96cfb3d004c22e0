"""Which encoding a file is in, decided by evidence and checked against every byte of the file.

    byte-order mark > pattern of zero bytes (UTF-16) > valid UTF-8 > plausible GB18030 > the user is asked

Nothing is guessed: a file that fits none of these is refused, with the byte at fault and how the text would read.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tunewright.errors import InputError, shorten

HEAD_BYTES = 1 << 18
_CHUNK_BYTES = 1 << 20
_FEW_CHARACTERS = 8

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_KINDS = (
    (b"PK\x03\x04", "a zip or Office file", "unpack it, or save the sheet as CSV"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first: gunzip FILE"),
    (b"BZh", "a bzip2 archive", "unpack it first: bunzip2 FILE"),
    (b"\xfd7zXZ", "an xz archive", "unpack it first: unxz FILE"),
    (b"%PDF", "a PDF document", "save its table as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file", "save the sheet as CSV"),
    (b"SQLite format 3", "an SQLite database", "export the table as CSV"),
    (b"\x89PNG", "a PNG image", "give a table of texts and labels"),
    (b"\xff\xd8\xff", "a JPEG image", "give a table of texts and labels"),
    (b"\x7fELF", "a program", "give a table of texts and labels"),
    (b"\x80\x04", "a Python pickle, which is never opened here", "save the table as CSV or Parquet"),
)

_COMMON_HAN = frozenset(
    "的一是不了在有我他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多天"
    "而能好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长知民样现分将外但身些与"
    "很买太喜欢错差快慢服务质量东西便宜推荐满意给非常感觉真让吃房间酒店价格送货书电影"
)


@dataclass(frozen=True, slots=True)
class Encoding:
    """An encoding that every byte of the file agrees with: Python's ``codec``, the ``name`` to show, and remarks."""

    codec: str
    name: str
    notes: tuple[str, ...] = ()


def recognise_encoding(path: Path, where: str, wanted: str = "auto") -> Encoding:
    """The encoding of a text file; ``where`` names it in errors.

    Reads the file once in bounded memory (twice when it is not UTF-8). Raises InputError for binary content, for a file
    that is damaged, and for one that no known encoding fits.
    """
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    if wanted != "auto":
        return _as_told(path, where, wanted)
    for mark, codec in _MARKS:
        if head.startswith(mark):
            return _marked(path, where, head, codec)
    _refuse_known_binary(head, where)
    wide = _wide_codec(head)
    if wide is not None and _first_fault(path, wide) is None:
        return Encoding(wide, f"{wide} without byte-order mark")
    _refuse_noise(head, where)
    fault = _first_fault(path, "utf-8")
    if fault is None:
        return Encoding("utf-8", "utf-8")
    return _not_utf8(path, where, head, fault)


def line_of_offset(path: Path, offset: int, codec: str = "utf-8") -> int:
    """The 1-based physical line on which the byte at ``offset`` stands."""
    number = 1
    with path.open("rb") as stream:
        before = stream.read(offset) if offset < (1 << 26) else stream.read(1 << 26)
    if codec.startswith(("utf-16", "utf-32")):
        text = before.decode(codec, errors="replace")
        return number + text.count("\n") + text.count("\r") - text.count("\r\n")
    return number + before.count(b"\n") + before.count(b"\r") - before.count(b"\r\n")


def _as_told(path: Path, where: str, wanted: str) -> Encoding:
    try:
        codec = codecs.lookup(wanted).name
        "a".encode(codec)
    except (LookupError, UnicodeError):
        raise InputError(
            "there is no encoding of this name",
            where=where,
            given=wanted,
            allowed="auto, utf-8, utf-16, gb18030, cp1252, big5, shift_jis, euc-kr ...",
            hint="data.format='{name: auto, encoding: gb18030}'",
        ) from None
    fault = _first_fault(path, codec)
    if fault is not None:
        raise _damaged(path, where, codec, fault)
    return Encoding("utf-8-sig" if codec == "utf-8" else codec, codec)


def _marked(path: Path, where: str, head: bytes, codec: str) -> Encoding:
    fault = _first_fault(path, codec)
    if fault is not None:
        raise _damaged(path, where, codec, fault)
    if codec == "utf-8-sig":
        return Encoding(codec, "utf-8 with byte-order mark")
    order = "le" if head[:1] == b"\xff" else "be"
    return Encoding(codec, f"{codec}-{order}")


def _refuse_known_binary(head: bytes, where: str) -> None:
    for magic, kind, hint in _KINDS:
        if head.startswith(magic):
            raise InputError(
                f"this is {kind}, not a table of texts",
                where=where,
                given=f"first bytes {head[:8].hex(' ')}",
                allowed="csv, tsv, jsonl, json, parquet or txt",
                hint=hint,
            )


def _refuse_noise(head: bytes, where: str) -> None:
    noise = sum(head.count(bytes([code])) for code in (*range(9), *range(14, 27), *range(28, 32), 127))
    if noise > max(2, len(head) // 100):
        raise InputError(
            "this is binary data, not text",
            where=where,
            given=f"{noise:,} control bytes in the first {len(head):,}",
            allowed="csv, tsv, jsonl, json, parquet or txt",
            hint="give the exported table, for example data.path=reviews.csv",
        )


def _wide_codec(head: bytes) -> str | None:
    """UTF-16 without a mark, seen from where the zero bytes of ASCII characters stand."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if even + odd < max(2, len(head) // 100):
        return None
    if odd > 10 * even:
        return "utf-16-le"
    return "utf-16-be" if even > 10 * odd else None


def _first_fault(path: Path, codec: str) -> int | None:
    """The offset of the first byte that the codec refuses, or None when the whole file decodes."""
    decoder = codecs.getincrementaldecoder(codec)()
    offset = 0
    for chunk in _chunks(path):
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(chunk, final=False)
        except UnicodeError as error:
            return offset - pending + getattr(error, "start", 0)
        offset += len(chunk)
    try:
        decoder.decode(b"", final=True)
    except UnicodeError:
        return max(0, offset - 1)
    return None


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk


def _not_utf8(path: Path, where: str, head: bytes, fault: int) -> Encoding:
    with path.open("rb") as stream:
        stream.seek(max(0, fault - HEAD_BYTES // 4))
        window = head + stream.read(HEAD_BYTES)
    if _is_mostly_utf8(window):
        raise _damaged(path, where, "utf-8", fault)
    if _is_plausible_gb(window) and _first_fault(path, "gb18030") is None:
        return Encoding("gb18030", "gb18030")
    raise _unclear(path, where, window, fault)


def _is_mostly_utf8(window: bytes) -> bool:
    """Whether multi-byte sequences of UTF-8 are far more frequent than bytes that break it."""
    text = window.decode("utf-8", errors="replace")
    broken = text.count("\ufffd")
    sound = sum(1 for character in text if character > "\x7f") - broken
    return sound > 4 * broken


def _is_plausible_gb(window: bytes) -> bool:
    """Whether the text reads as Chinese: two high bytes to a character, and enough of the most frequent characters."""
    text = window.decode("gb18030", errors="replace")
    han = [character for character in text if "\u4e00" <= character <= "\u9fff"]
    kana = sum(1 for character in text if "\u3040" <= character <= "\u30ff")
    foreign = sum(1 for character in text if character > "\x7f")
    if not han or text.count("\ufffd") > 2 + foreign // 100 or kana > len(han) // 4:
        return False
    plain = sum(1 for character in han if all(byte >= 0xA1 for byte in character.encode("gb18030")))
    late = sum(1 for character in han if character.encode("gb18030")[0] >= 0xC9)
    common = sum(1 for character in han if character in _COMMON_HAN)
    if late < 0.2 * len(han):  # Korean in EUC-KR ends at 0xC8, Chinese has half its characters behind
        return False
    return plain >= 0.85 * len(han) and common >= 0.1 * len(han) and len(han) >= 0.5 * foreign


def _unclear(path: Path, where: str, window: bytes, fault: int) -> InputError:
    """The error for a file in one of the many one-byte encodings, which no byte tells apart: the user is asked.

    charset-normalizer's statistical guess is only shown, beside how the text reads in it.
    """
    from charset_normalizer import from_bytes

    with path.open("rb") as stream:
        stream.seek(max(0, fault - HEAD_BYTES))
        before = stream.read(min(fault, HEAD_BYTES))
        around = before[-20:] + stream.read(20)
    if sum(byte >= 0xC0 for byte in before) >= _FEW_CHARACTERS:
        after = shorten(around[-20:].decode("gb18030", "replace"), 60)
        return InputError(
            "this file is UTF-8 up to this line, and something else from here on",
            where=f"{where}:{line_of_offset(path, fault)}",
            given=f"byte {fault:,}; as gb18030 it would read: {after}",
            allowed="one encoding in the whole file",
            hint="save both parts as UTF-8, or as two files: data.path='[FIRST, SECOND]'",
        )
    best = from_bytes(window[: HEAD_BYTES // 4] + window[-HEAD_BYTES // 4 :]).best()
    chinese = ["gb18030"] if _first_fault(path, "gb18030") is None else []
    guesses = dict.fromkeys((*chinese, "cp1252", *([best.encoding] if best is not None else [])))
    readings = [f"{guess}: {shorten(around.decode(guess, 'replace'), 60)}" for guess in guesses]
    return InputError(
        "this file is neither UTF-8, UTF-16 nor GB18030, and nothing in it names its encoding",
        where=f"{where}:{line_of_offset(path, fault)}",
        given=f"byte {fault:,}; it would read as {' | '.join(readings)}",
        allowed="an encoding under whose name the text reads right",
        hint=f"data.format='{{name: auto, encoding: {next(iter(guesses))}}}'",
    )


def _damaged(path: Path, where: str, codec: str, fault: int) -> InputError:
    with path.open("rb") as stream:
        stream.seek(fault)
        given = stream.read(4)
    return InputError(
        f"byte {fault:,} is not valid {codec}",
        where=f"{where}:{line_of_offset(path, fault, codec)}",
        given=given.hex(" "),
        allowed="one encoding throughout: utf-8, utf-16 or gb18030",
        hint="save the file as UTF-8, or name its encoding: data.format='{name: auto, encoding: cp1252}'",
    )
