"""The bodies of requests and answers, under OpenAI's names.

A field whose meaning would silently be broken takes only the value that changes nothing; one that concerns other things than
the answer is taken and ignored; a field that nobody knows is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Ignored = Annotated[Any, Field(description="Taken and ignored: it changes nothing in the answer.")]


class Body(BaseModel):
    """What every request may say."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)

    model: str | None = Field(None, description="The model's name as /v1/models lists it; may be left out.")
    metadata: Ignored = None
    parallel_tool_calls: Ignored = None
    prompt_cache_key: Ignored = None
    prompt_cache_retention: Ignored = None
    reasoning_effort: Ignored = None
    safety_identifier: Ignored = None
    service_tier: Ignored = None
    store: Ignored = None
    user: Ignored = None
    verbosity: Ignored = None


def whole(text: str) -> str:
    """The text, if it has no half of a surrogate pair in it: JSON can write one, UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("this text is not Unicode: half of a surrogate pair stands in it") from error
    return text


Text = Annotated[str, AfterValidator(whole)]
Stop = Annotated[Text, Field(min_length=1, max_length=200)]
Nothing = Annotated[list[Any], Field(max_length=0)]


class StreamOptions(BaseModel):
    """What a stream sends besides the pieces."""

    model_config = ConfigDict(extra="forbid", strict=True)

    include_usage: bool | None = Field(None, description="Send the counts of tokens in a last piece.")
    include_obfuscation: bool | None = Field(None, description="Ignored: nothing is added to the pieces.")


class Wish(Body):
    """How text is to be generated. What is left out or null is the server's choice: greedy, and as long as it allows."""

    max_tokens: int | None = Field(None, ge=1, description="Tokens of the answer.")
    temperature: float | None = Field(None, ge=0, le=2, description="0 (the default) takes the likeliest token.")
    top_p: float | None = Field(None, gt=0, le=1, description="Share of the probability that is drawn from.")
    top_k: int | None = Field(None, ge=0, le=2**31 - 1, description="How many tokens are drawn from; 0: all.")
    repetition_penalty: float | None = Field(None, gt=0, le=10, description="Above 1 makes what was said less likely.")
    seed: int | None = Field(None, ge=-(2**63), lt=2**63, description="The same seed draws the same answer.")
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = Field(
        None, description="Up to four texts; the answer ends before the first of them."
    )
    stream: bool | None = Field(None, description="Send the answer in pieces, as server-sent events.")
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = Field(None, description="One answer is given to each prompt.")
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = Field(
        None, description="Not known here: only 0. There is `repetition_penalty`."
    )
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = Field(
        None, description="Not known here: only 0. There is `repetition_penalty`."
    )
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = Field(
        None, description="Not known here: only an empty object."
    )


class TextPart(BaseModel):
    """A part of a message; only text is read."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["text"]
    text: Text


class Message(BaseModel):
    """A turn of a conversation."""

    model_config = ConfigDict(extra="forbid", strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[TextPart], Field(min_length=1)]
    name: str | None = Field(None, description="Ignored: templates know roles only.")
    refusal: None = None

    def as_turn(self) -> dict[str, str]:
        """Role and text, as templates read them; a developer is the system."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class ResponseFormat(BaseModel):
    """The form of the answer; only plain text."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["text"]


class ChatRequest(Wish):
    """A conversation to be continued."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1, description="The newer name of `max_tokens`.")
    logprobs: Literal[False] | None = Field(None, description="Not known here: only false.")
    top_logprobs: None = None
    tools: Nothing | None = Field(None, description="Not known here: only an empty list.")
    tool_choice: Literal["none", "auto"] | None = Field(None, description="There are no tools to choose from.")
    functions: Nothing | None = Field(None, description="Not known here: only an empty list.")
    function_call: Literal["none", "auto"] | None = Field(None, description="There are no functions to call.")
    response_format: ResponseFormat | None = Field(None, description="Only {'type': 'text'}.")
    modalities: list[Literal["text"]] | None = Field(None, description="Only text.")
    audio: None = None


class CompletionRequest(Wish):
    """Texts to be continued as they stand, without a template."""

    prompt: Text | Annotated[list[Text], Field(min_length=1)] = Field(description="One text or several.")
    best_of: Literal[1] | None = Field(None, description="One answer is given to each prompt.")
    echo: Literal[False] | None = Field(None, description="Not known here: only false.")
    logprobs: None = Field(None, description="Not known here.")
    suffix: None = Field(None, description="Not known here.")


class ClassifyRequest(Body):
    """Texts to be classified."""

    input: Text | Annotated[list[Text], Field(min_length=1)] = Field(description="One text or several.")


class TagRequest(Body):
    """Texts in which spans are to be found."""

    input: Text | Annotated[list[Text], Field(min_length=1)] = Field(description="One text or several.")


class Usage(BaseModel):
    """Counts of tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


Finish = Literal["stop", "length"]


class Reply(BaseModel):
    """What the model says next."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatChoice(BaseModel):
    """The answer and why it ended: by itself or at a stop text (`stop`), or at the limit of tokens (`length`)."""

    index: int
    message: Reply
    finish_reason: Finish
    logprobs: None = None


class ChatAnswer(BaseModel):
    """The answer to a conversation."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class CompletionChoice(BaseModel):
    """How one prompt goes on."""

    index: int
    text: str
    finish_reason: Finish
    logprobs: None = None


class CompletionAnswer(BaseModel):
    """How the prompts go on."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage


class Classification(BaseModel):
    """One text's label, or its labels where several may apply; null for a text without content.

    `confidence` is the probability of the label, for several labels that of the least certain decision. The decision
    thresholds of the run are applied; a text refused by them has the label for what is out of scope, however improbable that
    label is. `truncated` says that the text was longer than what the model was trained to read.
    """

    index: int
    label: str | list[str] | None
    confidence: float | None
    probabilities: dict[str, float] | None
    truncated: bool


class ClassifyAnswer(BaseModel):
    """The labels of the texts, in their order."""

    id: str
    object: Literal["list"] = "list"
    created: int
    model: str
    results: list[Classification]
    thresholds: dict[str, float] = Field(
        description="Probability from which on a label is given; empty: the likeliest. That of the label `out_of_scope` is what "
        "the likeliest other label needs, or else the text is refused."
    )
    out_of_scope: str | None = Field(description="The label that says `none of the others`, if there is one.")
    usage: Usage


class FoundSpan(BaseModel):
    """A labelled stretch of a text: characters `start` to `end`, the end exclusive, as the text was sent."""

    start: int
    end: int
    label: str
    text: str
    score: float


class TaggedText(BaseModel):
    """One text's spans, in its order. Long texts are read in windows, whole."""

    index: int
    spans: list[FoundSpan]


class TagAnswer(BaseModel):
    """The spans of the texts, in their order."""

    id: str
    object: Literal["list"] = "list"
    created: int
    model: str
    results: list[TaggedText]
    usage: Usage


class ModelEntry(BaseModel):
    """A model that is served."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "tunewright"
    answers: list[Literal["chat", "completions", "classify", "tag"]] = Field(description="The routes that it answers.")
    context_tokens: int


class ModelList(BaseModel):
    """The models that are served."""

    object: Literal["list"] = "list"
    data: list[ModelEntry]


class Health(BaseModel):
    """The server answers."""

    status: Literal["ok"] = "ok"
