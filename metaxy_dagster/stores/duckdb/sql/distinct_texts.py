"""Conditions on text that are decided once for each value, however many rows hold it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["DistinctTexts"]

# Of the first rows so many must hold a value that another of them holds, too.
_LOOKED_AT, _REPEATED = 8_192, 4
# What the engine cannot move a condition across: it would be decided for each row again.
_ALL = "LIMIT 9223372036854775807"


@dataclass(frozen=True)
class DistinctTexts:
    """The rows that a condition will be asked of.

    Attributes:
        connection: to the file.
        rows: SQL that gives them.
    """

    connection: DuckDBPyConnection
    rows: str

    def decided(self, text: str, decide: Callable[[str], str]) -> str | None:
        """A condition that holds where the text is one for which another condition holds.

        Args:
            text: SQL that reads the text from the rows.
            decide: the other condition, of SQL that reads the text; never true of NULL.

        Returns:
            SQL that is NULL only where the text is; ``None`` if nearly all texts differ, so that
            nothing is gained.
        """
        if not self._are_repeated(text):
            return None
        distinct = f"SELECT DISTINCT {text} AS metaxy_text FROM ({self.rows}) {_ALL}"
        return f"{text} IN (SELECT metaxy_text FROM ({distinct}) WHERE {decide('metaxy_text')})"

    def _are_repeated(self, text: str) -> bool:
        ((repeated,),) = self.connection.execute(
            f"SELECT count(DISTINCT t) * {_REPEATED} <= count(t)"
            f" FROM (SELECT {text} AS t FROM ({self.rows}) LIMIT {_LOOKED_AT})"
        ).fetchall()
        return bool(repeated)
