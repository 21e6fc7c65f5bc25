"""A store that no test may change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from worlds import digest, small_store

from metaxy_dagster.stores import DuckDBMetadataStore


@pytest.fixture(scope="module")
def refusing_all(tmp_path_factory: pytest.TempPathFactory) -> tuple[DuckDBMetadataStore, object]:
    store = small_store(tmp_path_factory.mktemp("refusing"))
    return store, state(store)


def state(store: DuckDBMetadataStore) -> object:
    """All that is stored, and the files beside it."""
    return digest(store.path), sorted(path.name for path in store.path.parent.iterdir())


@pytest.fixture
def refusing(
    refusing_all: tuple[DuckDBMetadataStore, object],
) -> Iterator[DuckDBMetadataStore]:
    """A store that no test may change."""
    store, before = refusing_all
    yield store
    assert state(store) == before
