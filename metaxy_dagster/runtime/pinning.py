"""The commit that all steps of a graph asset look at, in whatever processes they run.

It is pinned in the store, and written down in the run's event log as well: a store that was put
back, deleted or made anew meanwhile has lost the pin, and a second one would have the halves of
one computation look at different moments.
"""

from __future__ import annotations

from metaxy_dagster.constants import KEY_AS_OF
from metaxy_dagster.errors import StoreError
from metaxy_dagster.runtime._compat import Step
from metaxy_dagster.stores import MetadataStore

__all__ = ["pin", "pinned"]


def pin(store: MetadataStore, step: Step | None) -> int | None:
    """The commit that all steps of a graph asset look at; ``None`` where the asset is one step.

    Raises:
        StoreError: another step pinned one that the store knows no more.
    """
    if step is None or step.shared is None:
        return None
    found = pinned(store, step)
    if found is not None:
        return found
    commit = store.pin(step.shared)
    if step.log is not None:
        named = {"name": step.shared, "store": store.display(), "commit": int(commit)}
        message = f"all steps of {step.node} see {store.display()} as of commit {commit}"
        step.log.say(message, KEY_AS_OF, named)
    return commit


def pinned(store: MetadataStore, step: Step) -> int | None:
    """The commit that another step pinned for the same graph asset; ``None`` if none did.

    Raises:
        StoreError: another step pinned one that the store knows no more.
    """
    if step.shared is None:
        return None
    found = store.pinned(step.shared)
    if found is not None or step.log is None:
        return found
    for said in step.log.said(KEY_AS_OF, step.runs):
        if (said.get("name"), said.get("store")) == (step.shared, store.display()):
            raise StoreError(
                "the metadata store was put back to a backup, deleted or made anew since a step "
                "of the same graph asset looked at it, so that its steps would see two states",
                asset=step.outputs[0].asset_key.to_user_string() if step.outputs else None,
                found=f"commit {said.get('commit')}, as of which earlier steps of {step.node} "
                f"read {store.display()}, is pinned there no more (pins are kept for 30 days)",
                allowed="steps that all see the store as of one commit",
                remedy="run the asset again with all of its steps, not from failure",
            )
    return None
