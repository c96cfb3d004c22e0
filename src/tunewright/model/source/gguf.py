"""``./model.Q4_K_M.gguf``: a GGUF file on this machine, converted once to a transformers folder in the cache."""

from __future__ import annotations

from pathlib import Path

from tunewright import extensions
from tunewright.assets.convert.base import Converter, Material
from tunewright.errors import InputError
from tunewright.model.inspect import manifest_digests
from tunewright.model.source.base import Description, Fetched, Order
from tunewright.store import durable
from tunewright.store.artifact import Draft, commit_artifact, open_artifact, recover_folder
from tunewright.store.digest import digest_code, digest_json, sha256_file
from tunewright.store.home import cache_folder
from tunewright.store.lock import locked

_NOTE = "started from the weights of a GGUF file: widening them does not bring back what their few bits lost"
_LOCK_SECONDS = 1800.0


class Gguf:
    """The converted folder is found again by the file's SHA-256, wherever the file lies."""

    def recognise(self, name: str) -> float:
        """Sure of a name that ends in .gguf."""
        return 0.95 if name.lower().endswith(".gguf") else 0.0

    def describe(self, name: str) -> Description:
        """The file's name; its licence is not in it."""
        return Description(title=f"GGUF file {_existing(name)}", licence="", notes=(_NOTE,), download_bytes=0)

    def fetch(self, order: Order) -> Fetched:
        """The converted folder. Raises as ``assets.convert.gguf`` does."""
        path = _existing(order.name)
        order.tell("looking at the GGUF file", 0, None, path.name)
        digest = digest_json([sha256_file(path), digest_code("tunewright.assets.convert.gguf")])
        parent = cache_folder() / "models"
        target = parent / f"gguf-{digest[:16]}"
        artifact = open_artifact(target, digest)
        if artifact is None:
            with durable.reported(parent):
                durable.make_folders(parent)
            with locked(parent / "fetch.lock", _LOCK_SECONDS):
                recover_folder(parent)
                artifact = commit_artifact(target, digest, lambda draft: _convert(path, draft, order))
        return Fetched(
            folder=artifact.folder, source=str(path), notes=(_NOTE,), verified=manifest_digests(artifact.folder)
        )


def _convert(path: Path, draft: Draft, order: Order) -> None:
    # The converter takes its members for its own; the user's file gets a second name for that.
    member = draft.path("member.gguf")
    durable.link_or_copy(path, member)
    converter: Converter = extensions.load("assets.convert", "gguf")()
    converter.convert(Material({path.name: member}, tell=order.tell), draft)


def _existing(name: str) -> Path:
    path = Path(name).expanduser().absolute()
    if not path.is_file():
        raise InputError(
            "there is no such GGUF file",
            where="model.name",
            given=name,
            allowed="a file that ends in .gguf",
            hint="look at the path; or name a model of the catalogue: tunewright assets list",
        )
    return path
