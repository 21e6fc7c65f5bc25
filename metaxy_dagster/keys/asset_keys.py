"""All that an asset's metadata may say of its feature, as one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.fields import FieldInfo

from metaxy_dagster import constants as c
from metaxy_dagster.features.frozen import FrozenMapping
from metaxy_dagster.features.keys import FeatureKey
from metaxy_dagster.features.shares import SHARE_RULE
from metaxy_dagster.keys import readers
from metaxy_dagster.keys.check_names import CHECK_NAMES, CheckName, check_names
from metaxy_dagster.keys.input_keys import InputKeys
from metaxy_dagster.keys.words import Words

__all__ = ["FIELDS_BY_KEY", "AssetKeys", "Value", "words_of"]

#: What one column may hold for a contribution.
Value: TypeAlias = str | int | float

_TEXTS: Final = {"type": "array", "items": {"type": "string"}}
_CHECKS: Final = {
    "anyOf": [
        {"enum": [c.CHECKS_ALL, c.CHECKS_NONE]},
        {"type": "array", "minItems": 1, "items": {"enum": [*CHECK_NAMES]}},
    ]
}
_NAMED: Final = {"type": "object", "additionalProperties": True}
_ONE_OR_MORE: Final = [{"type": ["string", "number"]}, {"type": "array", "minItems": 1}]


def _key(name: str, meaning: str, examples: list[Any], default: Any = None, *, words: Words) -> Any:
    said: dict[str, Any] = {"alias": name, "description": meaning, "examples": examples}
    said["default_factory" if callable(default) else "default"] = default
    return Field(**said, json_schema_extra={"words": asdict(words)})


class AssetKeys(BaseModel):
    """The metadata keys of one asset, read once.

    A field's alias is the name of its key, and ``model_fields_set`` tells which were given. What
    declares a feature (``id_columns``, ``fields``, ``deps``) is kept as it was written: a spec is
    made of it once it is known which of the asset's deps are features.

    Example:
        >>> keys = AssetKeys.model_validate(
        ...     {"metaxy/feature": "a/b", "metaxy/partition": {"source": "web"}}
        ... )
        >>> keys.input, keys.partition["source"]
        ('all', ('web',))
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    feature: Annotated[FeatureKey | None, BeforeValidator(FeatureKey)] = _key(
        c.KEY_FEATURE,
        "the feature that the asset carries; the only key that is required",
        ["audio/loudness"],
        words=Words(
            '`"audio/loudness"`', 'a feature key such as "audio/clusters"', "name a feature"
        ),
    )
    id_columns: Annotated[
        Any,
        WithJsonSchema(_TEXTS),
    ] = _key(
        c.KEY_ID_COLUMNS,
        "what identifies a sample",
        [["video_id"]],
        words=Words(
            "list of columns", "a list of columns", "name the columns that identify a sample"
        ),
    )
    fields: Annotated[
        Any,
        WithJsonSchema({"anyOf": [{"type": "array"}, _NAMED]}),
    ] = _key(
        c.KEY_FIELDS,
        "the parts of a sample that are versioned separately; one field, `default`, if there is "
        "no such key",
        [["audio", "frames"], {"audio": "2", "frames": {"code_version": "1"}}],
        words=Words(
            "list of names, or name → `code_version`, `deps`, `columns`",
            "a list of names, or a mapping of names to the arguments of a FieldSpec",
            "name the fields",
        ),
    )
    deps: Annotated[
        Any,
        WithJsonSchema({"type": "array", "items": {"anyOf": [{"type": "string"}, _NAMED]}}),
    ] = _key(
        c.KEY_DEPS,
        "the features it is computed from; by default those of the asset's own deps that are "
        "features",
        [["video/raw"], [{"feature": "video/raw", "optional": True}]],
        words=Words(
            "list of feature keys, or of `feature`, `select`, `rename`, `filters`, "
            "`fields_mapping`, `lineage`, `optional`",
            "a list of feature keys, or of the arguments of a FeatureDep",
            "name the features that it is computed from",
        ),
    )
    input: Literal["all", "increment"] = _key(
        c.KEY_INPUT,
        "whether the function gets all rows of its upstream, or those of its new and stale samples",
        ["increment"],
        c.INPUT_ALL,
        words=Words.choice(c.KEY_INPUT, c.INPUT_MODES, default=c.INPUT_ALL),
    )
    output: Literal["returned", "self"] = _key(
        c.KEY_OUTPUT,
        "whether its function returns the feature's rows, or makes its data itself: then the "
        "samples that were pending when it began are recorded as done when it has ended; `self` "
        "where a function that takes increments is seen to return nothing "
        "([more](docs/self-writing.md))",
        ["self"],
        c.OUTPUT_RETURNED,
        words=Words.choice(c.KEY_OUTPUT, c.OUTPUT_MODES, default=c.OUTPUT_RETURNED),
    )
    batch_size: Annotated[
        int | None,
        BeforeValidator(readers.size),
        WithJsonSchema({"type": "integer", "minimum": 1}),
    ] = _key(
        c.KEY_BATCH_SIZE,
        'with `"increment"`: the function is called once for every so many pending samples, and '
        "each batch is written before the next begins",
        [1000],
        words=Words(
            "a whole number, at least 1",
            "a whole number, at least 1",
            f'set metadata "{c.KEY_BATCH_SIZE}": 1000 on the asset',
        ),
    )
    unreturned: Literal["pending", "empty"] = _key(
        c.KEY_UNRETURNED,
        'with `"increment"`: whether pending samples that the function does not return are still '
        "to be computed, or were computed and yielded nothing",
        ["empty"],
        c.UNRETURNED_PENDING,
        words=Words.choice(c.KEY_UNRETURNED, c.UNRETURNED_MODES, default=c.UNRETURNED_PENDING),
    )
    on_error: Literal["raise", "quarantine", "quarantine_then_raise"] = _key(
        c.KEY_ON_ERROR,
        'with `"increment"`: what becomes of an error of the function: the step fails, or the '
        "samples at fault are found and set aside and the others written; then the step warns, or "
        "fails ([more](docs/long-work.md#samples-that-fail))",
        ["quarantine"],
        c.ON_ERROR_RAISE,
        words=Words.choice(c.KEY_ON_ERROR, c.ON_ERROR_MODES, default=c.ON_ERROR_RAISE),
    )
    max_failed_samples: Annotated[
        int | None,
        BeforeValidator(readers.size),
        WithJsonSchema({"type": "integer", "minimum": 1}),
    ] = _key(
        c.KEY_MAX_FAILED_SAMPLES,
        f'with `"{c.KEY_ON_ERROR}": "{c.ON_ERROR_QUARANTINE}"`: if more samples than these fail '
        "in one run, it is taken for a fault of the code: the step fails and none is set aside; by "
        "default what the setting `max_failed_samples` says",
        [100],
        words=Words(
            "a whole number, at least 1",
            "a whole number, at least 1",
            f'set metadata "{c.KEY_MAX_FAILED_SAMPLES}": 100 on the asset',
        ),
    )
    write: Literal["upsert", "replace"] | None = _key(
        c.KEY_WRITE,
        "whether what it returns is a part of the feature or the whole of it",
        ["replace"],
        words=Words.choice(c.KEY_WRITE, c.WRITE_MODES),
    )
    failed_rows: Literal["keep", "delete", "raise"] | None = _key(
        c.KEY_FAILED_ROWS,
        "what becomes of rows that an earlier run made of samples that fail: they stay, they go, "
        "or the step fails once the others are written "
        "([more](docs/long-work.md#samples-that-fail))",
        ["delete"],
        words=Words.choice(c.KEY_FAILED_ROWS, c.FAILED_MODES, default=c.FAILED_KEEP),
    )
    max_deleted_share: Annotated[
        float | None,
        BeforeValidator(readers.share),
        WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1}),
    ] = _key(
        c.KEY_MAX_DELETED_SHARE,
        "the share of the stored samples that one run may delete when it replaces them; a run tag "
        "of the same name says it for one run",
        [0.5],
        words=Words(
            "a number between 0 and 1",
            SHARE_RULE,
            "set it to the largest share of the samples that one run may delete",
        ),
    )
    stored_columns: Annotated[
        str | tuple[str, ...] | None,
        BeforeValidator(readers.stored_columns),
        WithJsonSchema({"anyOf": [{"enum": [c.STORED_ALL]}, _TEXTS]}),
    ] = _key(
        c.KEY_STORED_COLUMNS,
        "of an asset that an IO manager of your own stores: the columns of which the metadata "
        "store keeps a copy, besides ids and what lineage, partitions and filters need "
        "([more](docs/data-stays.md))",
        [["score"], "all"],
        words=Words(
            'list of columns, or `"all"`',
            'a list of columns, or "all"',
            "name the columns that are to be found in the metadata store, too",
        ),
    )
    config_version: Annotated[
        InputKeys | None,
        BeforeValidator(readers.inputs),
        WithJsonSchema({"anyOf": [{"type": "boolean"}, _TEXTS, _NAMED]}),
    ] = _key(
        c.KEY_CONFIG_VERSION,
        "what of the run's configuration, and which resources' versions, count as inputs: samples "
        "computed with others are stale ([more](#runs-that-are-configured))",
        [["model", "filter.threshold"]],
        words=Words(
            '`true`, a list of keys such as `["model", "filter.threshold"]`, or '
            '`{"config": …, "resources": ["client"]}`',
            'true, a list of keys, or {"config": true or a list, "resources": a list}',
            "name the keys of the run configuration that change what is computed",
        ),
    )
    partition: Annotated[
        Mapping[str, tuple[Value, ...]],
        BeforeValidator(readers.values),
        WithJsonSchema({"type": "object", "additionalProperties": {"anyOf": _ONE_OR_MORE}}),
    ] = _key(
        c.KEY_PARTITION,
        "the part of the feature that this asset writes, where several assets write one feature",
        [{"source": "camera"}],
        FrozenMapping,
        words=Words(
            "column → value or list of values",
            "a mapping of columns to a value, or to a list of values",
            f'write for instance {{"{c.KEY_PARTITION}": {{"source": "camera"}}}}',
        ),
    )
    checks: Annotated[
        tuple[CheckName, ...] | None,
        BeforeValidator(check_names),
        WithJsonSchema(_CHECKS),
    ] = _key(
        c.KEY_CHECKS,
        "the asset checks that the pass attaches to this asset; by default those of the setting "
        "`checks`",
        ["all", ["pending", "schema"]],
        words=Words(
            f'`"all"`, `"none"`, or a list of {", ".join(f"`{name}`" for name in CHECK_NAMES)}',
            ", ".join(CHECK_NAMES),
            "name one or more of these in a list",
        ),
    )
    preview: Annotated[
        bool | None,
        BeforeValidator(readers.truth),
    ] = _key(
        c.KEY_PREVIEW,
        "whether events of this asset show some of its rows, and the samples that failed; by "
        "default what `enable_preview` says",
        [False],
        words=Words(
            "`true` or `false`",
            "[True, False]",
            "say whether events of the asset may show rows of it",
        ),
    )
    partition_by: Annotated[
        Mapping[str, str],
        BeforeValidator(readers.columns_by_dimension),
        WithJsonSchema({"anyOf": [{"type": "string"}, {**_NAMED, "minProperties": 1}]}),
    ] = _key(
        c.KEY_PARTITION_BY,
        "the column that holds the Dagster partition key; a partitioned asset needs it",
        ["day"],
        FrozenMapping,
        words=Words(
            "a column, or dimension → column",
            "a column, or a mapping of dimensions to columns",
            "name the column that holds the partition key",
        ),
    )

    def gives(self, *names: str) -> bool:
        """Whether the metadata has one of these keys, whatever it says.

        Args:
            names: fields of this model.
        """
        return not self.model_fields_set.isdisjoint(names)

    @property
    def takes_increment(self) -> bool:
        """Whether the asset takes only its pending samples."""
        return self.input == c.INPUT_INCREMENT

    @property
    def writes_itself(self) -> bool:
        """Whether its function makes what it computes itself, and returns none of it."""
        return self.output == c.OUTPUT_SELF

    @property
    def isolates(self) -> bool:
        """Whether samples on which its function fails are looked for."""
        return self.takes_increment and self.on_error != c.ON_ERROR_RAISE

    @property
    def samples_per_batch(self) -> int | None:
        """How many pending samples its function is called with; ``None`` for all at once."""
        return self.batch_size if self.takes_increment else None


#: The fields of the model by the metadata keys that they are read from, in the order of tables.
FIELDS_BY_KEY: Final[Mapping[str, FieldInfo]] = {
    str(field.alias): field for field in AssetKeys.model_fields.values()
}


def words_of(key: str) -> Words:
    """The words for the values of a key."""
    extra: Any = FIELDS_BY_KEY[key].json_schema_extra
    return Words(**extra["words"])
