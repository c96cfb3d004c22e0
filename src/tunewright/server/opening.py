"""Open what is to be served: a run, a folder that was tuned or exported here, or a base model under any name."""

from __future__ import annotations

from pathlib import Path

from tunewright.adapt.save import load_model
from tunewright.adapt.save_tagger import load_tagger
from tunewright.answering import locate_run
from tunewright.errors import InputError
from tunewright.infer.card import CARD, answers_with, read_card
from tunewright.infer.conversation import open_conversation
from tunewright.infer.golden import check_golden
from tunewright.infer.load import load_tokenizer
from tunewright.model.inspect import read_folder
from tunewright.model.select import Select, select
from tunewright.server.served import Model
from tunewright.store.artifact import open_artifact
from tunewright.store.manifest import is_artifact
from tunewright.store.run import is_run
from tunewright.types import Tell, tell_nobody


def open_model(what: str, *, runs: str | Path = "runs", accept_terms: bool = False, tell: Tell = tell_nobody) -> Model:
    """The model of a run (folder or id), of a folder, or a base as ``model.name`` of a recipe would name it.

    Raises InputError for what is not there or cannot answer, CorruptError for damaged files or an encoder other than the one
    in training, GateError for terms not accepted.
    """
    folder = Path(what).expanduser()
    if is_run(folder) or (folder.name == what and is_run(Path(runs) / what)):
        run = locate_run(what, runs)
        return open_folder(run / "model", run.absolute().name, tell)
    if (folder / CARD).is_file():
        return open_folder(folder, folder.absolute().name, tell)
    base = select(Select.Config(name=what, accept_terms=accept_terms), None, runs=Path(runs), tell=tell)
    name = folder.absolute().name if folder.is_dir() else what
    return open_folder(base.folder, name, tell)


def open_folder(folder: Path, name: str, tell: Tell = tell_nobody) -> Model:
    """The model in a folder, under ``name``; its hashes are checked where it has a manifest of ours."""
    tell("checking the files", 0, None, str(folder))
    if is_artifact(folder):
        open_artifact(folder)
    card = read_card(folder)
    if card is not None and answers_with(card) == "spans":
        tagger = load_tagger(folder)
        checked = check_golden(card, tagger.tokenizer, folder=folder)
        return Model(name=name, folder=folder, context_tokens=tagger.max_length, tagger=tagger, checked=checked)
    if card is not None and answers_with(card) == "labels":
        tuned = load_model(folder)
        checked = check_golden(card, load_tokenizer(folder), folder=folder)
        return Model(name=name, folder=folder, context_tokens=tuned.max_length, tuned=tuned, checked=checked)
    portrait = read_folder(folder, tell=tell)
    if portrait.kind != "decoder":
        raise InputError(
            "this model has nothing to answer with",
            where=str(folder),
            given=f"{portrait.architecture}, an encoder that was not tuned",
            allowed="a tuned model, or a base that generates text",
            hint="tunewright run FILE",
        )
    conversation = open_conversation(folder)
    try:
        checked = check_golden(card or {}, conversation.tokenizer, conversation.template, folder=folder)
    except BaseException:
        conversation.close()
        raise
    context = portrait.max_positions
    return Model(name=name, folder=folder, context_tokens=context, conversation=conversation, checked=checked)
