"""Configuration: ``metaxy.toml``, ``[tool.metaxy]`` in ``pyproject.toml``, or neither.

```toml
project = "robotics"
entrypoints = ["robotics.features"]  # modules that declare features, see init
store = "dev"                      # which store is meant when none is named

[stores.dev]
type = "duckdb"                    # or the import path of a MetadataStore class
config = { path = "${DATA_DIR:-.}/metaxy.duckdb" }
```

Only environment variables are expanded, ``${NAME}`` or ``${NAME:-default}``, and only when a
store is made. Relative paths count from the directory of the file.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metaxy_dagster.errors import ConfigError, MetaxyError, shown
from metaxy_dagster.features import FeatureGraph
from metaxy_dagster.stores.duckdb.store import DuckDBMetadataStore
from metaxy_dagster.stores.paths import local_path
from metaxy_dagster.stores.protocol import MetadataStore

__all__ = ["MetaxyConfig", "StoreConfig", "find_config", "load_config"]

ENV_CONFIG = "METAXY_CONFIG"
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_FILES = ("metaxy.toml", "pyproject.toml")


class StoreConfig(BaseModel):
    """One ``[stores.<name>]`` table.

    Attributes:
        type: ``"duckdb"``, or the import path of a class that is a :class:`MetadataStore`.
        config: keyword arguments of that class.

    Example:
        >>> StoreConfig(config={"path": "m.duckdb"}).type
        'duckdb'
    """

    # What is refused is not repeated: it may be a secret in the wrong place.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    type: str = "duckdb"
    # Not shown: it may hold a secret.
    config: dict[str, Any] = Field(default_factory=dict, repr=False)


class MetaxyConfig(BaseModel):
    """A whole configuration.

    Attributes:
        project: shown on assets as a tag.
        store: the store that is meant when none is named; may be left out if there is one only.
        stores: the stores by name.
        entrypoints: the modules that declare features, for :func:`~metaxy_dagster.init`.
        source: the file it was read from.

    Example:
        >>> config = MetaxyConfig(stores={"dev": {"config": {"path": "m.duckdb"}}})
        >>> config.get_store("dev").path.name
        'm.duckdb'
    """

    # What is refused is not repeated: it may be a secret in the wrong place.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    project: str | None = None
    store: str | None = None
    stores: dict[str, StoreConfig] = Field(default_factory=dict)
    entrypoints: tuple[str, ...] = ()
    source: Path | None = None

    def get_store(
        self, name: str | None = None, *, graph: FeatureGraph | None = None
    ) -> MetadataStore:
        """Make a configured store.

        Args:
            name: which one; by default ``store``, or the only one.
            graph: the features it will know.

        Raises:
            ConfigError: no such store, an unset variable, or keywords that the store refuses.
        """
        if name is not None and not isinstance(name, str):
            raise ConfigError(
                "the name of a store is no text",
                found=shown(name),
                allowed=sorted(self.stores),
                remedy="pass one of the names that are configured",
            )
        wanted = name or self.store or (next(iter(self.stores)) if len(self.stores) == 1 else None)
        if wanted is None or wanted not in self.stores:
            raise ConfigError(
                "no store of this name is configured" if wanted else "which store is meant is open",
                # What the file says is not repeated: it may be a secret in the wrong place.
                found=name or (wanted and "the name in: store = …"),
                allowed=sorted(self.stores),
                remedy=f"add [stores.{name or 'dev'}] to {self.source or 'metaxy.toml'}"
                if wanted or not self.stores
                else 'name one of them, or set store = "…" in the configuration',
            )
        entry = self.stores[wanted]
        where = f"stores.{wanted}.config"
        keywords = {key: self._expand(value, where) for key, value in entry.config.items()}
        if isinstance(keywords.get("path"), str):
            base = self.source.parent if self.source else Path.cwd()
            keywords["path"] = local_path(keywords["path"], base)
        cls = _store_class(entry.type, f"stores.{wanted}")
        try:
            store: MetadataStore = cls(**keywords, graph=graph)
        except TypeError as error:
            raise ConfigError(
                f"store {wanted!r} was given keywords that {entry.type!r} does not take",
                found=sorted(keywords),
                remedy=f"correct [{where}]: {error}",
            ) from error
        except MetaxyError as error:
            raise ConfigError(
                error.problem,
                found=f"the value in [{where}]"
                + (f" of {str(self.source)!r}" if self.source else ""),
                allowed=error.allowed,
                remedy=error.remedy,
            ) from None
        return store

    def _expand(self, value: Any, where: str) -> Any:
        if isinstance(value, str):
            return _VARIABLE.sub(lambda match: self._variable(match, where), value)
        if isinstance(value, Mapping):
            return {key: self._expand(item, where) for key, item in value.items()}
        if isinstance(value, list):
            return [self._expand(item, where) for item in value]
        return value

    def _variable(self, match: re.Match[str], where: str) -> str:
        name, default = match["name"], match["default"]
        value = os.environ.get(name, default)
        if value is None:
            raise ConfigError(
                f"environment variable {name} is not set",
                found=f"${{{name}}} in [{where}]"
                + (f" of {str(self.source)!r}" if self.source else ""),
                remedy=f"set {name}, or give a default: ${{{name}:-value}}",
            )
        return value


def _store_class(name: str, where: str) -> type[Any]:
    if name == "duckdb":
        return DuckDBMetadataStore
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute) if module else None
    except (ImportError, AttributeError, ValueError, UnicodeError):
        found = None
    if not (isinstance(found, type) and issubclass(found, MetadataStore)):
        raise ConfigError(
            "this store type is not known",
            # Not repeated where it is no such thing: it may be a secret in the wrong place.
            found=name if _IMPORT_PATH.fullmatch(name) else f"something else in [{where}]",
            allowed='"duckdb", or the import path of a MetadataStore class',
            remedy="correct the type of the store",
        )
    return found


def find_config(start: Path | None = None) -> Path | None:
    """The configuration file that applies: ``METAXY_CONFIG``, or the nearest one upwards.

    A ``pyproject.toml`` counts only if it has a ``[tool.metaxy]`` table.
    """
    if named := os.environ.get(ENV_CONFIG):
        return _file(named)
    try:
        folder = (start or Path.cwd()).absolute()
    except OSError as error:
        raise ConfigError(
            "the current directory is not there any more",
            found=error,
            remedy=f"change to another one, or name the configuration file in {ENV_CONFIG}",
        ) from error
    for directory in (folder, *folder.parents):
        for name in _FILES:
            path = directory / name
            if _is_file(path) and (name == _FILES[0] or _metaxy_table(_tables(path))):
                return path
    return None


def load_config(path: str | Path | None = None) -> MetaxyConfig | None:
    """Read a configuration file, or the one that applies here.

    Args:
        path: the file; by default :func:`find_config` looks for one.

    Returns:
        The configuration, or ``None`` if no path was given and there is none.

    Raises:
        ConfigError: the file is missing, is not TOML, or has unknown or wrong entries.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "metaxy.toml"
        >>> _ = path.write_text('stores.dev.config.path = "m.duckdb"')
        >>> sorted(load_config(path).stores)
        ['dev']
    """
    found = _file(path) if path is not None else find_config()
    if found is None:
        return None
    content = _tables(found)
    if found.name == "pyproject.toml":
        content = _metaxy_table(content)
    try:
        return MetaxyConfig.model_validate({**content, "source": found})
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        raise ConfigError(
            f"the configuration in {str(found)!r} is not valid",
            found=faults,
            allowed="project, store, entrypoints, and [stores.<name>] with type and config",
            remedy="correct these entries",
        ) from None


def _file(given: object) -> Path:
    if isinstance(given, str | Path) and str(given):
        with contextlib.suppress(RuntimeError, OSError):
            return Path(given).expanduser().absolute()
    raise ConfigError(
        "this is no path of a configuration file",
        found=shown(given),
        allowed="text or a Path",
        remedy="write the path in full",
    )


def _is_file(path: Path) -> bool:
    """Whether there is one; where it may not be looked for, there is none for us."""
    try:
        return path.is_file()
    except OSError:
        return False


def _metaxy_table(content: Mapping[str, Any]) -> dict[str, Any]:
    """``[tool.metaxy]``; empty if there is none."""
    tool = content.get("tool", {})
    found = tool.get("metaxy", {}) if isinstance(tool, dict) else {}
    return found if isinstance(found, dict) else {"tool.metaxy": found}


def _tables(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (OSError, ValueError, RecursionError) as error:
        # Not TOML, not UTF-8, or no name of a file.
        raise ConfigError(
            f"the configuration file {str(path)!r} cannot be read",
            found=f"{type(error).__name__}: {error}",
            allowed="a TOML file",
            remedy="correct the file, or the path that names it",
        ) from error
