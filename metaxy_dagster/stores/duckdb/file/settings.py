"""DuckDB settings that a store may be given: those that change what it costs, not what it says.

A list of what is allowed, since each release of DuckDB has new ones that change results.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from typing import Final

from metaxy_dagster.errors import StoreError

__all__ = ["ALLOWED", "check_settings"]

_MEMORY: Final = (
    *("memory_limit", "max_memory", "operator_memory_limit", "block_allocator_memory"),
    *("streaming_buffer_size", "max_streaming_buffer_size", "temp_directory"),
    *("max_temp_directory_size", "temp_file_encryption", "allocator_background_threads"),
    *("allocator_bulk_deallocation_flush_threshold", "allocator_flush_threshold"),
    *("write_buffer_row_group_count", "write_buffer_row_group_memory_limit"),
)
_THREADS: Final = (
    *("threads", "worker_threads", "external_threads", "async_threads", "pin_threads"),
    *("scheduler_process_partial", "max_execution_time"),
)
_FILE: Final = (
    *("checkpoint_threshold", "wal_autocheckpoint", "wal_autocheckpoint_entries"),
    *("auto_checkpoint_skip_wal_threshold", "max_vacuum_tasks", "default_block_size"),
    *("storage_compatibility_version", "force_compression", "disabled_compression_methods"),
    "zstd_min_string_length",
)
_PLANS: Final = (
    *("perfect_ht_threshold", "merge_join_threshold", "nested_loop_join_threshold"),
    *("index_scan_max_count", "index_scan_percentage", "late_materialization_max_rows"),
    *("ordered_aggregate_threshold", "dynamic_or_filter_threshold", "prefer_range_joins"),
)
_NOTES: Final = (
    *("enable_logging", "enabled_log_types", "disabled_log_types", "logging_level", "logging_mode"),
    *("logging_storage", "log_query_path", "enable_profiling", "profiling_output"),
    *("profile_output", "profiling_mode", "profiling_coverage", "enable_progress_bar"),
    *("enable_progress_bar_print", "progress_bar_time", "custom_user_agent"),
)
_SURROUNDINGS: Final = (
    *("enable_external_access", "allowed_directories", "allowed_paths", "home_directory"),
    *("secret_directory", "allow_persistent_secrets", "default_secret_storage"),
    *("extension_directory", "extension_directories", "custom_extension_repository"),
    *("autoinstall_extension_repository", "autoinstall_known_extensions"),
    *("autoload_known_extensions", "allow_community_extensions", "allow_unsigned_extensions"),
    *("http_proxy", "http_proxy_username", "http_proxy_password", "username", "user", "password"),
)
# Where DuckDB's extensions find data of other places, and with which keys.
_CLOUDS: Final = ("s3_", "aws_", "azure_", "gcs_", "r2_", "hf_", "http_")
ALLOWED: Final = frozenset((*_MEMORY, *_THREADS, *_FILE, *_PLANS, *_NOTES, *_SURROUNDINGS))


def check_settings(settings: object) -> None:
    """Refuse what is no mapping of settings, or would change results.

    Values are not repeated: one of them may be a secret.

    Raises:
        StoreError: naming the settings.
    """
    if not isinstance(settings, Mapping):
        raise StoreError(
            "settings are not a mapping",
            found=type(settings).__qualname__,
            allowed='DuckDB settings, such as {"memory_limit": "2GB", "threads": 2}',
            remedy="correct the settings of the store",
        )
    refused = [name for name in settings if not _is_allowed(name)]
    if refused:
        raise StoreError(
            "settings that may change what is stored or read cannot be given to a store",
            found=", ".join(
                repr(name)[:60] if isinstance(name, str) else reprlib.repr(name) for name in refused
            ),
            allowed=", ".join(sorted(ALLOWED)),
            remedy="leave them out; set them on a connection of your own for your own queries",
        )
    wrong = [name for name, value in settings.items() if not _is_value(value)]
    if wrong:
        raise StoreError(
            "a setting of DuckDB is text, a number, true or false",
            found=", ".join(f"{name}: {type(settings[name]).__qualname__}" for name in wrong),
            remedy="correct the settings of the store",
        )


def _is_allowed(name: object) -> bool:
    return isinstance(name, str) and (name.lower() in ALLOWED or name.lower().startswith(_CLOUDS))


def _is_value(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return value.isprintable()
    return isinstance(value, bool | int)
