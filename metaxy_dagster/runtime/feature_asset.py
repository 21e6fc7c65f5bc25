"""What the metadata of an asset says about how its feature is read and written."""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias, Union, get_args, get_origin

import dagster as dg
from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError

from metaxy_dagster import constants as c
from metaxy_dagster.errors import RunError
from metaxy_dagster.features import FeatureKey, FeatureSpec, FrozenMapping, declared_feature
from metaxy_dagster.features.class_columns import ClassColumns
from metaxy_dagster.features.columns import fold
from metaxy_dagster.runtime.input_keys import InputKeys
from metaxy_dagster.runtime.partition_choices import partition_choices
from metaxy_dagster.runtime.scope import Scope, Value
from metaxy_dagster.stores.shares import SHARE_RULE, is_share

__all__ = ["FeatureAsset"]


@dataclass(frozen=True)
class FeatureAsset:
    """An asset that is tied to a feature.

    Attributes:
        asset_key: the asset.
        feature: its feature.
        increment: whether its inputs hold only pending samples.
        unreturned_empty: whether pending samples that it does not return yielded nothing.
        write: ``"upsert"``, ``"replace"``, or ``None`` for what fits the frame.
        failed_rows: what becomes of rows of failed samples that an earlier run made: ``"keep"``,
            ``"delete"``, ``"raise"``; ``None`` for what the IO manager says.
        max_deleted_share: how much a replace may delete; ``None`` for what the IO manager says.
        preview: whether its events show rows; ``None`` for what the IO manager says.
        inputs: what of a run's configuration counts as an input; ``None`` for nothing.
        partition_by: the column that holds the Dagster partition key, under ``""``; or the
            columns by the names of their dimensions.
        contribution: where several assets feed one feature, the values by column that tell
            which samples are this asset's.

    Example:
        >>> asset = FeatureAsset.of(
        ...     dg.AssetKey("x"), {"metaxy/feature": "a/b", "metaxy/partition": {"source": "web"}}
        ... )
        >>> asset.increment, asset.contribution["source"]
        (False, ('web',))
    """

    asset_key: dg.AssetKey
    feature: FeatureKey
    increment: bool = False
    unreturned_empty: bool = False
    write: str | None = None
    failed_rows: str | None = None
    max_deleted_share: float | None = None
    preview: bool | None = None
    inputs: InputKeys | None = None
    partition_by: Mapping[str, str] = field(default_factory=FrozenMapping)
    contribution: Mapping[str, tuple[Value, ...]] = field(default_factory=FrozenMapping)

    @classmethod
    def of(cls, asset_key: dg.AssetKey, metadata: Mapping[str, Any]) -> FeatureAsset | None:
        """Read an asset's metadata; ``None`` if it is tied to no feature.

        Raises:
            RunError: a metadata key has a value that is not allowed.
        """
        feature = declared_feature(metadata)
        if feature is None:
            return None
        values, faults = _read(asset_key, metadata)
        if faults:
            raise faults[0]
        return cls(
            asset_key,
            feature,
            increment=values[c.KEY_INPUT] == c.INPUT_INCREMENT,
            unreturned_empty=values[c.KEY_UNRETURNED] == c.UNRETURNED_EMPTY,
            write=values[c.KEY_WRITE],
            failed_rows=values[c.KEY_FAILED_ROWS],
            max_deleted_share=values[c.KEY_MAX_DELETED_SHARE],
            preview=values[c.KEY_PREVIEW],
            inputs=values[c.KEY_CONFIG_VERSION],
            partition_by=FrozenMapping(values[c.KEY_PARTITION_BY]),
            contribution=FrozenMapping(values[c.KEY_PARTITION]),
        )

    @classmethod
    def faults(cls, asset_key: dg.AssetKey, metadata: Mapping[str, Any]) -> list[RunError]:
        """Every metadata key of an asset that has a value which is not allowed, as its error."""
        return _read(asset_key, metadata)[1]

    @classmethod
    def required(cls, asset_key: dg.AssetKey, metadata: Mapping[str, Any]) -> FeatureAsset:
        """As :meth:`of`, for an asset that must be tied to a feature.

        Raises:
            RunError: it is not.
        """
        found = cls.of(asset_key, metadata)
        if found is None:
            raise RunError(
                "the asset goes through the feature IO manager but is tied to no feature",
                asset=asset_key.to_user_string(),
                found=sorted(metadata),
                remedy=f'set metadata "{c.KEY_FEATURE}" on it, or choose another io_manager_key',
            )
        return found

    def scope(
        self,
        keys: Sequence[str] | None = None,
        definition: dg.PartitionsDefinition[Any] | None = None,
        also: Sequence[dg.TimeWindowPartitionsDefinition] = (),
    ) -> Scope:
        """The samples of this asset in a run.

        Args:
            keys: the Dagster partitions of the run; ``None`` for all of them.
            definition: the asset's partitions.
            also: partitions of assets upstream, whose keys may stand in the column, too.

        Raises:
            RunError: the asset is partitioned, but does not say by which column.
        """
        own = Scope.of_values(self.contribution)
        if keys is None or definition is None:
            return own
        fault = self.partitions_fault(definition)
        if fault is not None:
            raise fault
        return partition_choices(keys, definition, self.partition_by, also) & own

    def partitions_fault(self, definition: dg.PartitionsDefinition[Any]) -> RunError | None:
        """Why samples cannot be told apart by these partitions; ``None`` if they can."""
        names = [""]
        if isinstance(definition, dg.MultiPartitionsDefinition):
            names = [each.name for each in definition.partitions_defs]
        if self.partition_by and set(self.partition_by) <= set(names):
            return None
        example = "<column>" if names == [""] else dict.fromkeys(names, "<column>")
        return RunError(
            "the asset is partitioned, but nothing says which column holds the partition"
            if not self.partition_by
            else f'metadata "{c.KEY_PARTITION_BY}" does not fit the partitions of the asset',
            asset=self.asset_key.to_user_string(),
            feature=str(self.feature),
            found=_dimensions(self.partition_by),
            allowed="one column" if names == [""] else f"columns for the dimensions {names}",
            remedy=f'set metadata "{c.KEY_PARTITION_BY}": {_quoted(example)} on the asset',
        )

    def column_faults(self, spec: FeatureSpec, declared: ClassColumns) -> Iterator[RunError]:
        """What the asset says of columns that does not fit those that its feature's class declares.

        Args:
            spec: the feature.
            declared: the columns of its class; of one that is open, others may be named too.

        Yields:
            One error per column.
        """
        known = _known_columns(spec, declared)
        kinds = {fold(name): kind for name, kind in known.items()}
        otherwise = _MISSING if declared.is_closed else Any
        for column, key in self._named_columns().items():
            kind = kinds.get(fold(column), otherwise)
            if kind is _MISSING:
                near = difflib.get_close_matches(column, known, n=1)
                hint = f"name {near[0]!r}" if near else "name one of these"
                yield self._column_fault(
                    f'metadata "{key}" names a column that the feature does not declare',
                    found=column,
                    allowed=", ".join(sorted(known)),
                    remedy=f"{hint}, or declare {column!r} in the feature class",
                )
            elif _is_compound(kind):
                yield self._column_fault(
                    f'metadata "{key}" names a column that holds no single values',
                    found=f"{column}: {kind}",
                    allowed="a column of text, numbers, dates or times",
                    remedy="name another column",
                )
            else:
                wrong = [v for v in self.contribution.get(column, ()) if not _fits(v, kind)]
                if wrong:
                    yield self._column_fault(
                        f'metadata "{key}" has values that the column {column!r} cannot hold',
                        found=", ".join(map(repr, wrong)),
                        allowed=f"values of the type {getattr(kind, '__name__', kind)}",
                        remedy="write the values as the column holds them",
                    )

    def doubtful_columns(
        self, spec: FeatureSpec, declared: ClassColumns
    ) -> Iterator[tuple[str, str]]:
        """Columns that the asset names and an open class does not, each with a near one of it."""
        known = _known_columns(spec, declared)
        there = set(map(fold, known))
        for column in () if declared.is_closed else self._named_columns():
            near = difflib.get_close_matches(column, known, n=1)
            if near and fold(column) not in there:
                yield column, near[0]

    def _named_columns(self) -> dict[str, str]:
        """The columns that the asset's metadata names, with the key that names each."""
        return {
            **dict.fromkeys(self.partition_by.values(), c.KEY_PARTITION_BY),
            **dict.fromkeys(self.contribution, c.KEY_PARTITION),
        }

    def _column_fault(self, problem: str, *, found: str, allowed: str, remedy: str) -> RunError:
        return RunError(
            problem,
            asset=self.asset_key.to_user_string(),
            feature=str(self.feature),
            found=found,
            allowed=allowed,
            remedy=remedy,
        )


