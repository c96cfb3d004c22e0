"""What the report may show, as the recipe's ``report`` section says it, and as an earlier run recorded it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import ValidationError

from tunewright.config.base import ComponentConfig, Option
from tunewright.report.node import Node
from tunewright.report.privacy import Policy


class Report:
    """Decides what of the user's rows is kept in ``result.json`` and shown on the page."""

    class Config(ComponentConfig):
        """What the report shows of the rows that were answered wrong."""

        rows: Literal["none", "ids", "text"] = Option(
            "text", "Wrong rows in the report: none, only their id and file:line, or with their text."
        )
        mask: bool = Option(
            True, "Mask e-mail addresses, phone, card, account and identity numbers and IP addresses in shown texts."
        )
        max_errors: int = Option(50, "The most wrong rows to keep, the most confident first.", ge=0, le=10_000)

    def __init__(self, config: Config | None = None) -> None:
        """Hold the configuration; the default one without."""
        self.config = config or self.Config()

    @classmethod
    def recorded(cls, result: Mapping[str, object]) -> Report:
        """As the run's own configuration says; one that cannot be read shows no rows at all."""
        recorded = Node(result)["config"]["values"]["report"].value
        if recorded is None:
            return cls()
        known = recorded if isinstance(recorded, Mapping) else {"rows": recorded}
        try:
            return cls(cls.Config.model_validate({key: known[key] for key in cls.Config.model_fields if key in known}))
        except ValidationError:
            return cls(cls.Config(rows="none"))

    @property
    def policy(self) -> Policy:
        """What may be shown of the user's rows."""
        return Policy(self.config.rows, self.config.mask, self.config.max_errors)

    def select_dialogues(self, rows: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
        """The answered dialogues of a text model as ``result.json`` may hold them."""
        return self.policy.select_dialogues(rows)

    def select_xray(self, xray: Mapping[str, object]) -> dict[str, object]:
        """The X-ray as ``result.json`` may hold it."""
        return self.policy.select_xray(xray)

    def select_errors(self, errors: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
        """The wrong rows as ``result.json`` may hold them: cut to ``max_errors``, without text or masked, as configured."""
        return self.policy.select(errors)
