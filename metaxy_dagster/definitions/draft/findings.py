"""What rules yield: changes of an asset, additions to the repository, notices and faults."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from metaxy_dagster.definitions.plan.plans import AutomationPlan, Change, Notice
from metaxy_dagster.errors import MetaxyError

if TYPE_CHECKING:
    from typing import Literal

    from metaxy_dagster.definitions.draft.drafts import AssetDraft

__all__ = ["Added", "Fill", "Found", "Over"]


class Over(StrEnum):
    """What a rule is a rule of."""

    ASSET = "asset"
    UNIT = "unit"
    REPOSITORY = "repository"


@dataclass(frozen=True, eq=False)
class Fill:
    """What changes on an asset.

    Args:
        asset: the asset.
        attribute: an argument of ``AssetSpec.replace_attributes``; None where the spec stays, and
            the asset's op or graph is another one.
        value: its new value.
        changes: the same in words.
        first: whether it is said before all else.
    """

    asset: AssetDraft
    attribute: str | None
    value: object
    changes: tuple[Change, ...]
    first: bool = False


@dataclass(frozen=True, eq=False)
class Added:
    """Something that the repository gets in addition to its own.

    Args:
        to: the field of the plan that it goes into.
        name: how it is called there.
        value: the object.
        change: a word on it.
    """

    to: Literal["checks", "externals", "resources", "sensors"]
    name: str
    value: Any
    change: Change


#: A fill, an addition and the automations change the draft; the others are said.
Found = Fill | Added | AutomationPlan | Notice | MetaxyError
