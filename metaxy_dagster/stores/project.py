"""A project as its configuration describes it: the stores, and where features are declared."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from metaxy_dagster.errors import ConfigError
from metaxy_dagster.features import BaseFeature, FeatureGraph
from metaxy_dagster.stores.config import MetaxyConfig, load_config

__all__ = ["init"]


def init(config: MetaxyConfig | str | Path | None = None) -> MetaxyConfig:
    """Load the configuration, and the modules in which it says that features are declared.

    ```toml
    entrypoints = ["my_project.features"]
    ```

    The feature classes of these modules are on the current graph then, where the pass, stores
    and ``@metaxify`` look for features. A project that imports its feature classes where it uses
    them, or declares them by metadata keys, needs no such line.

    Args:
        config: a configuration or its file; by default the nearest ``metaxy.toml`` or
            ``pyproject.toml`` upwards, or the file that ``METAXY_CONFIG`` names.

    Returns:
        The configuration; an empty one where none is found.

    Raises:
        ConfigError: the file is not valid, or there is no module of that name. What a module
            itself raises comes as it is.
        FeatureError: a feature is declared elsewhere in a different way.

    Example:
        >>> init(MetaxyConfig(project="speech")).project
        'speech'
    """
    found = config if isinstance(config, MetaxyConfig) else load_config(config) or MetaxyConfig()
    graph = FeatureGraph.current()
    for name in found.entrypoints:
        module = _module(name, found)
        # They registered when the module was first imported, perhaps on another graph.
        for value in tuple(vars(module).values()):
            is_class = isinstance(value, type) and issubclass(value, BaseFeature)
            if is_class and value.__metaxy_spec__ is not None:
                graph.add(value)
    return found


def _module(name: str, config: MetaxyConfig) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        where = "" if config.source is None else f" of {str(config.source)!r}"
        raise ConfigError(
            f"an entry of entrypoints{where} is no module that can be imported",
            found=name,
            allowed='names of modules, such as "my_project.features"',
            remedy="correct the name, or install the package that has it",
        ) from error
