"""Export: write a tuned model in a form that others load, and certify that it answers as the run does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from tunewright import extensions
from tunewright.adapt.save import Tuned, load_model
from tunewright.adapt.save_tagger import TunedTagger, load_tagger
from tunewright.answering import locate_run
from tunewright.assets import catalogue
from tunewright.data.prepare import open_dataset
from tunewright.deploy.card import Facts, model_card
from tunewright.deploy.certificate import Certificate, Certify, certify, sample
from tunewright.errors import InputError
from tunewright.infer.card import answers_with, require_card
from tunewright.infer.load import load_language_model, load_tokenizer, tokenize
from tunewright.infer.predict import predict_logits
from tunewright.infer.tagging import word_logits
from tunewright.infer.template import ChatTemplate
from tunewright.seams import Exporter, Reader
from tunewright.store.artifact import Artifact, Draft, commit_artifact, open_artifact
from tunewright.store.digest import digest_code, digest_json, sha256_file
from tunewright.store.run import RunFolder, unfinished
from tunewright.types import Floats, Tell, tell_nobody

FAMILY = "deploy.exporter"
DEFAULT = "transformers"
README = "README.md"
CERTIFICATE = "certificate.json"
LICENCES = ("LICENSE", "LICENCE", "NOTICE", "COPYING")
LIBRARIES = ("tunewright", "torch", "transformers", "tokenizers", "peft")

Language = Literal["en", "zh"]


def export(
    run: str | Path,
    out: str | Path,
    *,
    format: str = DEFAULT,  # noqa: A002 - the option's own name
    language: Language = "en",
    certificate: Certify.Config | None = None,
    runs: str | Path = "runs",
    tell: Tell = tell_nobody,
) -> dict[str, Any]:
    """Write the model of a finished run to the folder ``out``, with a model card and a certificate.

    Returns ``folder``, ``format``, ``files``, ``num_bytes``, ``digest`` and the ``certificate``. Raises InputError for a run
    or a model that cannot be exported so, GateError where what was written answers otherwise (nothing stays then),
    MachineError for a folder that is not free.
    """
    extensions.check(FAMILY, format, where="--format")
    exporter: Exporter = extensions.load(FAMILY, format)()
    config = certificate or Certify.Config()
    source = _open(locate_run(run, runs), tell)
    exporter.check(source.card, source.folder)
    code = digest_code("tunewright.deploy", "tunewright.deploying", "tunewright.infer")
    versions = {name: version(name) for name in LIBRARIES}
    asked = [format, language, config.model_dump(mode="json")]
    key = digest_json([source.model.digest, digest_json(source.result), asked, versions, code])

    def fill(draft: Draft) -> None:
        tell("writing", 0, None, str(out))
        exporter.write(source.folder, draft)
        for path in source.licence_files():
            draft.write_bytes(path.name, path.read_bytes())
        made = _certified(source, exporter, draft.folder, config, format, tell)
        shown = {**asdict(made), "passed": made.is_passed, "versions": versions}
        draft.write_json(CERTIFICATE, shown)
        facts = Facts(source.result, source.card, shown, format, terms=source.terms(), weights=_weights(draft))
        draft.write_bytes(README, model_card(facts, language).encode())

    written = commit_artifact(Path(out), key, fill)
    found = json.loads((written.folder / CERTIFICATE).read_text(encoding="utf-8"))
    files = sorted(path.name for path in written.folder.iterdir())
    return {
        "folder": str(written.folder),
        "format": format,
        "files": files,
        "num_bytes": written.num_bytes,
        "digest": written.digest,
        "certificate": found,
    }


@dataclass(frozen=True, slots=True)
class _Source:
    """A finished run: its folder, its result, its model with the card that says what it is."""

    folder: Path
    result: Mapping[str, Any]
    model: Artifact
    card: Mapping[str, Any]

    @property
    def base(self) -> Path:
        """The folder of the untouched base."""
        return Path(str(self.result.get("model", {}).get("folder", "")))

    def terms(self) -> str:
        """The terms that come with the base beyond its licence, where the catalogue knows them."""
        return next((asset.terms for asset in catalogue() if asset.name == self.card.get("base")), "")

    def licence_files(self) -> list[Path]:
        """The base's own licence files; they go where its weights go."""
        if not self.base.is_dir():
            return []
        return sorted(p for p in self.base.iterdir() if p.is_file() and p.name.upper().startswith(LICENCES))


