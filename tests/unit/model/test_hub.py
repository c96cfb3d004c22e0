"""A model comes from a hub whole and checked, or not at all; a broken download goes on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tunewright.errors import CorruptError, InputError, MachineError
from tunewright.model.inspect import read_folder
from tunewright.model.select import Select, select
from tunewright.model.source._remote import huggingface, modelscope
from tunewright.model.source.base import Order
from tunewright.model.source.hub import Hub

if TYPE_CHECKING:
    from unit.assets.conftest import FakeServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAMES = {"huggingface": "org/tiny", "modelscope": "modelscope:org/tiny"}


class HubServer:
    """The two hubs' listings and files over the plain web server."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.files: dict[str, bytes] = {}

    def put(self, files: dict[str, bytes]) -> None:
        self.files |= files
        siblings, listed = [], []
        for name, content in self.files.items():
            digest = hashlib.sha256(content).hexdigest()
            siblings.append({"rfilename": name, "size": len(content), "lfs": {"sha256": digest}})
            listed.append({"Path": name, "Size": len(content), "Sha256": digest, "Type": "blob"})
            for path in (self.path("huggingface", name), self.path("modelscope", name)):
                self.server.pages[path] = content
        model = {"sha": COMMIT, "siblings": siblings, "cardData": {"license": "apache-2.0"}}
        self.server.pages["/api/models/org/tiny/revision/main?blobs=true"] = json.dumps(model).encode()
        listing = {"Code": 200, "Data": {"Files": [*listed, {"Path": "onnx", "Size": 0, "Type": "tree"}]}}
        stem = "/api/v1/models/org/tiny/repo"
        self.server.pages[f"{stem}/files?Revision=master&Recursive=true"] = json.dumps(listing).encode()

    def path(self, hub: str, name: str) -> str:
        if hub == "huggingface":
            return f"/org/tiny/resolve/{COMMIT}/{name}"
        return f"/api/v1/models/org/tiny/repo?Revision=master&FilePath={name.replace('/', '%2F')}"


@pytest.fixture
def hub(server: FakeServer, tiny_bert_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """Both hubs with one small model, beside files that nobody should take."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "MODELSCOPE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", server.url)
    monkeypatch.setattr("time.sleep", lambda _: None)
    made = HubServer(server)
    made.put({path.name: path.read_bytes() for path in sorted(tiny_bert_folder.iterdir()) if path.is_file()})
    made.put(
        {"pytorch_model.bin": b"evil", "modeling_evil.py": b"evil", "onnx/model.onnx": b"x", "manifest.json": b"{}"}
    )
    return made


@pytest.mark.parametrize("site", ["huggingface", "modelscope"])
def test_a_model_is_fetched_once_and_then_used_without_the_hub(
    site: str, hub: HubServer, tiny_bert_folder: Path
) -> None:
    base = select(Select.Config(name=NAMES[site]), None)
    assert base.digest == read_folder(tiny_bert_folder).digest
    assert base.licence == ("apache-2.0" if site == "huggingface" else "not stated")
    assert "org/tiny" in base.source
    names = {path.name for path in base.folder.iterdir()}
    assert "model.safetensors" in names
    assert not names & {"pytorch_model.bin", "modeling_evil.py", "model.onnx"}
    hub.server.requests.clear()
    assert select(Select.Config(name=NAMES[site]), None) == base
    assert hub.server.requests == []


@pytest.mark.parametrize("site", ["huggingface", "modelscope"])
def test_a_broken_download_goes_on_in_the_next_process(site: str, hub: HubServer) -> None:
    path = hub.path(site, "model.safetensors")
    hub.server.faults = {path: [90, 503, 503, 503]}
    with pytest.raises(MachineError, match="could not be fetched") as caught:
        Hub().fetch(Order(name=NAMES[site]))
    assert "the same command goes on" in caught.value.hint
    hub.server.requests.clear()
    folder = Hub().fetch(Order(name=NAMES[site])).folder
    assert (folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]
    asked = {path: headers.get("range") for path, headers in hub.server.requests}
    assert asked[path] == "bytes=90-"
    assert hub.path(site, "config.json") not in asked
    assert not list(folder.parent.glob("partial/*"))


@pytest.mark.parametrize("site", ["huggingface", "modelscope"])
def test_a_file_that_is_not_the_listed_one_is_refused(site: str, hub: HubServer) -> None:
    path = hub.path(site, "model.safetensors")
    hub.server.pages[path] = bytes([hub.server.pages[path][0] ^ 1]) + hub.server.pages[path][1:]
    with pytest.raises(CorruptError, match="another file than it lists"):
        Hub().fetch(Order(name=NAMES[site]))
    assert hub.server.asked(path) == 1


def test_the_token_goes_to_the_endpoint_alone(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    path = hub.path("huggingface", "model.safetensors")
    hub.server.redirects[path] = hub.server.url.replace("127.0.0.1", "localhost") + "/elsewhere"
    hub.server.pages["/elsewhere"] = hub.files["model.safetensors"]
    Hub().fetch(Order(name="org/tiny"))
    sent = {path: headers.get("authorization") for path, headers in hub.server.requests}
    assert sent[path] == "Bearer hf_secret"
    assert sent["/elsewhere"] is None


@pytest.mark.parametrize(("status", "words"), [(401, "private or gated"), (404, "none of this name")])
def test_a_model_that_is_not_shown(status: int, words: str, hub: HubServer) -> None:
    hub.server.faults = {"/api/models/org/tiny/revision/main?blobs=true": [status]}
    with pytest.raises(InputError, match=words) as caught:
        Hub().fetch(Order(name="org/tiny"))
    assert "HF_TOKEN" in caught.value.hint


def test_pickles_alone_are_refused_before_anything_is_fetched(hub: HubServer) -> None:
    hub.files = {"config.json": b"{}", "pytorch_model.bin": b"evil"}
    hub.put({})
    with pytest.raises(InputError, match="pickle can run code"):
        Hub().fetch(Order(name="org/tiny"))
    assert len(hub.server.requests) == 1


def test_a_hub_that_cannot_be_reached_says_what_to_do_instead(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(MachineError) as caught:
        Hub().fetch(Order(name="org/tiny"))
    assert caught.value.exit_code == 1
    for way in ("catalogue", "folder", "HF_ENDPOINT"):
        assert way in caught.value.hint
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MachineError, match="switched off"):
        Hub().fetch(Order(name="org/tiny"))


def test_plain_http_is_for_this_machine_alone(hub: HubServer) -> None:
    for variables in ({"HF_ENDPOINT": "http://mirror.test"}, {"HF_ENDPOINT": "ftp://mirror.test"}):
        with pytest.raises(InputError, match="https"):
            huggingface(variables)
    with pytest.raises(InputError, match="https"):
        modelscope({"MODELSCOPE_DOMAIN": "http://mirror.test"})
    assert modelscope({"MODELSCOPE_DOMAIN": "www.modelscope.ai"}).endpoint == "https://www.modelscope.ai"
    hub.server.redirects[hub.path("huggingface", "config.json")] = "http://mirror.invalid/config.json"
    with pytest.raises(MachineError, match="leads away from https"):
        Hub().fetch(Order(name="org/tiny"))


def test_what_other_tools_have_fetched_is_used(
    hub: HubServer, tiny_bert_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache", lambda *_, **__: str(tiny_bert_folder / "config.json")
    )
    fetched = Hub().fetch(Order(name="org/tiny"))
    assert fetched.folder == tiny_bert_folder
    assert hub.server.requests == []
