"""Ask a served model one question over HTTP, with nothing but Python's standard library.

    python examples/ask_over_http.py runs/demo "A gripping film with a wonderful cast."

The server is started on a free port of this machine, asked once, and ended. In real life it stays: `tunewright serve RUN`.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from urllib.request import Request, urlopen


def main(run: str, text: str) -> None:
    """Start the server, wait for the line that says its address, ask, and end it."""
    command = [sys.executable, "-m", "tunewright", "serve", run, "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            ready = json.loads(server.stdout.readline())
            print(f"{ready['model']} answers at {ready['address']}")
            answer = ask(f"{ready['address']}/v1/classify", {"input": [text]})
            print(f"POST /v1/classify {text!r}")
            print(json.dumps(answer, ensure_ascii=False, indent=2))
        finally:
            server.send_signal(signal.SIGINT)


def ask(url: str, body: object) -> object:
    """The JSON that the server answers to a JSON body."""
    data = json.dumps(body).encode()
    with urlopen(Request(url, data, {"Content-Type": "application/json"}), timeout=60) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
