"""How the rows of an asset belong to those of its upstreams, by the columns that both have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Upstream", "related"]


@dataclass(frozen=True)
class Upstream:
    """An upstream that is a feature, or is to be one.

    Attributes:
        feature: its key.
        ids: its id columns.
        columns: all columns that are known of it.
    """

    feature: str
    ids: tuple[str, ...]
    columns: tuple[str, ...]


def related(ids: Sequence[str], upstreams: Sequence[Upstream]) -> list[dict[str, object]] | str:
    """What ``"metaxy/deps"`` has to say of upstreams.

    Args:
        ids: the asset's own id columns.
        upstreams: what it is computed from.

    Returns:
        Nothing where the samples are those of the upstreams, or are joined by the columns that
        they share; else all deps. Or, as a text, why no lineage follows from the columns.

    Example:
        >>> pages = Upstream("page", ("page_id",), ("page_id", "book", "text"))
        >>> related(["page_id"], [pages])
        []
        >>> related(["book"], [pages])
        [{'feature': 'page', 'lineage': {'type': 'aggregation', 'on': ['book']}}]
    """
    own = set(ids)
    finest = any(own == set(each.ids) for each in upstreams)
    found: list[dict[str, object]] = []
    for each in upstreams:
        shared = own & set(each.ids)
        lineage: Mapping[str, object] | None = None
        if own == set(each.ids) or (finest and set(each.ids) < own):
            pass
        elif set(each.ids) < own:
            lineage = {"type": "expansion", "on": list(each.ids)}
        elif own <= set(each.columns):
            lineage = {"type": "aggregation", "on": list(ids)}
        else:
            named = ", ".join(each.ids)
            what = f"it shares {', '.join(sorted(shared))} only" if shared else "none is shared"
            return (
                f"its rows ({', '.join(ids)}) cannot be traced to those of {each.feature} "
                f"({named}): {what}"
            )
        found.append({"feature": each.feature, **({"lineage": lineage} if lineage else {})})
    return found if any("lineage" in one for one in found) else []
