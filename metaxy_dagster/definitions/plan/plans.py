"""The frozen plan of a pass: what prints is what executes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from metaxy_dagster.errors import MetaxyError, MetaxyErrorGroup

if TYPE_CHECKING:
    from collections.abc import Mapping

    import dagster as dg

    from metaxy_dagster.definitions.plan.node_plan import NodePlan
    from metaxy_dagster.definitions.repository.collect import Scan, Unit
    from metaxy_dagster.features.graph import FeatureGraph
    from metaxy_dagster.features.keys import FeatureKey

__all__ = [
    "KEPT",
    "ROUTED",
    "AssetPlan",
    "AutomationPlan",
    "Change",
    "DefinitionPlan",
    "Notice",
    "NoticeKind",
    "RepositoryPlan",
]


#: What changes of the storage of an asset are called.
KEPT: Final = "io_manager"
ROUTED: Final = "io_manager_key"


class NoticeKind(StrEnum):
    """What a warning is about."""

    AUTOMATION = "automation"
    BODY = "body"
    CODE_VERSION = "code version"
    HISTORY = "history"
    IO_MANAGER = "IO manager"
    LEFT_ALONE = "left alone"
    LIMIT = "limit"
    LONG_CHAIN = "long chain"
    METADATA = "metadata"
    PARAMETER = "parameter"
    PARTITIONS = "partitions"
    REFERENCE = "reference"
    RENAME = "rename"
    RESOURCE = "resource"
    SELECTION = "selection"


@dataclass(frozen=True)
class Notice:
    """Something worth knowing that does not stop the pass.

    Args:
        kind: what it is about.
        message: one sentence.
        asset: the asset concerned, as ``"a/b"``.
    """

    kind: NoticeKind
    message: str
    asset: str | None = None


@dataclass(frozen=True)
class Change:
    """One thing that the pass changes on an asset.

    Args:
        what: the attribute: ``"description"``, ``"dep"``, ``"metadata"``, ``"key"``, …
        value: its new value in words.
        why: where that comes from.
    """

    what: str
    value: str
    why: str


@dataclass(frozen=True, eq=False)
class AssetPlan:
    """What becomes of one asset.

    Args:
        key: its key in the user's repository.
        feature: the feature that it carries, if any.
        spec: its spec after the pass; the same object as before when nothing changes.
        changes: what changes and why, in a fixed order.
    """

    key: dg.AssetKey
    feature: FeatureKey | None
    spec: dg.AssetSpec
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, eq=False)
class DefinitionPlan:
    """What becomes of one object of the Definitions.

    Args:
        unit: the object.
        assets: its assets.
        keys: replaced asset keys among its outputs and checks.
        input_keys: what its inputs are bound to after the pass.
        node: how its op or graph is rewritten; None leaves it as it is.
        checks: its check specs by output name where they change.
        resources: all that is bound to it, where some of that changes.
        touched: whether the object is rebuilt; if not, the very same object is passed on.
    """

    unit: Unit
    assets: tuple[AssetPlan, ...] = ()
    keys: Mapping[dg.AssetKey, dg.AssetKey] = field(default_factory=dict)
    input_keys: Mapping[str, dg.AssetKey] = field(default_factory=dict)
    node: NodePlan | None = None
    checks: Mapping[str, dg.AssetCheckSpec] = field(default_factory=dict)
    resources: Mapping[str, dg.ResourceDefinition] = field(default_factory=dict)
    touched: bool = False


@dataclass(frozen=True, eq=False)
class AutomationPlan:
    """What becomes of jobs, schedules and sensors; objects that stay are not listed.

    Args:
        replaced: by identity of the old object, the new one. A job that a schedule, a sensor
            and the Definitions share is replaced by one and the same object.
        notes: what was replaced, by name, and why.
    """

    replaced: Mapping[int, Any] = field(default_factory=dict)
    notes: tuple[tuple[str, Change], ...] = ()


@dataclass(frozen=True, eq=False)
class RepositoryPlan:
    """What a pass is going to do to a repository, as data.

    Args:
        defs: the user's Definitions, which stay as they are.
        graph: the features of this pass.
        definitions: the plan of each asset object, in their order.
        externals: external asset specs to be added.
        resources: resources to be added or bound.
        resource_notes: where each of them comes from.
        automations: replaced jobs, schedules and sensors.
        checks: asset checks to be added.
        check_notes: which assets they look at, and why they are there.
        sensors: sensors to be added; ``automations.notes`` says why.
        longest_chain: the number of assets on the longest path of deps.
        notices: warnings.
        errors: faults; a plan that has any is not applied.
    """

    defs: dg.Definitions
    scan: Scan
    graph: FeatureGraph
    definitions: tuple[DefinitionPlan, ...]
    externals: tuple[dg.AssetSpec, ...] = ()
    resources: Mapping[str, Any] = field(default_factory=dict)
    resource_notes: tuple[tuple[str, Change], ...] = ()
    automations: AutomationPlan = field(default_factory=AutomationPlan)
    checks: tuple[dg.AssetChecksDefinition, ...] = ()
    check_notes: tuple[tuple[str, Change], ...] = ()
    sensors: tuple[dg.SensorDefinition, ...] = ()
    longest_chain: int = 0
    notices: tuple[Notice, ...] = ()
    errors: tuple[MetaxyError, ...] = ()

    @property
    def assets(self) -> tuple[AssetPlan, ...]:
        """The plans of all assets, in the order of the repository."""
        return tuple(asset for each in self.definitions for asset in each.assets)

    @property
    def changes_anything(self) -> bool:
        """Whether applying the plan gives anything but the same Definitions."""
        return bool(
            any(each.touched for each in self.definitions)
            or self.externals
            or self.resources
            or self.automations.replaced
            or self.checks
            or self.sensors
        )

    def raise_errors(self) -> None:
        """Raise all faults together.

        Raises:
            MetaxyErrorGroup: there is at least one.
        """
        if self.errors:
            count = len(self.errors)
            raise MetaxyErrorGroup(
                f"{count} fault{'s' if count > 1 else ''} found; nothing was changed", self.errors
            )
