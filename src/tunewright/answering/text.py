"""A tuned model that answers with text: a request is a dialogue in which the user has spoken last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright import extensions
from tunewright.adapt.dialogue import split_last, to_answer
from tunewright.adapt.writing import ReadRequest
from tunewright.answering.base import Evidence, Prediction, Request, text_column
from tunewright.data.clean.base import build_chain
from tunewright.data.profile import column_value
from tunewright.evaluate.config import Evaluate
from tunewright.evaluate.resample import sample_rows
from tunewright.infer.conversation import Conversation, open_conversation
from tunewright.model.inspect import read_max_positions
from tunewright.store.run import RESULT, read_document
from tunewright.types import Classified, ColumnProfile, Row, Sampling, Tell

if TYPE_CHECKING:
    import pyarrow as pa

DIALOGUES = "dialogues in a column `messages`, questions in `prompt` or `instruction`, or any texts in a column `text`"


class TextAnswerer:
    """A tuned language model; it is loaded when it is first asked to answer."""

    added = ("answer", "finish")

    def __init__(self, run: Path, card: Mapping[str, Any]) -> None:
        """``card`` is that of the model of the run in this folder."""
        self._run = run
        self._chain = build_chain(card.get("clean", []))
        kind: Any = extensions.load("adapt.task", card["task"])
        self.task: Any = kind(kind.Config(**card["options"]))
        self._result = read_document(run / RESULT) or {}

    def reader(
        self, columns: Sequence[str], profiles: Sequence[ColumnProfile], file: str
    ) -> Callable[[Row], Request | None]:
        """The columns that the task knows; else the column ``text``, or the only one, as what somebody typed."""
        found = self.task.requests(profiles, self._result.get("data", {}).get("columns", {}))
        if found is None:
            typed = {self.task.typed: text_column("text", columns, file, DIALOGUES)}
            found = self.task.requests(profiles, typed)
        names, read = found
        return lambda fields: self._read(read, fields, names)

    def request(self, text: str) -> Request | None:
        """The text as the user's turn, with what the task says before it."""
        return self._read(lambda row: self.task.asked(str(row["text"])), {"text": text}, {"text": "text"})

    def prepared(self, rows: pa.Table) -> list[Request]:
        """The dialogues up to the user's last turn."""
        if not self.task.converses:
            return [_request(self.task.asked(text)) for text in self.task.texts(rows)]
        return [_request(to_answer(messages)) for messages in self.task.dialogues(rows)]

    def answer(self, requests: Sequence[Request | None], tell: Tell) -> list[Prediction]:
        """``answer`` and ``finish``: ``stop`` where the answer ended by itself, ``length`` where it was cut."""
        predictions: list[Prediction] = [dict.fromkeys(self.added) for _ in requests]
        asked = {row: request.asked for row, request in enumerate(requests) if request is not None}
        if asked:
            context = read_max_positions(self._run / "model")
            sampling = judged_sampling(self._result)
            numbers, said = self._conversation.answer_readable(
                list(asked.values()), sampling, context, tell, "answering"
            )
            rows = list(asked)
            for number, text, stopped in zip(numbers, said.texts, said.stopped, strict=True):
                predictions[rows[number]] = {"answer": text, "finish": "stop" if stopped else "length"}
        return predictions

    def classify(self, requests: Sequence[Request], tell: Tell) -> Classified | None:
        """It chooses no labels."""
        return None

    def evidence(self, rows: pa.Table, config: Evaluate.Config, tell: Tell) -> Evidence:
        """The likelihood of the reference answers, which decides, and answers of its own to a sample of the dialogues."""
        from tunewright.judging.preferences import prefers
        from tunewright.judging.speaker import Reader, Speaker

        model = self._run / "model"
        speaker = Speaker(self._run.name, Reader(model, tell, self.task.template), read_max_positions(model))
        dialogues = self.task.dialogues(rows)
        chosen = sample_rows(len(dialogues), config.generated_rows, config.seed)
        decisive = prefers(self.task, model, rows, tell)
        if decisive is not None:
            said = speaker.answers([split_last(dialogues[row])[0] for row in chosen], config.sampling)
            return Evidence(decisive, said, chosen)
        return Evidence(
            speaker.likelihood(dialogues, self.task.learnt, "the test dialogues"),
            speaker.answers([split_last(dialogues[row])[0] for row in chosen], config.sampling),
            chosen,
        )

    def close(self) -> None:
        """Cancel what is under way and let go of the model, where it was loaded."""
        if "_conversation" in self.__dict__:
            self._conversation.close()

    @cached_property
    def _conversation(self) -> Conversation:
        folder = self._run / "model"
        made = open_conversation(folder)
        if not self.task.converses:
            made.template = self.task.template(folder, made.tokenizer)
        return made

    def _read(self, read: ReadRequest, fields: Row, names: Mapping[str, str]) -> Request | None:
        try:
            row = {field: self._chain.apply_within(column_value(fields, name)) for field, name in names.items()}
            return _request(read(row))
        except ValueError:
            return None


def _request(messages: Sequence[Mapping[str, Any]]) -> Request:
    said = [str(message["content"]) for message in messages]
    return Request(messages, said[-1], "\n".join(said))


def judged_sampling(result: Mapping[str, Any]) -> Sampling:
    """How the answers of a run were drawn when they were judged, by its ``result.json``."""
    asked = result.get("config", {}).get("values", {}).get("evaluate", {})
    known = {name: asked[name] for name in ("max_new_tokens", "temperature", "seed") if name in asked}
    return Evaluate.Config(**known).sampling
