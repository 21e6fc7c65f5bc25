"""Every metadata key, tag, resource name and system column name, in one place."""

from __future__ import annotations

from typing import Final

# Metadata keys read from assets (and from specs).
KEY_FEATURE: Final = "metaxy/feature"
KEY_ID_COLUMNS: Final = "metaxy/id_columns"
KEY_FIELDS: Final = "metaxy/fields"
KEY_DEPS: Final = "metaxy/deps"
KEY_PARTITION: Final = "metaxy/partition"
KEY_INPUT: Final = "metaxy/input"
KEY_OUTPUT: Final = "metaxy/output"
KEY_WRITE: Final = "metaxy/write"
KEY_BATCH_SIZE: Final = "metaxy/batch_size"
KEY_UNRETURNED: Final = "metaxy/unreturned"
KEY_ON_ERROR: Final = "metaxy/on_error"
KEY_MAX_FAILED_SAMPLES: Final = "metaxy/max_failed_samples"
KEY_CHECKS: Final = "metaxy/checks"
KEY_FAILED_ROWS: Final = "metaxy/failed_rows"
KEY_MAX_DELETED_SHARE: Final = "metaxy/max_deleted_share"
KEY_STORED_COLUMNS: Final = "metaxy/stored_columns"
KEY_CONFIG_VERSION: Final = "metaxy/config_version"
# Whether events show rows; in the events, the rows.
KEY_PREVIEW: Final = "metaxy/preview"
KEY_PARTITION_BY: Final = "partition_by"
INLINE_KEYS: Final = (KEY_ID_COLUMNS, KEY_FIELDS, KEY_DEPS)
# Metadata keys written to assets and events.
KEY_INFO: Final = "metaxy/info"
KEY_STORE: Final = "metaxy/store"
KEY_CHANGES: Final = "metaxy/changes"
KEY_MATERIALIZED_IN_RUN: Final = "metaxy/materialized_in_run"
KEY_RUN_TOTALS: Final = "metaxy/run_totals"
KEY_NEW: Final = "metaxy/new"
KEY_STALE: Final = "metaxy/stale"
KEY_ORPHANED: Final = "metaxy/orphaned"
KEY_WRITTEN: Final = "metaxy/written"
KEY_UNCHANGED: Final = "metaxy/unchanged"
KEY_DELETED: Final = "metaxy/deleted"
KEY_COMMIT: Final = "metaxy/commit"
# In the event log of a run: the commit that all steps of a graph asset see.
KEY_AS_OF: Final = "metaxy/as_of"
KEY_EMPTY: Final = "metaxy/empty"
KEY_FAILED: Final = "metaxy/failed"
KEY_QUARANTINED: Final = "metaxy/quarantined"
KEY_OUTDATED: Final = "metaxy/outdated"
KEY_FAILURES: Final = "metaxy/failures"
KEY_DONE: Final = "metaxy/done"
KEY_LEFT: Final = "metaxy/left"
KEY_RATE: Final = "metaxy/samples_per_second"
KEY_EXPECTED_END: Final = "metaxy/expected_end"

# Metadata keys by which checks and sensors that this library made are known again.
KEY_CHECK: Final = "metaxy/check"
KEY_SENSOR: Final = "metaxy/sensor"

# A feature's own metadata may carry Dagster attributes under this key.
KEY_DAGSTER_ATTRIBUTES: Final = "dagster/attributes"

# Dagster's standard keys that are reused.
KEY_ROW_COUNT: Final = "dagster/row_count"
KEY_PARTITION_ROW_COUNT: Final = "dagster/partition_row_count"
KEY_COLUMN_SCHEMA: Final = "dagster/column_schema"
KEY_COLUMN_LINEAGE: Final = "dagster/column_lineage"
KEY_TABLE_NAME: Final = "dagster/table_name"
KEY_URI: Final = "dagster/uri"

