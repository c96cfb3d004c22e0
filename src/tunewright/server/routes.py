"""The routes, as a FastAPI application. What a request may say stands in ``schema``, what it passes before in ``gate``."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing
from functools import partial
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import Body, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response, StreamingResponse
from starlette.exceptions import HTTPException

from tunewright.answering import answer
from tunewright.errors import TunewrightError, shorten
from tunewright.infer.conversation import Conversation
from tunewright.server.errors import STATUSES, Problem, Refusal, refusal_of
from tunewright.server.flow import flow
from tunewright.server.labelling import ROUTES, check_name, find, head, measured, refused, texts_of
from tunewright.server.limits import Limits
from tunewright.server.schema import (
    ChatAnswer,
    ChatChoice,
    ChatRequest,
    Classification,
    ClassifyAnswer,
    ClassifyRequest,
    CompletionAnswer,
    CompletionChoice,
    CompletionRequest,
    Health,
    ModelEntry,
    ModelList,
    Reply,
    TagAnswer,
    TagRequest,
    Usage,
    Wish,
)
from tunewright.server.served import Model
from tunewright.server.speaking import Piece, prompts_of, sampling_of, speak, stops_of

TEXTS_AT_ONCE = 16
"""Texts classified between two looks at the clock."""

_EVENT = {
    "type": "object",
    "properties": {"data": {"type": "string", "description": "A piece, or an error, as JSON; `[DONE]` at the end."}},
    "required": ["data"],
}
_EVENTS = {
    "description": "Whole, or with `stream` in pieces.",
    "content": {"text/event-stream": {"itemSchema": _EVENT}},
}


def make_routes(limits: Limits.Config) -> FastAPI:
    """The application; the model of a request stands in ``request.state``, put there by the gate."""
    app = FastAPI(
        title="Tunewright",
        version=version("tunewright"),
        description="A tuned model behind OpenAI's routes. Every error has OpenAI's form.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_exception_handler(RequestValidationError, _invalid)
    for kind in (HTTPException, Refusal, TunewrightError, TimeoutError, Exception):
        app.add_exception_handler(kind, _refused)
    _add_reading(app)
    _add_answering(app, limits)
    plain = app.openapi
    app.openapi = lambda: _described(plain())  # type: ignore[method-assign]
    return app


def _add_reading(app: FastAPI) -> None:
    reading = _errors(401, 403, 404, 405)

    @app.get("/health", responses=_errors(403, 405))
    async def health() -> Health:
        """Whether the server answers."""
        return Health()

    @app.get("/v1/models", responses=reading)
    async def models(request: Request) -> ModelList:
        """The model that is served."""
        return ModelList(data=[_entry(request.state.model)])

    @app.get("/v1/models/{model:path}", responses=reading)
    async def model(model: str, request: Request) -> ModelEntry:
        """One model by its name."""
        check_name(model, request.state.model)
        return _entry(request.state.model)


def _add_answering(app: FastAPI, limits: Limits.Config) -> None:
    working = _errors(400, 401, 403, 404, 405, 408, 413, 429, 500, 503, 504)
    streamed: dict[int | str, dict[str, Any]] = {200: _EVENTS, **working}

    @app.post("/v1/chat/completions", responses=streamed, response_model=ChatAnswer)
    async def chat(wish: Annotated[ChatRequest, Body()], request: Request) -> Any:
        """Go on with a conversation."""
        task = await asyncio.to_thread(_Task.of, wish, request, limits)
        if wish.stream:
            return _events(task, _chat_piece)
        (text, piece), usage = (await task.answers())[0], task.usage
        choice = ChatChoice(index=0, message=Reply(content=text), finish_reason=piece.finish or "stop")
        return ChatAnswer(**task.head("chatcmpl"), choices=[choice], usage=usage())

    @app.post("/v1/completions", responses=streamed, response_model=CompletionAnswer)
    async def complete(wish: Annotated[CompletionRequest, Body()], request: Request) -> Any:
        """Go on with texts as they stand."""
        task = await asyncio.to_thread(_Task.of, wish, request, limits)
        if wish.stream:
            return _events(task, _completion_piece)
        answers = await task.answers()
        choices = [
            CompletionChoice(index=index, text=text, finish_reason=piece.finish or "stop")
            for index, (text, piece) in enumerate(answers)
        ]
        return CompletionAnswer(**task.head("cmpl"), choices=choices, usage=task.usage())

    @app.post("/v1/classify", responses=working)
    async def classify(wish: Annotated[ClassifyRequest, Body()], request: Request) -> ClassifyAnswer:
        """Label texts."""
        return await _classify(wish, request, limits)

    @app.post("/v1/tag", responses=working)
    async def tag(wish: Annotated[TagRequest, Body()], request: Request) -> TagAnswer:
        """Find labelled spans in texts."""
        return await find(wish, request, limits)


# ------------------------------------------------------------------------------------------------------------ in text


class _Task:
    """The generation that one request asks for: its prompts, and the tokens counted while it runs."""

    def __init__(
        self, wish: Wish, model: Model, conversation: Conversation, limits: Limits.Config, deadline: float
    ) -> None:
        self.wish, self.model, self.conversation, self.deadline = wish, model, conversation, deadline
        self.prompts = prompts_of(wish, conversation, limits)
        self.sampling = sampling_of(wish, model, limits, max(map(len, self.prompts)))
        self.created = int(time.time())
        self.num_tokens = [0] * len(self.prompts)

    @classmethod
    def of(cls, wish: Wish, request: Request, limits: Limits.Config) -> _Task:
        model: Model = request.state.model
        check_name(wish.model, model)
        if model.conversation is None:
            raise refused(model)
        return cls(wish, model, model.conversation, limits, request.state.deadline)

    def start(self) -> list[AsyncGenerator[Piece, None]]:
        """All prompts at once: the engine batches them."""
        stops = stops_of(self.wish)
        return [
            flow(partial(speak, self.conversation, prompt, self.sampling, stops), self.deadline)
            for prompt in self.prompts
        ]

    async def pieces(self) -> AsyncGenerator[tuple[int, Piece], None]:
        """The pieces of every answer, the first prompt's first."""
        async with AsyncExitStack() as stack:
            flows = [await stack.enter_async_context(aclosing(one)) for one in self.start()]
            for index, one in enumerate(flows):
                async for piece in one:
                    self.num_tokens[index] = piece.num_tokens
                    yield index, piece

    async def answers(self) -> list[tuple[str, Piece]]:
        """Each answer whole, with its last piece."""
        texts, last = [""] * len(self.prompts), [Piece("", 0)] * len(self.prompts)
        async with aclosing(self.pieces()) as pieces:
            async for index, piece in pieces:
                texts[index] += piece.text
                last[index] = piece
        return list(zip(texts, last, strict=True))

    def head(self, kind: str) -> dict[str, Any]:
        """Id, time and model of the answer."""
        return head(kind, self.model)

    def usage(self) -> Usage:
        """The tokens read and generated."""
        read, told = sum(map(len, self.prompts)), sum(self.num_tokens)
        return Usage(prompt_tokens=read, completion_tokens=told, total_tokens=read + told)


