"""What the package never does: run code that came as data, start processes, reach the network, write past the store."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from sources import PACKAGE, calls, dotted, imported, parse, python_files

ALLOWED: dict[str, str] = {}
"""Exceptions to the gate by file. It stays empty."""

PROCESSES = {
    "assets/settings.py": "asks `pip config list`: pip alone knows where its settings stand",
    "doctor/pair.py": "starts this Python twice, to show that two processes train as one does",
    "infer/native/build.py": "asks the C compiler to make the package's own kernels, once on each machine",
    "train/launch.py": "starts torchrun, which starts the processes of one training",
}
NETWORK = {
    "assets/index.py": "looks for the pinned file on the package index that pip is set to",
    "assets/transfer.py": "takes the pinned file from there",
    "server/listen.py": "listens on the address that the user names; opens no connection",
    "store/lock.py": "names the host that holds a lock; opens no connection",
    "train/launch.py": "looks up which address of this machine faces the others; sends nothing",
    "model/source/_remote.py": "takes the model that the recipe names from the hub that it names",
}
SCRATCH = {
    "answering/files.py": "writes under the temporary name that the store gives and puts in its place",
    "assets/archive.py": "unpacks into the private folder of a draft",
    "assets/convert/gguf.py": "joins parts within the private folder of a draft",
    "assets/convert/vader.py": "takes its scratch file out of the private folder of a draft",
    "assets/fetch.py": "takes unpacked members out of the private folder of a draft",
    "assets/transfer.py": "receives the archive in the private folder of a draft",
    "train/launch.py": "the file at which the processes of this machine meet, and what they say when they fail; gone at the end",
    "data/filling.py": "takes its spool out of the private folder of a draft",
}
"""Files that write without the store because they write into a folder that the store has given and will hash."""

UNSAFE_MODULES = re.compile(
    r"(pickle|_pickle|cPickle|dill|cloudpickle|joblib|marshal|shelve|yaml|multiprocessing|pty|code|codeop|runpy)(\.|$)"
)
UNSAFE_CALLS = re.compile(
    r"(builtins\.)?(eval|exec|compile|__import__)$"
    r"|torch\.(load|save|hub\.\w+|jit\.load|package\.\w+)$"
    r"|os\.(system|popen|startfile|fork|forkpty|exec\w+|spawn\w+|posix_spawn\w*)$"
    r"|(pandas|pd)\.read_pickle$|\w*\.?load_pickle$"
)
UNSAFE_ARGUMENTS = {"shell": False, "trust_remote_code": False, "allow_pickle": False, "weights_only": True}
"""The one value that each of these arguments may have."""

NETWORK_MODULES = re.compile(
    r"(socket|ssl|http\.client|urllib\.request|urllib3|requests|httpx2?|httpcore2?|aiohttp|ftplib|smtplib|unearth|websockets)(\.|$)"
)
WRITES = re.compile(
    r"os\.(rename|renames|replace|remove|unlink|rmdir|removedirs|mkdir|makedirs|truncate|link|symlink)$"
    r"|shutil\.(rmtree|move|copy\w*|make_archive|unpack_archive)$"
    r"|tempfile\.\w+$"
    r"|(.*)\.(write_text|write_bytes|unlink|rmdir|rename|touch|mkdir|symlink_to|hardlink_to)$"
)


def unsafe(tree: ast.AST) -> Iterator[str]:
    """Whatever could run code that came as data."""
    for _, full, line in imported(tree):
        if UNSAFE_MODULES.match(full) or UNSAFE_CALLS.match(full):
            yield f"{line} import {full}"
    for name, call in calls(tree):
        if UNSAFE_CALLS.match(name):
            yield f"{call.lineno} {name}()"
        for argument in call.keywords:
            if argument.arg in UNSAFE_ARGUMENTS and not _is(argument.value, UNSAFE_ARGUMENTS[argument.arg]):
                yield f"{call.lineno} {argument.arg}={ast.unparse(argument.value)}"
            if name.endswith("YAML") and argument.arg == "typ" and not _is(argument.value, "safe", "rt"):
                yield f"{call.lineno} typ={ast.unparse(argument.value)}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if _is(key, "trust_remote_code") and not _is(value, False):
                    yield f"{node.lineno} trust_remote_code in a dictionary"


def writes(tree: ast.AST) -> Iterator[str]:
    """Whatever changes files. What a draft gives (`draft.path(...)`) and `with writing(...) as temporary` are the store's."""
    for name, call in calls(tree):
        if re.search(r"\b(draft|temporary)\.", ast.unparse(call)):
            continue
        if (
            WRITES.match(name)
            or _opens_to_write(name, call)
            or (name.endswith(".replace") and len(call.args) == 1 and not call.keywords)
        ):
            yield f"{call.lineno} {name}()"


