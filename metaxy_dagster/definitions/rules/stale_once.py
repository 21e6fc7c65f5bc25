"""Assets that Dagster shows as stale once, since they get a code version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from metaxy_dagster.definitions import _compat
from metaxy_dagster.definitions.draft.rule import RepositoryRule
from metaxy_dagster.definitions.plan.plans import Notice, NoticeKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaxy_dagster.definitions.bindings.bindings import Bindings
    from metaxy_dagster.definitions.draft.draft import Draft

__all__ = ["stale_once"]


#: So many names are enough to know which assets are meant.
_NAMES: Final = 3


@RepositoryRule
def stale_once(_: Bindings, draft: Draft) -> Iterator[Notice]:
    """What was materialized before under no code version."""
    stamped = [each for each in draft.tied.values() if "code_version" in each.attributes]
    if not stamped:
        return
    names = ", ".join(each.asset.name for each in stamped[:_NAMES])
    more = ", …" if len(stamped) > _NAMES else ""
    watching = sum(
        _compat.watches_code_versions(each.spec.automation_condition) for each in stamped
    )
    fires = f", and conditions on code versions fire for {watching} of them" if watching else ""
    yield Notice(
        NoticeKind.CODE_VERSION,
        f"{len(stamped)} assets ({names}{more}) get a code version: what was materialized before "
        f"is shown as stale once{fires}; inject_code_version=False leaves them alone",
    )