MakePiece = Callable[[dict[str, Any], int, Piece, bool], dict[str, Any]]


def _events(task: _Task, make: MakePiece) -> StreamingResponse:
    """Server-sent events: pieces, the reason of each end, the usage where asked for, and ``[DONE]``; or an error."""

    async def events() -> AsyncGenerator[str, None]:
        wants_usage = task.wish.stream_options is not None and bool(task.wish.stream_options.include_usage)
        head = task.head("chatcmpl" if make is _chat_piece else "cmpl")
        begun: set[int] = set()
        try:
            async with aclosing(task.pieces()) as pieces:
                async for index, piece in pieces:
                    shown = make(head, index, piece, index not in begun)
                    begun.add(index)
                    yield _event({**shown, "usage": None} if wants_usage else shown)
            if wants_usage:
                yield _event({**shown, "choices": [], "usage": task.usage().model_dump()})
            yield "data: [DONE]\n\n"
        except Exception as error:  # noqa: BLE001 - the answer has begun: its end is told in the stream
            yield _event(refusal_of(error).as_json())

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def _chat_piece(head: dict[str, Any], index: int, piece: Piece, is_first: bool) -> dict[str, Any]:
    delta = {"role": "assistant"} if is_first else {}
    choice = {"index": index, "delta": {**delta, "content": piece.text}, "finish_reason": piece.finish}
    return {**head, "object": "chat.completion.chunk", "choices": [{**choice, "logprobs": None}]}


