"""Unicode normalisation, so that equal characters are equal code points."""

from __future__ import annotations

import unicodedata
from typing import Literal

from tunewright.config.base import ComponentConfig, Option


class Unicode:
    """Brings text into a normalisation form of Unicode Standard Annex 15."""

    class Config(ComponentConfig):
        """The options of ``unicode``."""

        form: Literal["NFC", "NFKC"] = Option(
            "NFC", "NFC keeps what is seen; NFKC also folds widths, ligatures, circled digits."
        )

    def __init__(self, config: Config | None = None) -> None:
        """Hold the form."""
        self._form: Literal["NFC", "NFKC"] = (config or self.Config()).form

    def apply(self, text: str) -> str:
        """The text in normal form. ValueError for a lone surrogate, which is half a character."""
        if text.isascii():
            return text
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("not valid Unicode (half a surrogate pair)") from None
        return text if unicodedata.is_normalized(self._form, text) else unicodedata.normalize(self._form, text)
