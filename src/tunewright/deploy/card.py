"""The model card of an export: what the model is, what it was made of, how it was judged, how it is used, where it ends.

Written from ``result.json`` and the certificate. It holds counts and names of labels, never a text of the data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunewright.deploy import usage
from tunewright.deploy.wording import OUTCOMES, SYSTEMS, WORDS
from tunewright.infer.card import answers_with

HUB_LICENCES = frozenset(
    "apache-2.0 mit bsd-2-clause bsd-3-clause cc-by-4.0 cc-by-sa-4.0 cc-by-nc-4.0 cc0-1.0 gpl-3.0 gemma llama3".split()
)
"""Names by which hubs know licences; any other is called ``other``, with its name beside it."""

PIPELINES = {"text": "text-generation", "labels": "text-classification", "spans": "token-classification"}
"""What a model answers with -> what hubs call that."""

MOST_LABELS = 30
LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Facts:
    """What a card is written from: ``result.json``, ``tunewright.json``, the certificate, and the hashes of weights."""

    result: Mapping[str, Any]
    model: Mapping[str, Any]
    certificate: Mapping[str, Any]
    format: str
    terms: str
    weights: Mapping[str, str]

    @property
    def answers(self) -> str:
        """What the model answers with: labels, spans or text."""
        return answers_with(self.model)

    @property
    def is_chat(self) -> bool:
        """Whether the model answers in text."""
        return self.answers == "text"


def model_card(facts: Facts, language: str) -> str:
    """The card as Markdown with a YAML head, in ``en`` or ``zh``."""
    words = WORDS[language]
    parts = [
        _head(facts, language),
        f"# {_plain(facts.result.get('id', ''))}\n",
        _sentence(facts, words),
        *_section(words["licence"], _licence(facts, words)),
        *_section(words["data"], _data(facts, words)),
        *_section(words["verdict"], _verdict(facts, words, language)),
        *_section(words["use"], _use(facts, words)),
        *_section(words["limits"], _limits(facts, words)),
        *_section(words["certificate"], _certificate(facts, words)),
        *_section(words["hashes"], _hashes(facts, words)),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _head(facts: Facts, language: str) -> str:
    licence = str(facts.model.get("licence", "")) or "unknown"
    known = licence.lower() if licence.lower() in HUB_LICENCES else "other"
    head: dict[str, object] = {
        "library_name": "peft" if facts.format == "adapter" else "transformers",
        "pipeline_tag": PIPELINES[facts.answers],
        "license": known,
        **({"license_name": licence} if known == "other" else {}),
        "base_model": facts.model.get("base", ""),
        "language": language,
        "tags": ["tunewright", str(facts.model["task"])],
    }
    if facts.is_chat or facts.format == "adapter":
        del head["language"]  # of the data it is not known
    return (
        "---\n" + "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in head.items()) + "---\n"
    )


def _sentence(facts: Facts, words: Mapping[str, str]) -> str:
    method = facts.result.get("method", "full")
    return (
        words["what"].format(
            kind=words[f"answers_{facts.answers}"], base=_code(facts.model.get("base")), method=_code(method)
        )
        + "\n"
    )


def _licence(facts: Facts, words: Mapping[str, str]) -> Iterator[str]:
    licence = _plain(facts.model.get("licence")) or words["unknown"]
    yield words["inherited"].format(licence=licence, base=_code(facts.model.get("base")))
    if facts.terms:
        yield words["terms"].format(terms=facts.terms)
    for note in facts.result.get("model", {}).get("notes", []):
        yield f"- {_plain(note)}"


def _data(facts: Facts, words: Mapping[str, str]) -> Iterator[str]:
    data, ledger = facts.result.get("data", {}), facts.result.get("ledger", {})
    splits = ", ".join(f"{words.get(name, name)} {count:,}" for name, count in data.get("splits", {}).items())
    yield words["rows"].format(total=ledger.get("total", 0), splits=splits)
    yield words["ledger"].format(**{name: ledger.get(name, 0) for name in ("truncated", "duplicate", "rejected")})
    if labels := facts.model.get("labels"):
        counts = data.get("label_counts", {}).get("train", {})
        shown = [[_plain(label), f"{counts.get(label, 0):,}"] for label in labels[:MOST_LABELS]]
        yield "\n" + _table([words["label"], words["train_rows"]], shown)
        if len(labels) > MOST_LABELS:
            yield words["more_labels"].format(count=len(labels) - MOST_LABELS)


def _verdict(facts: Facts, words: Mapping[str, str], language: str) -> Iterator[str]:
    verdict = facts.result.get("verdict")
    if not verdict:
        yield words["no_verdict"]
        return
    yield f"**{_outcome(verdict, language)}**"
    if language == "en":
        yield _plain(verdict.get("sentence"))
    yield words["judged"].format(rows=facts.result.get("num_judged", 0), metric=_code(verdict.get("metric")))
    rows = []
    for one in verdict.get("comparisons", []):
        low, high = one["interval"]
        name = SYSTEMS[language].get(one["against"], _plain(one["against"]))
        mark = " *" if one.get("required") else ""
        gap = f"{one['difference']:+.3f} ({low:+.3f} … {high:+.3f})"
        rows.append([name + mark, f"{one['tuned']:.3f}", f"{one['opponent']:.3f}", gap, f"{one['p_holm']:.3g}"])
    if rows:
        yield "\n" + _table([words[name] for name in ("against", "tuned", "opponent", "difference", "p")], rows)
        yield words["required"]


def _outcome(verdict: Mapping[str, Any], language: str) -> str:
    """The outcome as a sentence; where some of the opponents that decide were beaten and others not, which."""
    required = [one for one in verdict.get("comparisons", []) if one.get("required")]
    names: dict[bool, list[str]] = {True: [], False: []}
    for one in required:
        names[one["p"] < LEVEL].append(SYSTEMS[language].get(one["against"], _plain(one["against"])))
    if verdict["outcome"] != "no evidence" or not all(names.values()):
        return OUTCOMES[language].get(verdict["outcome"], verdict["outcome"])
    joint = WORDS[language]["joint"]
    return WORDS[language]["partly"].format(beaten=joint.join(names[True]), others=joint.join(names[False]))


def _use(facts: Facts, words: Mapping[str, str]) -> Iterator[str]:
    yield f"```python\n{usage.code(facts.model, facts.format)}```"
    if facts.format == "adapter":
        yield words["base_folder"].format(base=_code(facts.model.get("base")))
    if cleaners := facts.model.get("clean"):
        yield words["clean"].format(cleaners=", ".join(map(_code, cleaners)))


def _limits(facts: Facts, words: Mapping[str, str]) -> Iterator[str]:
    if facts.model.get("max_length"):
        yield "- " + words["length"].format(tokens=facts.model["max_length"])
    yield "- " + words[f"{facts.answers}_limits"]
    required = [one for one in facts.result.get("verdict", {}).get("comparisons", []) if one.get("required")]
    if required:
        yield "- " + words["detectable"].format(size=max(float(one["smallest_detectable"]) for one in required))
    yield "- " + words["other_data"]


def _certificate(facts: Facts, words: Mapping[str, str]) -> Iterator[str]:
    found = facts.certificate
    yield words["compared"].format(
        rows=found["num_rows"],
        available=found["num_available"],
        positions=found["num_positions"],
        hop=_plain(found["hop"]),
    )
    rows = [
        [words["tokens"], f"{found['rows_with_equal_tokens']:,} / {found['num_rows']:,}"],
        [words["gap"], f"{found['largest_gap']:.3g} (≤ {found['limit']:.3g})"],
        [words["top1"], f"{found['top1_agreement']:.2%}"],
    ]
    yield "\n" + _table(["", ""], rows)
    yield words["certificate_limits"].format(precision=_plain(found["precision"]))


def _hashes(facts: Facts, words: Mapping[str, str]) -> Iterator[str]:
    known = facts.result.get("hashes", {})
    rows = [[_code(name), _code(digest)] for name, digest in facts.weights.items()]
    rows += [[words[f"hash_{name}"], _code(known[name])] for name in ("data", "base") if name in known]
    yield _table(["", "SHA-256"], rows)


def _section(title: str, lines: Iterator[str]) -> Sequence[str]:
    return [f"## {title}\n", *lines, ""]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines) + "\n"


def _plain(value: object) -> str:
    """A value on one line, with nothing in it that Markdown or HTML would read."""
    text = " ".join(str("" if value is None else value).split())
    return "".join(f"&#{ord(letter)};" if letter in "<[]`*_&\\" else letter for letter in text)


def _code(value: object) -> str:
    text = " ".join(str("" if value is None else value).split()).replace("`", "'")
    return f"`{text}`" if text else ""
