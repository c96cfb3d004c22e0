"""Talk with a run's tuned model, and on request with the base that it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tunewright import extensions
from tunewright.answering import locate_run
from tunewright.answering.text import judged_sampling
from tunewright.errors import InputError
from tunewright.infer.card import require_card, writes_text
from tunewright.infer.conversation import Conversation, open_conversation
from tunewright.model.inspect import read_folder
from tunewright.model.select import Select, select
from tunewright.store.run import RESULT, read_document
from tunewright.types import Sampling, Tell, tell_nobody


@dataclass
class Talk:
    """One dialogue with one or two models; each keeps its own answers in its memory.

    An answer is cut where question and answer would be longer than ``context_tokens``, all that the models can read. ``turn`` is
    how a typed text is said, as the model was tuned: with its instruction before it.
    """

    speakers: dict[str, Conversation]
    sampling: Sampling
    context_tokens: int
    system: str = ""
    turn: Callable[[str], str] = str
    _messages: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def say(self, speaker: str, text: str) -> Iterator[str]:
        """The pieces of this speaker's answer as they come; what was said is remembered once it is complete."""
        history = self._messages.setdefault(speaker, self._opening())
        messages = [*history, {"role": "user", "content": self.turn(text)}]
        conversation = self.speakers[speaker]
        prompt = conversation.template.prompt(messages)
        room = self.context_tokens - len(prompt)
        sampling = replace(self.sampling, max_tokens=max(1, min(self.sampling.max_tokens, room)))
        pieces: list[str] = []
        for piece in conversation.pieces(conversation.engine.stream(prompt, sampling)):
            pieces.append(piece)
            yield piece
        history[:] = [*messages, {"role": "assistant", "content": "".join(pieces)}]

    def forget(self) -> None:
        """Begin anew."""
        self._messages.clear()

    def close(self) -> None:
        """Let go of the models."""
        for conversation in self.speakers.values():
            conversation.engine.close()

    def _opening(self) -> list[dict[str, Any]]:
        return [{"role": "system", "content": self.system}] if self.system else []


def open_talk(
    run: str | Path,
    *,
    sampling: Sampling,
    system: str = "",
    with_base: bool = False,
    runs: str | Path = "runs",
    tell: Tell = tell_nobody,
) -> Talk:
    """A Talk with the model tuned in ``run``, and with its base beside it. Raises InputError where it does not write text."""
    folder = locate_run(run, runs) / "model"
    card = _card_of_writer(folder)
    speakers = {}
    if with_base:
        tell("loading the base", 0, None, str(card["base"]))
        base = select(
            Select.Config(name=str(card["base"]), accept_terms=True), None, runs=folder.parent.parent, tell=tell
        )
        speakers["base"] = open_conversation(base.folder)
    tell("loading the model", 0, None, str(run))
    speakers["tuned"] = open_conversation(folder)
    context = read_folder(folder, tell=tell).max_positions
    kind: Any = extensions.load("adapt.task", card["task"])
    task = kind(kind.Config(**card["options"]))
    for conversation in speakers.values() if not task.converses else ():
        conversation.template = task.template(folder, conversation.tokenizer)
    system = system or str(card["options"].get("system", ""))
    return Talk(speakers, sampling, context, system, lambda text: str(task.asked(text)[-1]["content"]))


def judged_temperature(run: str | Path, *, runs: str | Path = "runs") -> float:
    """The temperature at which the answers of ``run`` were judged. Raises InputError where there is no such run."""
    return judged_sampling(read_document(locate_run(run, runs) / RESULT) or {}).temperature


def _card_of_writer(folder: Path) -> dict[str, Any]:
    """The card of the tuned model in ``folder``. Raises InputError for one that does not write text."""
    card = require_card(folder)
    if not writes_text(card):
        raise InputError(
            "this model does not write text",
            where=str(folder),
            given=f"a model tuned to {card.get('task')}",
            allowed="a model tuned with the task chat or generate",
            hint=f"tunewright predict {folder.parent} 'your text here'",
        )
    return card


def reply(talk: Talk, texts: Sequence[str]) -> list[dict[str, str]]:
    """The whole answers of every speaker to the texts, said one after the other in one dialogue."""
    return [{"user": text, **{name: "".join(talk.say(name, text)) for name in talk.speakers}} for text in texts]
