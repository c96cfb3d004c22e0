"""Fetch an asset once per machine: download, check, open, convert, commit; the next time it is simply there.

    index ─▶ archives/<sha256> ─▶ members ─▶ converter ─▶ <name>-<digest>/

Both arrows into the cache are commits of the store, so that an interrupted fetch leaves nothing half. The digest covers
the catalogue's entry and the converter's code: when either changes, the asset is made anew from the archive, which is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tunewright import extensions
from tunewright.assets.archive import extract
from tunewright.assets.catalogue import Archive, Asset, catalogue, find
from tunewright.assets.convert.base import Converter, Material
from tunewright.assets.settings import IndexSettings, read_settings
from tunewright.errors import CorruptError, GateError
from tunewright.store.artifact import Draft, commit_artifact, open_artifact, recover_folder
from tunewright.store.digest import digest_code, digest_json
from tunewright.store.document import parse_object
from tunewright.store.durable import make_folders, reported
from tunewright.store.home import cache_folder
from tunewright.store.lock import locked
from tunewright.types import Tell, tell_nobody

PROVENANCE = "PROVENANCE.json"
"""In every asset's folder: what it is, its licence and terms, the files it was made from, and what to know about it."""

_LOCK_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class AssetState:
    """An entry of the catalogue and where it stands on this machine. ``folder`` is None until fetched; sizes in bytes."""

    asset: Asset
    folder: Path | None
    num_bytes: int


def fetch_data(name: str, tell: Tell = tell_nobody) -> Path:
    """The file of a data asset, fetched and converted at its first use. Raises as ``fetch`` does."""
    asset = find(name, "data")
    return fetch(name, tell=tell) / asset.result


def fetch_model(name: str, *, accept_terms: bool = False, tell: Tell = tell_nobody) -> Path:
    """The transformers folder of a model asset, fetched and converted at its first use. Raises as ``fetch`` does."""
    return fetch(find(name, "model").name, accept_terms=accept_terms, tell=tell)


def fetch(
    name: str, *, accept_terms: bool = False, tell: Tell = tell_nobody, settings: IndexSettings | None = None
) -> Path:
    """The folder of an asset in the cache, verified; fetched and converted first where it is not there or is damaged.

    ``settings`` says where packages come from (pip's own, by default). Raises InputError for an unknown name, GateError
    for terms not yet accepted, MachineError when no index has the files or the disk fails, CorruptError when an index
    serves other files than the pinned ones.
    """
    asset = find(name)
    target = _target(asset)
    standing = _standing(target)
    if standing is not None:
        return standing
    accepted = _accepted(asset) or (datetime.now(UTC).isoformat(timespec="seconds") if accept_terms else None)
    if asset.must_accept and accepted is None:
        raise GateError(
            f"{asset.name} comes under terms that have to be accepted first",
            where=f"asset {asset.name}",
            given=asset.terms,
            allowed="to use it after reading and accepting them; the acceptance is recorded with the files",
            hint=f"tunewright assets fetch {asset.name} --accept-terms",
        )
    with _alone(target.parent, tell):
        archives = [_keep(archive, settings or read_settings(), tell) for archive in asset.archives]

        def fill(draft: Draft) -> None:
            notes = _convert(asset, archives, draft, tell)
            draft.write_json(PROVENANCE, _provenance(asset, accepted, notes))

        tell(f"converting {asset.name}", 0, None, "")
        return commit_artifact(target, target.name, fill).folder


def where(name: str) -> Path | None:
    """The folder of an asset if it has been fetched, unverified, else None. Raises InputError for an unknown name."""
    artifact = open_artifact(_target(find(name)), verify=False)
    return None if artifact is None else artifact.folder


def list_assets() -> tuple[AssetState, ...]:
    """Every entry of the catalogue with its state on this machine."""
    return tuple(_state(asset) for asset in catalogue())


def read_provenance(folder: Path) -> Mapping[str, Any] | None:
    """What ``PROVENANCE.json`` in ``folder`` says, or None where there is no such file. Raises CorruptError."""
    path = folder / PROVENANCE
    try:
        return parse_object(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CorruptError("the provenance cannot be read", where=str(path), given=error) from error


def _state(asset: Asset) -> AssetState:
    try:
        artifact = open_artifact(_target(asset), verify=False)
    except CorruptError:
        artifact = None
    return AssetState(asset, artifact.folder, artifact.num_bytes) if artifact else AssetState(asset, None, 0)


def _target(asset: Asset) -> Path:
    code = digest_code(f"tunewright.assets.convert.{asset.converter}")
    digest = digest_json([asset.archives, asset.converter, asset.options, asset.result, code])
    return _folder() / f"{asset.name}-{digest[:12]}"


def _folder() -> Path:
    return cache_folder() / "assets"


def _standing(target: Path) -> Path | None:
    try:
        artifact = open_artifact(target)
    except CorruptError:
        return None
    return None if artifact is None else artifact.folder


@contextmanager
def _alone(folder: Path, tell: Tell) -> Iterator[None]:
    """Hold the cache's lock: one fetch at a time on a machine. What a killed one left behind is swept first."""
    tell("waiting for the asset cache", 0, None, "")
    with reported(folder):
        make_folders(folder / "archives")
    with locked(folder / "fetch.lock", _LOCK_SECONDS):
        recover_folder(folder)
        recover_folder(folder / "archives")
        yield


def _keep(archive: Archive, settings: IndexSettings, tell: Tell) -> Path:
    """The pinned archive in the cache, downloaded unless it is there."""
    from tunewright.assets.index import download

    def fill(draft: Draft) -> None:
        download(archive, settings, draft.path(archive.file), tell)

    target = _folder() / "archives" / archive.sha256[:16]
    return commit_artifact(target, archive.sha256, fill).folder / archive.file


def _convert(asset: Asset, archives: list[Path], draft: Draft, tell: Tell) -> tuple[str, ...]:
    converter: Converter = extensions.load("assets.convert", asset.converter)()
    members: dict[str, Path] = {}
    for number, (archive, path) in enumerate(zip(asset.archives, archives, strict=True)):
        members |= extract(path, archive.members, partial(_scratch, draft, number))
    notes = converter.convert(Material(members, asset.result, asset.options, tell), draft)
    for member in members.values():
        member.unlink(missing_ok=True)
    return notes


def _scratch(draft: Draft, number: int, name: str) -> Path:
    return draft.path(f"member-{number}-{name}")


def _accepted(asset: Asset) -> str | None:
    """When these very terms were accepted for an earlier conversion of the asset, if they were."""
    for path in _folder().glob(f"{asset.name}-*/{PROVENANCE}"):
        with suppress(CorruptError):
            earlier = read_provenance(path.parent) or {}
            if earlier.get("terms") == asset.terms and earlier.get("terms_accepted"):
                return str(earlier["terms_accepted"])
    return None


def _provenance(asset: Asset, accepted: str | None, notes: tuple[str, ...]) -> dict[str, object]:
    acceptance = {"terms_accepted": accepted} if asset.must_accept else {}
    return {
        "name": asset.name,
        "kind": asset.kind,
        "title": asset.title,
        "licence": asset.licence,
        "terms": asset.terms,
        **acceptance,
        "source": [
            {"package": archive.package, "version": archive.version, "file": archive.file, "sha256": archive.sha256}
            for archive in asset.archives
        ],
        "notes": [*asset.notes, *notes],
    }
