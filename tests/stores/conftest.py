"""A store that no test may change, and how much resolves look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from worlds import digest, small_store

from metaxy_dagster.stores import DuckDBMetadataStore
from metaxy_dagster.stores.duckdb.resolve import full


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


@pytest.fixture
def narrowed(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """How many candidates each resolve looked at; ``None`` for all of the samples."""
    seen: list[int | None] = []
    find = full.find_candidates

    def watched(*args: Any, **options: Any) -> int | None:
        seen.append(find(*args, **options))
        return seen[-1]

    monkeypatch.setattr(full, "find_candidates", watched)
    return seen
