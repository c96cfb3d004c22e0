"""``org/name``, ``org/name@revision``, ``modelscope:org/name``: a model on a hub, fetched once into the cache.

Only safetensors weights, JSON and tokenizer files are taken, by HTTPS, each checked against the length and SHA-256 that the
hub states; a broken download goes on where it was, in the next process too. Once fetched, a model is used without asking
the hub again, so that a run can be repeated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from tunewright.assets.transfer import NotServed, OtherFile, Refused, Transfer, Wanted, retry
from tunewright.errors import CorruptError, InputError, MachineError
from tunewright.model.inspect import TOKENIZER_FILES, manifest_digests
from tunewright.model.source._remote import HubSite, Listing, RemoteFile, huggingface, modelscope, open_session
from tunewright.model.source.base import Description, Fetched, Order
from tunewright.store import durable
from tunewright.store.artifact import Artifact, Draft, commit_artifact, open_artifact, recover_folder
from tunewright.store.digest import digest_json
from tunewright.store.home import cache_folder
from tunewright.store.lock import locked

_NAME: Final = re.compile(
    r"(?P<site>modelscope:)?(?P<repository>[\w][\w.-]*/[\w][\w.-]*)(@(?P<revision>[\w./-]+))?", re.ASCII
)
_LOCK_SECONDS: Final = 3600.0
_WEIGHTS: Final = "model.safetensors"
_INDEX: Final = "model.safetensors.index.json"
_SHARD: Final = re.compile(r"model-\d+-of-\d+\.safetensors")
_BESIDE: Final = re.compile(
    r"(README\.md|LICEN[SC]E[\w.-]*|NOTICE[\w.-]*|[\w.-]+\.jinja|vocab\.txt|merges\.txt|[\w.-]+\.json"
    r"|tokenizer\.model|spiece\.model|sentencepiece\.bpe\.model)",
    re.ASCII | re.IGNORECASE,
)
_MAX_BESIDE_BYTES: Final = 256 << 20
_PICKLED: Final = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")
_INSTEAD: Final = "name a model of the catalogue (tunewright assets list) or a folder with the model's files"


class Hub:
    """Endpoint and token come from the variables that each hub's own tools read."""

    def recognise(self, name: str) -> float:
        """Rather sure of ``org/name``, sure with ``modelscope:`` before it; a folder of that name goes first."""
        match = _NAME.fullmatch(name)
        if match is None:
            return 0.0
        return 1.0 if match["site"] else 0.7

    def describe(self, name: str) -> Description:
        """Name and hub; the rest is known once it is fetched."""
        site, repository, revision = _parse(name)
        is_here = open_artifact(_target(site, repository, revision), verify=False) is not None
        title = f"{repository} at {revision} on {site.title}"
        return Description(title=title, licence="", download_bytes=0 if is_here else None)

    def fetch(self, order: Order) -> Fetched:
        """The folder in the cache. Raises InputError for a model that is not shown or has no usable files."""
        site, repository, revision = _parse(order.name)
        target = _target(site, repository, revision)
        try:
            artifact = open_artifact(target)
        except CorruptError:
            artifact = None
        if artifact is None:
            shared = None if ":" in order.name else _in_shared_cache(repository, revision)
            if shared is not None:
                return Fetched(
                    folder=shared, source=f"{site.title} {repository} at {shared.name}, from the shared cache"
                )
            if site.is_offline:
                raise _unreachable(site, repository, "the hub is switched off by HF_HUB_OFFLINE")
            with durable.reported(target.parent):
                durable.make_folders(_partial(target))
            with locked(target.parent / "fetch.lock", _LOCK_SECONDS):
                recover_folder(target.parent)
                artifact = _bring(site, repository, revision, target, order)
        facts = artifact.facts
        return Fetched(
            folder=artifact.folder,
            source=f"{site.title} {repository} at {facts.get('revision', revision)}",
            licence=str(facts.get("licence", "")),
            verified=manifest_digests(artifact.folder),
        )


def choose_files(listing: Listing, where: str) -> tuple[RemoteFile, ...]:
    """The files that are taken: weights in safetensors, configuration, tokenizer, licence; all from the top folder.

    Raises InputError where there are no such weights, with what to do about those that there are.
    """
    top = {file.name: file for file in listing.files if "/" not in file.name}
    shards = [file for name, file in top.items() if _SHARD.fullmatch(name)] if _INDEX in top else []
    weights = [top[_WEIGHTS]] if _WEIGHTS in top else shards
    if not weights or "config.json" not in top:
        raise _unusable(sorted(top), where)
    beside = [
        file
        for name, file in top.items()
        if _BESIDE.fullmatch(name) and name not in (_INDEX, "manifest.json") and file.num_bytes <= _MAX_BESIDE_BYTES
    ]
    return (*beside, *([top[_INDEX]] if weights is shards else []), *weights)


