"""Which samples of a feature belong to one run of one asset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from operator import and_, or_
from typing import TYPE_CHECKING, Any

from metaxy_dagster.features import And, Filter, Or
from metaxy_dagster.features.columns import fold
from metaxy_dagster.runtime.partitions.choice import Choice, Value

if TYPE_CHECKING:
    import narwhals as nw

__all__ = ["Choice", "Scope", "Value"]


@dataclass(frozen=True)
class Scope:
    """The samples for which one of several combinations of choices holds.

    Attributes:
        alternatives: any of these must hold, each as a whole; none at all means every sample.

    Example:
        >>> scope = Scope(((Choice("day", ("2024-01-01",)),),))
        >>> [str(one) for one in scope.filters({"day": "VARCHAR"})], bool(Scope())
        (["day IN ('2024-01-01')"], False)
    """

    alternatives: tuple[tuple[Choice, ...], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.alternatives)

    def __and__(self, other: Scope) -> Scope:
        """Samples that belong to both."""
        if not self or not other:
            return self or other
        return Scope(
            tuple((*mine, *theirs) for mine in self.alternatives for theirs in other.alternatives)
        )

    def __or__(self, other: Scope) -> Scope:
        """Samples that belong to either."""
        if not self or not other:
            return Scope()
        return Scope((*self.alternatives, *other.alternatives))

    @classmethod
    def of_values(cls, values: Mapping[str, tuple[Value, ...]]) -> Scope:
        """Samples that hold one of the given values in each of the columns."""
        choices = tuple(Choice(column, allowed) for column, allowed in values.items())
        return cls((choices,)) if choices else cls()

    @property
    def choices(self) -> Iterator[Choice]:
        """All choices, of any alternative."""
        return (one for each in self.alternatives for one in each)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that decide."""
        return tuple(dict.fromkeys(one.column for one in self.choices))

    @property
    def partition_columns(self) -> tuple[str, ...]:
        """Those of them that hold partitions of Dagster."""
        return tuple(dict.fromkeys(one.column for one in self.choices if one.is_partition))

    def of_columns(self, names: Mapping[str, str]) -> Scope:
        """What is said of some columns alone, each under another name.

        Args:
            names: the columns, and what they are called there.
        """
        called = {fold(here): there for here, there in names.items()}
        parts = [
            tuple(
                replace(one, column=called[fold(one.column)])
                for one in each
                if fold(one.column) in called
            )
            for each in self.alternatives
        ]
        return Scope(tuple(parts)) if all(parts) else Scope()

    @property
    def constants(self) -> Mapping[str, Value]:
        """Columns that hold the same value in every sample of the run."""
        found: dict[str, set[Value]] = {}
        for one in self.choices:
            found.setdefault(one.column, set()).update(one.values)
        return {column: next(iter(values)) for column, values in found.items() if len(values) == 1}

    def filters(self, kinds: Mapping[str, str]) -> tuple[Filter, ...]:
        """The scope as a store's filters.

        Args:
            kinds: column to type, as the store names it; a column without one is text.

        Raises:
            RunError: no value of a column of such a type can be told to be a partition's.
        """
        if not self:
            return ()
        folded = {fold(name): kind for name, kind in kinds.items()}
        parts = [
            [one.filter(folded.get(fold(one.column), "")) for one in each]
            for each in self.alternatives
        ]
        if len(parts) == 1:
            return tuple(parts[0])
        return (Or(tuple(And(tuple(each)) if len(each) > 1 else each[0] for each in parts)),)

    def undecided(self, kinds: Mapping[str, str]) -> dict[str, tuple[Choice, Filter]]:
        """By column, which of its values cannot be told to be within or outside.

        Args:
            kinds: as for :meth:`filters`; columns without a type are passed over.
        """
        folded = {fold(name): kind for name, kind in kinds.items()}
        found: dict[str, tuple[Choice, list[Filter]]] = {}
        for one in self.choices:
            kind = folded.get(fold(one.column))
            condition = None if kind is None else one.undecided(kind)
            if condition is not None:
                found.setdefault(one.column, (one, []))[1].append(condition)
        return {
            column: (one, parts[0] if len(set(parts)) == 1 else Or(tuple(dict.fromkeys(parts))))
            for column, (one, parts) in found.items()
        }

    def expression(self, frame: nw.LazyFrame[Any] | nw.DataFrame[Any]) -> nw.Expr:
        """The scope as a narwhals expression over the rows of a frame that has its columns.

        Text is looked at: a value that cannot be told to be within or outside is an error.

        Raises:
            RunError: there is such a value, or a column's type can hold none that is a partition's.
        """
        names = {fold(name): name for name in frame.collect_schema()}
        return _either(
            reduce(and_, [one.expression(names[fold(one.column)], frame) for one in each])
            for each in self.alternatives
        )

    def restrict(self, frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
        """The rows of a frame that belong to the scope; all of them if it lacks the columns.

        Raises:
            RunError: as :meth:`expression`.
        """
        present = {fold(name) for name in frame.collect_schema()}
        if not self or any(fold(column) not in present for column in self.columns):
            return frame
        return frame.filter(self.expression(frame))


def _either(terms: Iterable[nw.Expr]) -> nw.Expr:
    return reduce(or_, terms)
