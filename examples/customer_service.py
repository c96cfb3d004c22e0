"""A customer-service assistant: replies to what it knows, and hands the rest over to a person.

    tunewright run recipes/customer-service.yaml data.path=data_small.json --out runs/customer-service
    tunewright serve runs/customer-service
    python examples/customer_service.py "how much do i have in savings" "who won the match"
    python examples/customer_service.py --replies replies.json --rows 2 我的包裹到哪里了 ...

The model says which intent a question has, or that it has none of them; what to say then stands in a table, intent by intent.
A question is handed over where the model refuses it, and where the table has no reply.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

REPLIES = {
    "balance": "Your balance stands at the top of the page `Accounts`.",
    "bill_due": "Bills are due on the 15th of each month.",
    "freeze_account": "I can freeze the account at once. Please confirm with the code that we have just sent to you.",
    "lost_luggage": "I am sorry to hear that. Please give me the number on your luggage tag.",
    "pin_change": "Choose `Cards`, then `New PIN`.",
    "report_lost_card": "I have blocked the card. A new one takes three days.",
}
"""A reply for some intents of CLINC150. `--replies` reads your own: `{"intent": "reply", ...}`."""

HANDED_OVER = "I cannot help with this myself; a colleague will take over."
HANDED_OVER_IN_CHINESE = "这个问题我帮不上忙，马上为您转接人工客服。"


def main(arguments: Sequence[str] | None = None) -> list[str]:
    """Ask the server for the intents of the questions, and print and return a reply to each."""
    parser = argparse.ArgumentParser(description="Reply to questions, or hand them over to a person.")
    parser.add_argument("questions", nargs="+", help="what customers ask")
    parser.add_argument("--address", default="http://127.0.0.1:8000", help="where `tunewright serve` listens")
    parser.add_argument("--replies", type=Path, help="a JSON file: intent -> reply")
    parser.add_argument("--rows", type=int, default=64, help="reply to the first questions only")
    given = parser.parse_args(arguments)
    replies = json.loads(given.replies.read_text(encoding="utf-8")) if given.replies else REPLIES
    questions = given.questions[: given.rows]
    said = []
    for question, intent in zip(questions, find_intents(given.address, questions), strict=True):
        said.append(replies.get(intent) or handed_over(question))
        print(f"customer:  {question}\nassistant: {said[-1]}  [{intent}]")
    return said


def find_intents(address: str, questions: Sequence[str]) -> list[str]:
    """The intent of each question, the label for what is out of scope where it has none."""
    body = json.dumps({"input": questions})
    with closing(HTTPConnection(urlsplit(address).netloc, timeout=60)) as connection:
        connection.request("POST", "/v1/classify", body, {"Content-Type": "application/json"})
        answer: Mapping[str, Any] = json.load(connection.getresponse())
    if "error" in answer:
        raise SystemExit(answer["error"]["message"])
    return [str(result["label"]) for result in answer["results"]]


def handed_over(question: str) -> str:
    """What is said where a person takes over, in the language of the question."""
    is_chinese = any("\u4e00" <= letter <= "\u9fff" for letter in question)
    return HANDED_OVER_IN_CHINESE if is_chinese else HANDED_OVER


if __name__ == "__main__":
    main()