def _bring(site: HubSite, repository: str, revision: str, target: Path, order: Order) -> Artifact:
    partial_folder = _partial(target)
    order.tell("asking the hub", 0, None, repository)
    try:
        with open_session(site) as session:
            listing = retry(partial(site.list_files, session, site, repository, revision))
            files = choose_files(listing, f"{site.title} {repository}")
            for file in files:
                wanted = Wanted(file.url, file.name, file.num_bytes, file.sha256)
                retry(Transfer(session, wanted, partial_folder / _part_name(file), order.tell))
    except (FileNotFoundError, Refused) as error:
        raise _not_shown(site, repository, revision) from error
    except OtherFile as error:
        raise CorruptError(
            "the hub sent another file than it lists",
            where=f"{site.title} {repository}",
            given=error,
            allowed="the length and SHA-256 that the hub states",
            hint="type the same command again; if it stays so, choose another mirror",
        ) from error
    except (NotServed, KeyError, TypeError) as error:
        reason = str(error) if isinstance(error, NotServed) else "answers something that is no listing"
        raise _unreachable(site, repository, f"{site.endpoint} {reason}") from error

    def fill(draft: Draft) -> None:
        for file in files:
            durable.link_or_copy(partial_folder / _part_name(file), draft.path(file.name))

    facts = {"revision": listing.revision, "licence": listing.licence, "repository": repository}
    artifact = commit_artifact(target, target.name, fill, facts)
    with durable.reported(partial_folder):
        durable.remove_tree(partial_folder)
    return artifact


def _in_shared_cache(repository: str, revision: str) -> Path | None:
    """The snapshot that other tools have left in huggingface_hub's cache, if it has all that is needed."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(repository, "config.json", revision=revision)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    names = {path.name for path in folder.iterdir()}
    has_weights = _WEIGHTS in names or (_INDEX in names and any(_SHARD.fullmatch(name) for name in names))
    return folder if has_weights and names & set(TOKENIZER_FILES) else None


def _parse(name: str) -> tuple[HubSite, str, str]:
    match = _NAME.fullmatch(name)
    if match is None:
        raise InputError(
            "this is no name on a hub",
            where="model.name",
            given=name,
            allowed="org/name, org/name@revision, modelscope:org/name",
            hint=_INSTEAD,
        )
    site = modelscope() if match["site"] else huggingface()
    return site, match["repository"], match["revision"] or site.default_revision


def _target(site: HubSite, repository: str, revision: str) -> Path:
    digest = digest_json([site.title, repository, revision])[:12]
    return cache_folder() / "models" / f"{repository.replace('/', '--')}-{digest}"


def _partial(target: Path) -> Path:
    """Where a download stands until it is whole; kept from one process to the next, read by none but the download."""
    return target.parent / "partial" / target.name


def _part_name(file: RemoteFile) -> str:
    return f"{file.sha256[:16] or file.num_bytes}-{file.name}"


def _not_shown(site: HubSite, repository: str, revision: str) -> InputError:
    return InputError(
        "the hub does not show this model: there is none of this name and revision, or it is private or gated",
        where="model.name",
        given=f"{repository} at {revision}",
        allowed=f"a model that {site.title} shows you",
        hint=f"look at its page; accept its terms there if it has any, and set {site.sign_in_variable}",
    )


def _unreachable(site: HubSite, repository: str, reason: str) -> MachineError:
    return MachineError(
        f"{repository} could not be fetched from {site.title}",
        where="model.name",
        given=reason,
        allowed="a hub that this machine can reach, or a model that is here already",
        hint=f"{_INSTEAD}; or set {site.endpoint_variable} to a mirror. What has arrived is kept: the same command goes on",
    )


def _unusable(names: Sequence[str], where: str) -> InputError:
    pickled = [name for name in names if name.endswith(_PICKLED)]
    packed = [name for name in names if name.endswith(".gguf")]
    if packed:
        hint = f"fetch {packed[0]} yourself and name the file: model: ./{packed[0]}"
    elif pickled:
        hint = (
            "look for the same model with safetensors weights (many have a revision or a copy with them); or "
            + _INSTEAD
        )
    else:
        hint = _INSTEAD
    return InputError(
        "the weights are pickled, and reading a pickle can run code" if pickled else "no model that can be used",
        where=where,
        given=", ".join((pickled or packed or list(names))[:6]) or "an empty repository",
        allowed=f"config.json with {_WEIGHTS}, or with shards and their index",
        hint=hint,
    )