def _open(folder: Path, tell: Tell) -> _Source:
    tell("checking the files", 0, None, str(folder))
    run = RunFolder.open(folder)
    result = run.read_json("result.json")
    model = open_artifact(folder / "model")
    if result is None or model is None:
        raise unfinished(run)
    return _Source(folder, result, model, require_card(model.folder))


def _certified(
    source: _Source, exporter: Exporter, written: Path, config: Certify.Config, name: str, tell: Tell
) -> Certificate:
    rows, num_available = _validation_rows(source, config.max_rows)
    tell("loading both models", 0, None, name)
    return certify(
        config,
        rows,
        before=_as_tuned(source),
        after=exporter.load(written, source.base, source.card),
        hop=f"the run's model -> {name}",
        num_available=num_available,
        tell=tell,
    )


def _validation_rows(source: _Source, most: int) -> tuple[list[Any], int]:
    """A sample of the validation rows: messages for a chat model, else texts."""
    data = open_artifact(source.folder / "data")
    table = open_dataset(data.folder).table("validation") if data is not None else None
    if table is None or not len(table):
        raise InputError(
            "the validation rows are not there, so nothing can be certified",
            where=str(source.folder / "data"),
            allowed="a run with its prepared data",
            hint=f"tunewright run {source.folder / 'recipe.yaml'} writes them again",
        )
    rows = sample(len(table), most)
    is_dialogue = "messages" in table.column_names
    values = table["messages" if is_dialogue else "text"].take(rows).to_pylist()
    if is_dialogue:
        values = [json.loads(value) if isinstance(value, str) else value for value in values]
    return values, len(table)


def _as_tuned(source: _Source) -> Reader:
    folder = source.folder / "model"
    kind = answers_with(source.card)
    if kind == "spans":
        return _Tagger(load_tagger(folder))
    return _Chat(folder, source.card.get("max_length")) if kind == "text" else _Classifier(load_model(folder))


class _Classifier:
    """A tuned classifier as this package asks it."""

    def __init__(self, tuned: Tuned) -> None:
        self._tuned = tuned

    def encode(self, row: Any) -> list[int]:
        return tokenize(self._tuned.tokenizer, [row], self._tuned.max_length)[0]

    def logits(self, ids: Sequence[int]) -> Floats:
        return predict_logits(self._tuned.module, [list(ids)])


class _Tagger:
    """A tuned tagger as this package asks it about one window of a text."""

    def __init__(self, tuned: TunedTagger) -> None:
        self._tuned = tuned

    def encode(self, row: Any) -> list[int]:
        return tokenize(self._tuned.tokenizer, [row], self._tuned.max_length)[0]

    def logits(self, ids: Sequence[int]) -> Floats:
        return word_logits(self._tuned.module, [list(ids)], [range(len(ids))])[0]


class _Chat:
    """A tuned chat model as this package reads conversations."""

    def __init__(self, folder: Path, max_length: int | None = None) -> None:
        tokenizer = load_tokenizer(folder)
        self._max_length = max_length
        self._tokenizer, self._template = tokenizer, ChatTemplate.of(folder, tokenizer)
        self._model: Any = load_language_model(folder)

    def encode(self, row: Any) -> list[int]:
        return (
            tokenize(self._tokenizer, [row], self._max_length)[0]
            if isinstance(row, str)
            else list(self._template.encode(row).ids)
        )

    def logits(self, ids: Sequence[int]) -> Floats:
        with torch.no_grad():
            logits: Floats = self._model(input_ids=torch.tensor([list(ids)])).logits[0].double().numpy()
        return logits


def _weights(draft: Draft) -> dict[str, str]:
    """The SHA-256 of each file of weights that was written."""
    return {path.name: sha256_file(path) for path in sorted(draft.folder.glob("*.safetensors"))}