_MISSING = object()


def _known_columns(spec: FeatureSpec, declared: ClassColumns) -> dict[str, Any]:
    """The columns that a feature's spec and class name, with the type where one tells it."""
    named = [*spec.id_columns, *(name for field in spec.fields for name in field.columns or ())]
    return {**dict.fromkeys(named, Any), **declared.kinds}


def _quoted(value: object) -> str:
    """As it is written in code, with the quotes that most people use."""
    return repr(value).replace("'", '"')


def _dimensions(columns: Mapping[str, str]) -> object:
    """As the user wrote it."""
    if not columns:
        return f'no "{c.KEY_PARTITION_BY}"'
    return columns[""] if set(columns) == {""} else dict(columns)


def _is_compound(kind: object) -> bool:
    """Whether a type annotation is that of lists, structs, bytes or the like."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return any(_is_compound(each) for each in get_args(kind))
    wanted = origin or kind
    return isinstance(wanted, type) and issubclass(
        wanted, (list, tuple, set, frozenset, Mapping, bytes, BaseModel)
    )


def _fits(value: object, kind: Any) -> bool:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    except PydanticUserError:
        return True  # a type of the user's own, of which nothing is known
    return True


def _read(
    asset_key: dg.AssetKey, metadata: Mapping[str, Any]
) -> tuple[dict[str, Any], list[RunError]]:
    """The values of all keys, and the errors of those that have none that is allowed."""
    values: dict[str, Any] = {}
    faults: list[RunError] = []
    for key, read in _READERS.items():
        try:
            values[key] = read(asset_key, metadata)
        except RunError as fault:
            faults.append(fault)
    return values, faults


def _value(metadata: Mapping[str, Any], key: str) -> Any:
    """What is inside, where Dagster wrapped it in a metadata value."""
    value = metadata.get(key)
    return getattr(value, "value", value)


def _choice(
    asset_key: dg.AssetKey, metadata: Mapping[str, Any], key: str, allowed: tuple[str, ...]
) -> str | None:
    value = _value(metadata, key)
    if value is not None and value not in allowed:
        raise _refused(asset_key, key, value, list(allowed), f"set {key} to one of these")
    return None if value is None else str(value)


def _share(asset_key: dg.AssetKey, metadata: Mapping[str, Any]) -> float | None:
    value = _value(metadata, c.KEY_MAX_DELETED_SHARE)
    if value is not None and not is_share(value):
        remedy = "set it to the largest share of the samples that one run may delete"
        raise _refused(asset_key, c.KEY_MAX_DELETED_SHARE, value, SHARE_RULE, remedy)
    return None if value is None else float(value)


def _preview(asset_key: dg.AssetKey, metadata: Mapping[str, Any]) -> bool | None:
    value = _value(metadata, c.KEY_PREVIEW)
    if value is not None and not isinstance(value, bool):
        remedy = "say whether events of the asset may show rows of it"
        raise _refused(asset_key, c.KEY_PREVIEW, value, [True, False], remedy)
    return value


def _inputs(asset_key: dg.AssetKey, metadata: Mapping[str, Any]) -> InputKeys | None:
    value = _value(metadata, c.KEY_CONFIG_VERSION)
    if value is None or value is False:
        return None
    found = InputKeys.of(value)
    if found is None:
        allowed = 'true, a list of keys, or {"config": true or a list, "resources": a list}'
        remedy = "name the keys of the run configuration that change what is computed"
        raise _refused(asset_key, c.KEY_CONFIG_VERSION, value, allowed, remedy)
    return found


def _partition_by(asset_key: dg.AssetKey, metadata: Mapping[str, Any]) -> dict[str, str]:
    value = _value(metadata, c.KEY_PARTITION_BY)
    if value is None:
        return {}
    columns = value if isinstance(value, Mapping) else {"": value}
    if not columns or not all(isinstance(one, str) and one for one in columns.values()):
        allowed = "a column, or a mapping of dimensions to columns"
        remedy = "name the column that holds the partition key"
        raise _refused(asset_key, c.KEY_PARTITION_BY, value, allowed, remedy)
    return dict(columns)


def _contribution(
    asset_key: dg.AssetKey, metadata: Mapping[str, Any]
) -> dict[str, tuple[Value, ...]]:
    value = _value(metadata, c.KEY_PARTITION)
    if value is None:
        return {}
    allowed = "a mapping of columns to a value, or to a list of values"
    remedy = f'write for instance {{"{c.KEY_PARTITION}": {{"source": "camera"}}}}'
    if not isinstance(value, Mapping):
        raise _refused(asset_key, c.KEY_PARTITION, value, allowed, remedy)
    found: dict[str, tuple[Value, ...]] = {}
    for column, given in value.items():
        values = tuple(given) if isinstance(given, list | tuple | set | frozenset) else (given,)
        known = isinstance(column, str) and column and values
        if not known or not all(isinstance(one, str | int | float) for one in values):
            raise _refused(asset_key, c.KEY_PARTITION, value, allowed, remedy)
        found[column] = values
    return found


def _refused(
    asset_key: dg.AssetKey, key: str, value: object, allowed: object, remedy: str
) -> RunError:
    return RunError(
        f'metadata "{key}" has a value that is not allowed',
        asset=asset_key.to_user_string(),
        found=repr(value),
        allowed=allowed,
        remedy=f"{remedy}, or leave it out",
    )


_Reader: TypeAlias = Callable[[dg.AssetKey, Mapping[str, Any]], Any]
_READERS: Mapping[str, _Reader] = {
    c.KEY_INPUT: partial(_choice, key=c.KEY_INPUT, allowed=c.INPUT_MODES),
    c.KEY_UNRETURNED: partial(_choice, key=c.KEY_UNRETURNED, allowed=c.UNRETURNED_MODES),
    c.KEY_WRITE: partial(_choice, key=c.KEY_WRITE, allowed=c.WRITE_MODES),
    c.KEY_FAILED_ROWS: partial(_choice, key=c.KEY_FAILED_ROWS, allowed=c.FAILED_MODES),
    c.KEY_MAX_DELETED_SHARE: _share,
    c.KEY_PREVIEW: _preview,
    c.KEY_CONFIG_VERSION: _inputs,
    c.KEY_PARTITION_BY: _partition_by,
    c.KEY_PARTITION: _contribution,
}
