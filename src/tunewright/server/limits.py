"""What one server takes on: limits, each with a default."""

from __future__ import annotations

from tunewright.config.base import ComponentConfig, Option


class Limits:
    """The limits of a server."""

    class Config(ComponentConfig):
        """Options of `tunewright serve`."""

        max_body_bytes: int = Option(1 << 20, "Bytes of a request's body; more is answered with 413.", ge=1)
        max_batch: int = Option(64, "Texts of one classify request, or prompts of one completion request.", ge=1)
        max_input_tokens: int = Option(8192, "Tokens of one text or prompt, within what the model can read.", ge=1)
        max_tokens: int = Option(1024, "Tokens of one answer; also the default where a request names none.", ge=1)
        max_requests: int = Option(32, "Requests under way at once; one more is answered with 429.", ge=1)
        max_seconds: float = Option(120.0, "Seconds for one request, its body and its answer together.", gt=0)
