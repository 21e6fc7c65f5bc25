"""From a user's frame to one that may be staged: checks, and where its provenance comes from.

What is in memory is checked at once. What is collected batch by batch goes through a file on its
way, so that it is checked as a whole, and the user's code has run, before the store is locked.
"""

from __future__ import annotations

__all__ = ["prepare"]

_IDS = "metaxy_ids"
