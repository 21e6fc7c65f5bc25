"""What ``dg scaffold defs`` writes for a :class:`MetaxyComponent`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg
from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from dagster.components.scaffold.scaffold import ScaffoldRequest

__all__ = ["MetaxyScaffoldParams", "MetaxyScaffolder"]

EXAMPLE = '''\
"""The definitions that the component ties to their features; put your own in their place."""

import dagster as dg


@dg.asset(metadata={"metaxy/feature": "example/numbers"})
def numbers() -> None: ...


defs = dg.Definitions(assets=[numbers])
'''
FEATURE = {"key": "example/numbers", "id_columns": ["id"]}


class MetaxyScaffoldParams(BaseModel):
    """Options of ``dg scaffold defs metaxy_dagster.components.MetaxyComponent``."""

    target: str | None = Field(
        default=None,
        description="Where the definitions are, as package.module:name. Without it, an example "
        "is written beside the component.",
    )


class MetaxyScaffolder(dg.Scaffolder[MetaxyScaffoldParams]):
    """Writes ``defs.yaml`` and, where no target is named, an example repository beside it."""

    @classmethod
    def get_scaffold_params(cls) -> type[MetaxyScaffoldParams]:
        """The options."""
        return MetaxyScaffoldParams

    def scaffold(self, request: ScaffoldRequest[MetaxyScaffoldParams]) -> None:
        """Write the files.

        Args:
            request: where, in which format, and with which options.
        """
        # Without options, some releases of Dagster hand over no object of them at all.
        named = getattr(request.params, "target", None)
        if named is not None:
            dg.scaffold_component(request, {"target": named})
            return
        # A folder with a component in it is not searched for definitions: nothing loads twice.
        (request.target_path / "repository.py").write_text(EXAMPLE, encoding="utf-8")
        dg.scaffold_component(request, {"target": ".repository:defs", "features": [FEATURE]})