def _completion_piece(head: dict[str, Any], index: int, piece: Piece, _: bool) -> dict[str, Any]:
    choice = {"index": index, "text": piece.text, "finish_reason": piece.finish, "logprobs": None}
    return {**head, "object": "text_completion", "choices": [choice]}


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"


# ---------------------------------------------------------------------------------------------------------- in labels


async def _classify(wish: ClassifyRequest, request: Request, limits: Limits.Config) -> ClassifyAnswer:
    model: Model = request.state.model
    check_name(wish.model, model)
    if model.tuned is None:
        raise refused(model)
    texts = texts_of(wish, limits)
    found: list[Classification] = []
    num_tokens = 0
    async with aclosing(flow(partial(_labels, model, texts, limits), request.state.deadline)) as pieces:
        async for classified, tokens in pieces:
            found += classified
            num_tokens += tokens
    usage = Usage(prompt_tokens=num_tokens, completion_tokens=0, total_tokens=num_tokens)
    return ClassifyAnswer(
        **head("classify", model),
        results=found,
        thresholds=dict(model.tuned.thresholds),
        out_of_scope=model.tuned.task.out_of_scope,
        usage=usage,
    )


def _labels(model: Model, texts: Sequence[str], limits: Limits.Config) -> Iterator[tuple[list[Classification], int]]:
    """Some texts at a time, so that a request that nobody waits for any more ends soon."""
    tuned: Any = model.tuned
    lengths = measured(model, tuned.tokenizer, texts, limits)
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        with model.turn:
            predictions: list[Any] = answer(tuned, texts[start : start + TEXTS_AT_ONCE])
        cut = [length > tuned.max_length for length in lengths[start : start + TEXTS_AT_ONCE]]
        found = [
            Classification(index=start + at, truncated=is_cut, **prediction)
            for at, (prediction, is_cut) in enumerate(zip(predictions, cut, strict=True))
        ]
        yield found, sum(min(length, tuned.max_length) for length in lengths[start : start + TEXTS_AT_ONCE])


# ------------------------------------------------------------------------------------------------------------- shared


def _entry(model: Model) -> ModelEntry:
    answers: Any = ROUTES[model.answers]
    return ModelEntry(id=model.name, created=model.created, answers=answers, context_tokens=model.context_tokens)


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Problem, "description": STATUSES[status]} for status in statuses}


async def _invalid(request: Request, error: Exception) -> Response:
    """A body that does not fit its schema: 400, with the field and what is allowed there."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    path = [str(part) for part in first["loc"][1:] if part != "body"]
    given = "" if isinstance(first.get("input"), dict) else f"; given: {shorten(first.get('input'), 60)}"
    field = request.scope["route"].body_field if path else None
    known = field.field_info.annotation.model_fields if field is not None else {}
    described = known[path[0]].description if path and path[0] in known else ""
    said = f"{first['msg']}{given}{f'; {described}' if described else ''}"
    if not path:
        said = f"the body is not a JSON object of the type application/json: {first['msg']}"
    return Refusal(400, said, param=".".join(path) or None, code=first["type"]).response()


async def _refused(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        problem = "there is no such route" if error.status_code == 404 else str(error.detail)
        headers = {name.replace("-", "_"): value for name, value in (error.headers or {}).items()}
        return Refusal(error.status_code, problem, **headers).response()
    return refusal_of(error).response()


def _described(document: dict[str, Any]) -> dict[str, Any]:
    """FastAPI's document without the 422 that never occurs here, and with the key that may be required."""
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
    parts = document["components"]
    for name in ("HTTPValidationError", "ValidationError"):
        parts["schemas"].pop(name, None)
    parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{}, {"key": []}]
    return document
