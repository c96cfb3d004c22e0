"""Serve a tuned classifier for a moment and ask it over HTTP, with nothing but Python's standard library.

    python examples/ask_over_http.py runs/demo "A gripping film with a wonderful cast."
    python examples/ask_over_http.py runs/demo good bad so-so --rows 2

The server is started on a free port of this machine, asked once, and ended. In real life it stays: `tunewright serve RUN`.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from http.client import HTTPConnection
from urllib.parse import urlsplit


def main() -> None:
    """Start the server, wait for the line that says its address, ask, and end it."""
    parser = argparse.ArgumentParser(description="Serve a tuned classifier for a moment and ask it over HTTP.")
    parser.add_argument("run", help="the folder of a run")
    parser.add_argument("texts", nargs="+", help="what to ask about")
    parser.add_argument("--rows", type=int, default=64, help="ask about the first texts only")
    given = parser.parse_args()
    command = [sys.executable, "-m", "tunewright", "serve", given.run, "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 - the program itself
        try:
            assert server.stdout is not None
            ready = json.loads(server.stdout.readline())
            body = {"input": given.texts[: given.rows]}
            print(f"POST {ready['address']}/v1/classify {json.dumps(body, ensure_ascii=False)}")
            print(json.dumps(ask(ready["address"], "/v1/classify", body), ensure_ascii=False))
        finally:
            server.send_signal(signal.SIGINT)


def ask(address: str, route: str, body: object) -> object:
    """The JSON that the server answers to a JSON body."""
    connection = HTTPConnection(urlsplit(address).netloc, timeout=60)
    connection.request("POST", route, json.dumps(body), {"Content-Type": "application/json"})
    return json.load(connection.getresponse())


if __name__ == "__main__":
    main()