TAG_FEATURE: Final = "metaxy/feature"
TAG_PROJECT: Final = "metaxy/project"
TAG_FEATURE_VERSION: Final = "metaxy/feature_version"
TAG_CODE_VERSION: Final = "metaxy/code_version"
# A tag of a run that says, for this run alone, what the metadata key of that name says.
TAG_MAX_DELETED_SHARE: Final = KEY_MAX_DELETED_SHARE
KIND: Final = "metaxy"

RESOURCE_STORE: Final = "store"
RESOURCE_IO_MANAGER: Final = "metaxy_io_manager"

INPUT_ALL: Final = "all"
INPUT_INCREMENT: Final = "increment"
INPUT_MODES: Final = (INPUT_ALL, INPUT_INCREMENT)
OUTPUT_RETURNED: Final = "returned"
OUTPUT_SELF: Final = "self"
OUTPUT_MODES: Final = (OUTPUT_RETURNED, OUTPUT_SELF)
WRITE_UPSERT: Final = "upsert"
WRITE_REPLACE: Final = "replace"
WRITE_MODES: Final = (WRITE_UPSERT, WRITE_REPLACE)
ON_ERROR_RAISE: Final = "raise"
ON_ERROR_QUARANTINE: Final = "quarantine"
ON_ERROR_RAISE_THEN: Final = "quarantine_then_raise"
ON_ERROR_MODES: Final = (ON_ERROR_RAISE, ON_ERROR_QUARANTINE, ON_ERROR_RAISE_THEN)
# How many samples may be at fault before the code is taken to be.
MAX_FAILED_SAMPLES: Final = 20
UNRETURNED_PENDING: Final = "pending"
UNRETURNED_EMPTY: Final = "empty"
UNRETURNED_MODES: Final = (UNRETURNED_PENDING, UNRETURNED_EMPTY)
FAILED_KEEP: Final = "keep"
FAILED_DELETE: Final = "delete"
FAILED_RAISE: Final = "raise"
FAILED_MODES: Final = (FAILED_KEEP, FAILED_DELETE, FAILED_RAISE)
# All pending samples that a written frame lacks.
EMPTY_REST: Final = "rest"
# All columns of a feature whose data is stored elsewhere.
STORED_ALL: Final = "all"
CHECKS_ALL: Final = "all"
CHECKS_NONE: Final = "none"

# System columns of a feature's table.
PREFIX: Final = "metaxy_"
COL_PROVENANCE_BY_FIELD: Final = "metaxy_provenance_by_field"
COL_PROVENANCE: Final = "metaxy_provenance"
COL_DATA_VERSION_BY_FIELD: Final = "metaxy_data_version_by_field"
COL_DATA_VERSION: Final = "metaxy_data_version"
COL_FEATURE_VERSION: Final = "metaxy_feature_version"
COL_CREATED_AT: Final = "metaxy_created_at"
COL_UPDATED_AT: Final = "metaxy_updated_at"
COL_DELETED_AT: Final = "metaxy_deleted_at"
COL_MATERIALIZATION_ID: Final = "metaxy_materialization_id"
SYSTEM_COLUMNS: Final = (
    COL_PROVENANCE_BY_FIELD,
    COL_PROVENANCE,
    COL_DATA_VERSION_BY_FIELD,
    COL_DATA_VERSION,
    COL_FEATURE_VERSION,
    COL_CREATED_AT,
    COL_UPDATED_AT,
    COL_DELETED_AT,
    COL_MATERIALIZATION_ID,
)

# Columns of the samples that could not be computed.
COL_ERROR_TYPE: Final = "metaxy_error_type"
COL_ERROR: Final = "metaxy_error"
COL_ATTEMPTS: Final = "metaxy_attempts"
COL_QUARANTINED: Final = "metaxy_quarantined"
COL_FAILED_AT: Final = "metaxy_failed_at"

# Columns that stores keep for themselves; a frame that carries one along is not refused for it.
COL_COMMIT: Final = "metaxy_commit"
COL_ENDED: Final = "metaxy_ended"
COL_STATUS: Final = "metaxy_status"
INTERNAL_COLUMNS: Final = (COL_COMMIT, COL_ENDED, COL_STATUS)
