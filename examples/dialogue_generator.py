"""A small dialogue generator: a pretrained decoder learns how some conversations go, and then talks.

    python examples/dialogue_generator.py
    python examples/dialogue_generator.py --rows 48 --epochs 1 --say "What is AI?"
    python examples/dialogue_generator.py --language zh --say 你是谁

What matters is in `encode`: the loss is taken on the answers and on the token that ends them, and on nothing else. A model
that also learns the questions wastes its strength; one that never sees the end of an answer does not stop talking.

The loop is plain torch, to be read from top to bottom. The same job by one command, with a verdict against the untouched
model, checks of what it generates, and a report: `tunewright run recipes/dialogues.yaml`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from tunewright.assets import fetch_data, fetch_model

MODEL = "smollm2-135m-instruct"
BATCH_SIZE = 8
RATE = 5e-5
IGNORED = -100
"""The label of a token on which no loss is taken."""

Message = dict[str, str]


def read_dialogues(language: str, num_rows: int) -> list[list[Message]]:
    """Dialogues of a user and an assistant, spread evenly over the file."""
    with fetch_data(f"dialogues-{language}").open(encoding="utf-8") as file:
        rows: list[list[Message]] = [json.loads(line)["messages"] for line in file]
    return rows[:: max(1, len(rows) // num_rows)][:num_rows]


def load() -> tuple[Any, Any]:
    """The tokenizer and the decoder with the head that predicts the next token."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    silence: Any = logging
    silence.disable_progress_bar()
    folder = fetch_model(MODEL)
    return AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def encode(tokenizer: Any, messages: Sequence[Message], max_length: int = 192) -> tuple[list[int], list[int]]:
    """Token ids of a dialogue by the model's own template, and labels: the same ids where an answer stands, else IGNORED.

    What a turn adds is found by writing the dialogue with one more turn each time. Of an answer's addition the first part,
    `<|im_start|>assistant`, is what the model is given when it has to speak; the rest, to the end of the turn, it writes.
    """
    ids: list[int] = []
    labels: list[int] = []
    written = ""
    for number, message in enumerate(messages, start=1):
        answers = message["role"] == "assistant"
        given = written
        if answers:
            given = tokenizer.apply_chat_template(messages[: number - 1], tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template(messages[:number], tokenize=False)
        before, added = given[len(written) :], whole[len(given) :]
        for text, is_learnt in ((before, False), (added, answers)):
            piece = tokenizer(text, add_special_tokens=False)["input_ids"]
            ids += piece
            num_learnt = piece.index(tokenizer.eos_token_id) + 1 if is_learnt else 0  # not the line break that follows
            labels += piece[:num_learnt] + [IGNORED] * (len(piece) - num_learnt)
        written = whole
    return ids[:max_length], labels[:max_length]


def collate(rows: Sequence[tuple[list[int], list[int]]]) -> dict[str, torch.Tensor]:
    """A rectangle: rows are filled up on the right, where no loss is taken and nobody looks."""
    longest = max(len(ids) for ids, _ in rows)
    return {
        "input_ids": torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in rows]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in rows]),
        "labels": torch.tensor([labels + [IGNORED] * (longest - len(labels)) for _, labels in rows]),
    }


def train(model: Any, rows: Sequence[tuple[list[int], list[int]]], epochs: int) -> Iterator[float]:
    """Tune every parameter; yields the mean loss of each pass."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01, fused=True)
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        model.train()
        losses = []
        order = torch.randperm(len(rows), generator=generator).tolist()
        for start in range(0, len(order), BATCH_SIZE):
            batch = collate([rows[row] for row in order[start : start + BATCH_SIZE]])
            with torch.autocast("cpu", torch.bfloat16):
                loss = model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss.item())
        yield sum(losses) / len(losses)


def talk(tokenizer: Any, model: Any, text: str, temperature: float, max_tokens: int = 48) -> str:
    """An answer, drawn token by token; temperature 0 always takes the most probable one."""
    model.eval()
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    generator = torch.Generator().manual_seed(0)
    answer: list[int] = []
    cache = None
    given = torch.tensor([ids])
    with torch.no_grad():
        while len(answer) < max_tokens:
            out = model(input_ids=given, past_key_values=cache, use_cache=True)
            cache, logits = out.past_key_values, out.logits[0, -1]
            if temperature == 0:
                token = int(logits.argmax())
            else:
                token = int(torch.multinomial(torch.softmax(logits / temperature, 0), 1, generator=generator))
            if token == tokenizer.eos_token_id:
                break
            answer.append(token)
            given = torch.tensor([[token]])  # all that came before lies in the cache
    said: str = tokenizer.decode(answer, skip_special_tokens=True)
    return said


def main() -> None:
    """Train, and talk before and after."""
    parser = argparse.ArgumentParser(description="A small dialogue generator.")
    parser.add_argument("--rows", type=int, default=400, help="dialogues to learn from")
    parser.add_argument("--epochs", type=int, default=2, help="passes over them")
    parser.add_argument("--language", choices=("en", "zh"), default="en", help="language of the dialogues")
    parser.add_argument("--temperature", type=float, default=0.0, help="0: always the most probable token")
    parser.add_argument("--say", default="What is AI?", help="what to say to it")
    given = parser.parse_args()
    tokenizer, model = load()
    rows = [encode(tokenizer, messages) for messages in read_dialogues(given.language, given.rows)]
    learnt = sum(label != IGNORED for _, labels in rows for label in labels)
    print(f"{len(rows)} dialogues, {sum(len(ids) for ids, _ in rows):,} tokens, of which {learnt:,} are learnt")
    print(f"before: {talk(tokenizer, model, given.say, given.temperature)}")
    for number, loss in enumerate(train(model, rows, given.epochs), start=1):
        print(f"pass {number}: loss {loss:.3f}")
    print(f"after:  {talk(tokenizer, model, given.say, given.temperature)}")


if __name__ == "__main__":
    main()
