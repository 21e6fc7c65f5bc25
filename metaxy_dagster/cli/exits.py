"""Exit codes of the command line, in one place."""

from __future__ import annotations

from typing import Final

__all__ = ["DIFFERENT", "EXPLANATION", "FAULTS", "FINE", "UNUSABLE"]

FINE: Final = 0
FAULTS: Final = 1
UNUSABLE: Final = 2
DIFFERENT: Final = 3

EXPLANATION: Final = """\
exit codes:
  0  nothing is wrong
  1  the plan has faults, or the store cannot be read or written
  2  wrong arguments or configuration, or the code cannot be loaded
  3  plan --diff --exit-code: the plans differ
"""
