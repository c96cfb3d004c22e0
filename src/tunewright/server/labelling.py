"""What the routes that label texts share, and the one that finds spans in them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol

from fastapi import Request

from tunewright.answering.spans import label_spans
from tunewright.errors import shorten
from tunewright.infer.load import tokenize
from tunewright.server.errors import Refusal
from tunewright.server.flow import flow
from tunewright.server.limits import Limits
from tunewright.server.schema import FoundSpan, TagAnswer, TaggedText, TagRequest, Usage
from tunewright.server.served import Model

TEXTS_AT_ONCE = 16
"""Texts labelled between two looks at the clock."""

ROUTES: Mapping[str, Sequence[str]] = {"text": ("chat", "completions"), "labels": ("classify",), "spans": ("tag",)}
"""What a model answers with -> the routes that it answers."""

PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions", "classify": "/v1/classify", "tag": "/v1/tag"}


class Texts(Protocol):
    """A request with one text or several."""

    input: Any


async def find(wish: TagRequest, request: Request, limits: Limits.Config) -> TagAnswer:
    """The labelled spans of the texts of a request. Raises Refusal."""
    model: Model = request.state.model
    check_name(wish.model, model)
    if model.tagger is None:
        raise refused(model)
    texts = texts_of(wish, limits)
    found: list[TaggedText] = []
    num_tokens = 0
    async with aclosing(flow(partial(_spans, model, texts, limits), request.state.deadline)) as pieces:
        async for tagged, tokens in pieces:
            found += tagged
            num_tokens += tokens
    usage = Usage(prompt_tokens=num_tokens, completion_tokens=0, total_tokens=num_tokens)
    return TagAnswer(**head("tag", model), results=found, usage=usage)


def _spans(model: Model, texts: Sequence[str], limits: Limits.Config) -> Iterator[tuple[list[TaggedText], int]]:
    """Some texts at a time, so that a request that nobody waits for any more ends soon."""
    tagger: Any = model.tagger
    lengths = measured(model, tagger.tokenizer, texts, limits)
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        with model.turn:
            labelled = label_spans(tagger, texts[start : start + TEXTS_AT_ONCE])
        found = [
            TaggedText(index=start + at, spans=[FoundSpan(**span) for span in spans])  # type: ignore[arg-type]
            for at, spans in enumerate(labelled)
        ]
        yield found, sum(lengths[start : start + TEXTS_AT_ONCE])


def texts_of(wish: Texts, limits: Limits.Config) -> list[str]:
    """The texts of a request. Raises Refusal where there are too many."""
    texts: list[str] = [wish.input] if isinstance(wish.input, str) else wish.input
    if len(texts) > limits.max_batch:
        raise Refusal(400, f"{len(texts)} texts; allowed: at most {limits.max_batch}", param="input")
    return texts


def measured(model: Model, tokenizer: Any, texts: Sequence[str], limits: Limits.Config) -> list[int]:
    """The tokens of each text. Raises Refusal for one that is too long."""
    with model.turn:  # a tokenizer that is told to cut cannot be used by two threads
        lengths = [len(ids) for ids in tokenize(tokenizer, texts, None)]
    for index, length in enumerate(lengths):
        if length > limits.max_input_tokens:
            problem = f"text {index} has {length} tokens; allowed: at most {limits.max_input_tokens}"
            raise Refusal(400, problem, param="input", code="context_length_exceeded")
    return lengths


def head(kind: str, model: Model) -> dict[str, Any]:
    """Id, time and model of an answer."""
    return {"id": f"{kind}-{secrets.token_hex(12)}", "created": int(time.time()), "model": model.name}


def check_name(asked: str | None, model: Model) -> None:
    """Raise Refusal for a request to another model."""
    if asked not in (None, model.name):
        problem = f"there is no model {shorten(asked)}; allowed: {model.name}"
        raise Refusal(404, problem, param="model", code="model_not_found")


def refused(model: Model) -> Refusal:
    """The refusal of a route that this model does not answer."""
    how = {"text": "in text", "labels": "with labels", "spans": "with spans"}[model.answers]
    paths = ", ".join(PATHS[route] for route in ROUTES[model.answers])
    return Refusal(404, f"{model.name} answers {how}; allowed: {paths}", param="model", code="model_not_found")
