"""The repositories beside the tests are loaded by them, one at a time; they are no tests."""

from __future__ import annotations

collect_ignore_glob = ["shop_elt/*", "vision_ml/*"]
