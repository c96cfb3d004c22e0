"""Preferences: of two answers to a prompt the model learns to give the better one (DPO, IPO, SimPO, ORPO).

    {"prompt": "Hi", "chosen": "Hello!", "rejected": "What."}
        ->  {"messages": '[{"role": "user", "content": "Hi"}]', "chosen": "Hello!", "rejected": "What."}

Other forms are recognised by their columns (``adapt/preference.py``). The prompt is read once for both answers. The reference
is the base itself: its log-probabilities are taken once, before the first step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from tunewright.adapt.preference import FIELDS, as_dialogue, read_preference, recognise_preferences
from tunewright.adapt.writing import ReadRequest, Writing, parse
from tunewright.config.base import ComponentConfig, Option
from tunewright.seams import RowEncoder
from tunewright.types import (
    Answer,
    Base,
    Choice,
    ColumnProfile,
    Dataset,
    Field,
    Floats,
    Ints,
    Objective,
    Preferred,
    Recognition,
    Row,
)

if TYPE_CHECKING:
    import pyarrow as pa
    import torch


class Prefer(Writing):
    """Learns which of two answers is the better one, on a decoder, by the model's own template."""

    class Config(ComponentConfig):
        """Options of preferences."""

        only_training = frozenset({"loss", "beta", "gamma", "label_smoothing"})

        loss: Literal["dpo", "ipo", "simpo", "orpo"] = Option(
            "dpo", "The loss of a pair; simpo and orpo need no reference, orpo learns the better answer itself, too."
        )
        beta: float = Option(
            0.1,
            "dpo, ipo: how near the reference is kept, more is nearer; simpo: scale (2 is usual); orpo: weight.",
            gt=0,
            le=100,
        )
        gamma: float = Option(0.5, "simpo: the margin by which the better answer is to lead.", ge=0, le=100)
        label_smoothing: float = Option(0.0, "dpo: the share of pairs that may be the wrong way round.", ge=0.0, lt=0.5)
        system: str = Option("", "System message for rows that have none.", max_length=20_000)

    name = "prefer"
    typed = "prompt"
    noun = "pairs"

    fields: Sequence[Field] = FIELDS
    stored: Sequence[Field] = (
        Field("messages", "messages", "The dialogue up to the user's last turn, as JSON."),
        Field("chosen", "text", "The better answer."),
        Field("rejected", "text", "The worse answer."),
    )

    def __init__(self, config: Config | None = None) -> None:
        """There is one form."""
        self.config: Prefer.Config = config or self.Config()

    def recognise(self, profiles: Sequence[ColumnProfile]) -> Recognition | None:
        """Which columns hold the answers, and what they are given to."""
        return recognise_preferences(profiles)

    def tuned_to(
        self, profiles: Sequence[ColumnProfile], columns: Mapping[str, str]
    ) -> tuple[Prefer, tuple[Choice, ...]]:
        """Nothing is left to decide."""
        return self, ()

    def read(self, fields: Row) -> Row:
        """The dialogue as JSON, and both answers; ValueError says why a row is unusable."""
        asked, chosen, rejected = read_preference(fields, self.config.system)
        return {"messages": json.dumps(asked, ensure_ascii=False), "chosen": chosen, "rejected": rejected}

    def identity(self, fields: Row) -> str:
        """Duplicates are judged by the dialogue and both answers."""
        return "\n".join([super().identity(fields), str(fields["chosen"]), str(fields["rejected"])])

    def requests(
        self, profiles: Sequence[ColumnProfile], known: Mapping[str, str]
    ) -> tuple[Mapping[str, str], ReadRequest] | None:
        """As dialogues are asked."""
        from tunewright.adapt.dialogue import read_request, recognise_requests

        answers = ("chosen", "rejected")
        found = recognise_requests(profiles, {name: at for name, at in known.items() if name not in answers})
        if found is None:
            return None
        form, names = found
        return names, lambda fields: read_request(form, fields, self.config.system)

    def asked(self, text: str) -> list[dict[str, Any]]:
        """The text as the user's turn."""
        return [*self._opening(), {"role": "user", "content": text}]

    def _opening(self) -> list[dict[str, Any]]:
        return [{"role": "system", "content": self.config.system}] if self.config.system else []

    def bind(self, dataset: Dataset) -> Prefer:
        """There is no label set to learn."""
        return self

    # -- questions asked of a bound task

    def pairs(self, rows: pa.Table) -> list[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
        """Each dialogue with the better and with the worse answer."""
        columns = (rows[name].to_pylist() for name in ("messages", "chosen", "rejected"))
        return [
            (as_dialogue(asked := parse(text), chosen), as_dialogue(asked, rejected))
            for text, chosen, rejected in zip(*columns, strict=True)
        ]

    def dialogues(self, rows: pa.Table) -> list[list[Mapping[str, Any]]]:
        """Each dialogue with the better answer."""
        return [list(chosen) for chosen, _ in self.pairs(rows)]

    def open_encoder(self, base: Base) -> RowEncoder:
        """Pairs by the base's own template."""
        from tunewright.adapt.language import require_writer
        from tunewright.adapt.preference_encoder import PreferenceEncoder
        from tunewright.infer.load import load_tokenizer

        require_writer(base)
        return PreferenceEncoder(self, self.template(base.folder, load_tokenizer(base.folder)))

    def attach(self, base: Base, seed: int) -> torch.nn.Module:
        """The base, reading pairs. Raises InputError for one that does not write text."""
        from tunewright.adapt.language import require_writer
        from tunewright.adapt.pairs import PairModel
        from tunewright.infer.load import load_language_model

        require_writer(base)
        return PairModel(load_language_model(base.folder))

    @property
    def has_reference(self) -> bool:
        """Whether the loss asks what the base makes of the answers."""
        return self.config.loss in ("dpo", "ipo")

    def with_reference(self, targets: torch.Tensor, bounds: Ints, answers: Floats) -> torch.Tensor:
        """targets[T] of rows between ``bounds``[N+1] with what the untouched module answers[N, 6] of them."""
        import torch

        found = targets.clone()
        starts = torch.from_numpy(bounds[:-1])
        for at in (0, 1):
            found[starts + at] = torch.from_numpy(answers[:, at]).to(targets.dtype).clamp(max=0)
        return found

    def objective(self) -> Objective:
        """The loss of a pair."""
        chosen = self.config.model_dump(include={"loss", "beta", "gamma", "label_smoothing"})
        return Objective("preference", chosen)

    def gold(self, rows: pa.Table) -> Answer:
        """The better answer leads in every row."""
        import numpy as np

        return Preferred(np.ones(rows.num_rows))

    def decode(self, outputs: Floats) -> Answer:
        """By how much the better answer leads: in implicit reward, or in likelihood by token where there is no reference."""
        outputs = outputs.reshape(-1, 6)
        logs, lengths, reference = outputs[:, :2], outputs[:, 2:4].clip(min=1), outputs[:, 4:]
        rewards = self.config.beta * (logs - reference) if self.has_reference else logs / lengths
        return Preferred(rewards[:, 0] - rewards[:, 1])

    @property
    def metrics(self) -> Sequence[str]:
        """What is reported, the primary one first."""
        return ("preference_accuracy", "preference_margin", "chrf", "stop_rate", "repetition", "length_ratio")

    @property
    def baselines(self) -> Sequence[str]:
        """What the tuned model is compared with."""
        return ("untouched_base", "answer_length")