def _opens_to_write(name: str, call: ast.Call) -> bool:
    if name == "os.open":
        return True
    is_function = name in ("open", "io.open", "os.fdopen")
    if not is_function and not name.endswith(".open"):
        return False
    modes = [*call.args[is_function : is_function + 1], *(word.value for word in call.keywords if word.arg == "mode")]
    values = [node.value for mode in modes for node in ast.walk(mode) if isinstance(node, ast.Constant)]
    said = [value for value in values if isinstance(value, str) and re.fullmatch(r"[rwaxbt+]{1,4}", value)]
    return any(set("wax+") & set(word) for word in said) or (is_function and len(modes) > len(said))


def _is(node: ast.expr | None, *values: object) -> bool:
    return isinstance(node, ast.Constant) and any(node.value is value or node.value == value for value in values)


def _found_in(look: object) -> dict[str, list[str]]:
    assert callable(look)
    files = {path.relative_to(PACKAGE).as_posix(): parse(path) for path in python_files("src/tunewright")}
    return {name: found for name, tree in files.items() if (found := list(look(tree)))}


def _imports(pattern: str) -> dict[str, list[str]]:
    return _found_in(
        lambda tree: [f"{line} import {full}" for _, full, line in imported(tree) if re.match(pattern, full)]
    )


def test_nothing_unsafe() -> None:
    assert {name: found for name, found in _found_in(unsafe).items() if name not in ALLOWED} == {}
    assert not ALLOWED
    for path in python_files("examples", "benchmarks"):
        assert list(unsafe(parse(path))) == [], path


def test_processes_are_started_by_declared_files_alone() -> None:
    assert set(_imports(r"subprocess(\.|$)|asyncio\.subprocess|concurrent\.futures\.ProcessPool")) == set(PROCESSES)


def test_the_network_is_reached_by_declared_files_alone() -> None:
    found = _imports(NETWORK_MODULES.pattern)
    assert {name: lines for name, lines in found.items() if name not in NETWORK} == {}
    assert set(found) == set(NETWORK), "take files off the list that no longer do"


def test_the_store_alone_writes() -> None:
    found = {name: lines for name, lines in _found_in(writes).items() if not name.startswith("store/")}
    assert {name: lines for name, lines in found.items() if name not in SCRATCH} == {}
    assert set(found) == set(SCRATCH), "take files off the list that no longer write"


def test_only_the_command_line_prints() -> None:
    def prints(tree: ast.AST) -> list[str]:
        written = [(name, call.lineno) for name, call in calls(tree)]
        return [
            f"{line} {name}()"
            for name, line in written
            if name == "print" or name.startswith(("sys.stdout", "sys.stderr"))
        ]

    assert [name for name in _found_in(prints) if not name.startswith("cli/")] == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib",
        "from torch import load",
        "import torch as t; t.load('x')",
        "import torch; torch.save(1, 'x')",
        "eval('1')",
        "exec(text)",
        "compile(text, 'x', 'exec')",
        "__import__(name)",
        "import os; os.system('x')",
        "from os import popen as p; p('x')",
        "import os as o; o.execv('x', [])",
        "run('x', shell=True)",
        "load(name, trust_remote_code=trust)",
        "load(name, **{'trust_remote_code': True})",
        "numpy.load('x', allow_pickle=True)",
        "import yaml",
        "from ruamel.yaml import YAML; YAML(typ='unsafe')",
        "import marshal",
        "import multiprocessing.pool",
    ],
)
def test_the_gate_sees(code: str) -> None:
    assert list(unsafe(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    ["model.eval()", "re.compile('x')", "torch.compile(f)", "load(name, trust_remote_code=False)", "YAML(typ='safe')"],
)
def test_the_gate_lets_pass(code: str) -> None:
    assert not list(unsafe(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "open('x', 'w')",
        "open('x', mode='ab')",
        "open('x', chosen)",
        "path.open('x')",
        "path.open('ab' if old else 'wb')",
        "path.write_text('x')",
        "Path(name).write_bytes(b'')",
        "import os; os.replace(a, b)",
        "from shutil import rmtree; rmtree(a)",
        "path.replace(other)",
        "import tempfile; tempfile.mkdtemp()",
    ],
)
def test_writes_are_seen(code: str) -> None:
    assert list(writes(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "open('x')",
        "path.open('rb')",
        "run.open(name)",
        "'a'.replace('a', 'b')",
        "replace(record, a=1)",
        "draft.write_bytes('a', b'')",
    ],
)
def test_reading_is_let_pass(code: str) -> None:
    assert not list(writes(ast.parse(code)))


def test_names_are_followed_through_imports() -> None:
    tree = ast.parse("import os.path as p, os\nfrom os import system as s\ns()\np.join()\nos.remove()")
    assert [name for name, _ in calls(tree)] == ["os.system", "os.path.join", "os.remove"]
    assert dotted(ast.parse("f(1).x.y", mode="eval").body) == ".x.y"
