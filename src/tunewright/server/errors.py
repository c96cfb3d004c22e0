"""Errors in OpenAI's form: ``{"error": {"message", "type", "param", "code"}}``, one for every status that can occur."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi.responses import Response
from pydantic import BaseModel, Field

from tunewright.errors import InputError, TunewrightError, shorten

STATUSES: Mapping[int, str] = {
    400: "The request cannot be answered as it stands; `param` names the field.",
    401: "The key is missing or wrong.",
    403: "The Host header names another machine than this one.",
    404: "There is no such route or model, or the model that is served does not answer this kind of request.",
    405: "This route knows other methods; the Allow header names them.",
    408: "The body did not arrive in time.",
    413: "The body is larger than the server takes.",
    429: "As many requests are under way as the server takes at once.",
    500: "The server failed.",
    503: "The server is closing down.",
    504: "The answer took longer than the server allows.",
}

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class Detail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None = Field(description="The field of the request that is at fault.")
    code: str | None


class Problem(BaseModel):
    """An error."""

    error: Detail


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None, **headers: str
    ) -> None:
        """``headers`` go out with the answer; underscores in their names become hyphens."""
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def as_json(self) -> dict[str, Any]:
        """OpenAI's form."""
        fallback = "invalid_request_error" if self.status < 500 else "server_error"
        kind = _TYPES.get(self.status, fallback)
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        """The answer; everything beyond ASCII is escaped, so that no broken character can break the answer, too."""
        content = json.dumps(self.as_json())
        return Response(content, self.status, self.headers, media_type="application/json")


def refusal_of(error: BaseException) -> Refusal:
    """What a client is told of an error; of one that is not the client's, nothing but that it happened."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, TimeoutError):
        return Refusal(504, "the answer took longer than the server allows", code="timeout")
    if isinstance(error, InputError):
        parts = [error.problem, shorten(error.given) if error.given is not None else "", error.allowed]
        return Refusal(400, "; ".join(part for part in parts if part), param=error.where or None)
    if isinstance(error, TunewrightError):
        return Refusal(503, error.problem, code=type(error).__name__)
    return Refusal(500, "the server failed; its log says why", code="internal_error")
