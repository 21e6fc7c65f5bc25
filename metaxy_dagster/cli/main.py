"""The command ``metaxy-dagster``: reads its arguments and answers with an exit code."""

from __future__ import annotations

import argparse
import importlib
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from metaxy_dagster import __version__
from metaxy_dagster.cli.console import complain
from metaxy_dagster.cli.exits import EXPLANATION, FAULTS, UNUSABLE
from metaxy_dagster.errors import ConfigError, MetaxyError
from metaxy_dagster.late import late_modules

if TYPE_CHECKING:
    from metaxy_dagster.cli import adopt, compact, failures, load, migrate_ids, plan, status
    from metaxy_dagster.cli.retrofit import walk
else:
    # `--help` answers at once, without loading Dagster.
    adopt, compact, failures, load, migrate_ids, plan, status = late_modules(
        __package__, "adopt", "compact", "failures", "load", "migrate_ids", "plan", "status"
    )
    (walk,) = late_modules(f"{__package__}.retrofit", "walk")

__all__ = ["main"]

FORMS: Final = ("text", "markdown", "json")
_LOADER: Final = Path(__file__).with_name("load.py")
_IMPORTER: Final = Path(importlib.__file__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows the command's name; by default that of this process.

    Returns:
        The exit code; wrong arguments end the process with it (2), as argparse does.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "repo.py"
        >>> _ = path.write_text("import dagster as dg; defs = dg.Definitions([dg.AssetSpec('a')])")
        >>> main(["plan", "-f", str(path)])
        metaxify: 0 assets change, 1 left alone, 0 warnings, 0 errors; longest chain of deps: 1
        <BLANKLINE>
        left alone
            a
        0
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "plan" and options.exit_code and options.diff is None:
        parser.error("--exit-code says whether plans differ: it needs --diff")
    try:
        return _run(options)
    except ConfigError as error:
        if error.__cause__ is not None:
            complain(_traceback(error.__cause__))
        complain(f"error: {error}")
        return UNUSABLE
    except MetaxyError as error:
        complain(f"error: {error}")
        return FAULTS


def _traceback(error: BaseException) -> str:
    """Where somebody else's code failed, without how we came to call it."""
    frames = error.__traceback__
    while frames is not None and _is_ours(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames))


def _is_ours(file: str) -> bool:
    return file.startswith("<frozen importlib") or Path(file) in (_LOADER, _IMPORTER)


def _run(options: argparse.Namespace) -> int:
    if options.command == "compact":
        return compact.compact_store(options)
    target = load.Target(options.module_name, options.python_file, options.attribute)
    named = (target, tuple(getattr(options, "features", ())), getattr(options, "store", None))

    def migrate() -> int:
        told = (options.rename, options.fill, options.types, options.drop, options.keep)
        asked = migrate_ids.IdRequest(target, options.feature, options.store, *told)
        return migrate_ids.migrate_feature(
            replace(asked, dry_run=options.dry_run, form=options.format)
        )

    def wanted() -> failures.FailureRequest:
        return failures.FailureRequest(
            *named, tuple(options.filters), options.limit, options.format
        )

    commands: dict[str, Callable[[], int]] = {
        "status": lambda: status.show_status(target, store=options.store, form=options.format),
        "migrate-ids": migrate,
        "adopt": lambda: adopt.adopt_features(
            adopt.AdoptRequest(
                *named, options.file, options.dry_run, options.written, options.format
            )
        ),
        "retrofit": lambda: walk.retrofit(
            walk.RetrofitRequest(
                target,
                tuple(options.assets),
                options.working_directory,
                options.write,
                options.format,
            )
        ),
        "failures": lambda: failures.show_failures(wanted()),
        "retry": lambda: failures.retry_samples(wanted(), dry_run=options.dry_run),
        "plan": lambda: plan.show_plan(
            plan.PlanRequest(
                *(target, options.format, options.diff, options.exit_code, options.full),
                *(options.asset_keys, options.io_routing, tuple(options.settings)),
            )
        ),
    }
    with load.importable_from(options.working_directory):
        return commands[options.command]()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="metaxy-dagster",
        description="Looks at a Dagster repository and its features. Only `adopt`, "
        "`compact`, `migrate-ids`, `retrofit --write` and `retry` write.",
        epilog=EXPLANATION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"metaxy-dagster {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_plan(commands)
    status = _command(
        commands,
        "status",
        "per feature: stored samples, and how many are new, stale or orphaned",
        ("text", "json"),
    )
    _add_store(status)
    _add_failures(commands)
    _add_compact(commands)
    _add_migrate_ids(commands)
    _add_retrofit(commands)
    _add_adopt(commands)
    return parser


def _add_plan(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _command(
        commands,
        "plan",
        "what metaxify_definitions does to each asset and why, with all warnings and faults",
        FORMS,
    )
    add = command.add_argument
    add("--full", action="store_true", help="show every line, also where many say the same")
    add(
        "--diff",
        type=Path,
        metavar="PLAN.json",
        help="print how the plan differs from this earlier one (its --format json output)",
    )
    add("--exit-code", action="store_true", help="with --diff: exit with 3 if the plans differ")
    add("--asset-keys", choices=("keep", "feature"), help="preview: as if the code said so")
    add(
        "--io-routing",
        choices=("keep", "route", "respect_default", "off"),
        help="preview: as if the code said so",
    )
    add(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="preview: the same for any setting of the pass, such as checks=all",
    )


def _add_store(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--store",
        metavar="NAME|PATH",
        help="a configured store's name or an embedded store's file, instead of the repository's",
    )


def _add_failures(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    failures = _command(
        commands,
        "failures",
        "the samples that failed and were not computed since, with their errors",
        ("text", "json"),
    )
    retry = _command(
        commands,
        "retry",
        "make failed samples pending again, also those that failed too often",
        ("text", "json"),
        does="Forgets failures of samples, so that they are pending again, also those that failed "
        "too often; without --filters, all failures of the features.",
    )
    retry.add_argument(
        "--dry-run", action="store_true", help="only list the samples that would be pending again"
    )
    for command, some in ((failures, "*"), (retry, "+")):
        command.add_argument("features", nargs=some, metavar="FEATURE", help="a feature's key")
        command.add_argument(
            "--filters",
            action="append",
            default=[],
            metavar="CONDITION",
            help="only failures for which it holds, such as \"metaxy_error_type = 'TimeoutError'\""
            ' or "id > 100"; may be given several times, and then all must hold',
        )
        command.add_argument(
            "--limit",
            type=_count,
            default=20,
            metavar="N",
            help="list N samples of each feature at most (default: %(default)s); 0: all",
        )
        _add_store(command)


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("0 or more is needed")
    return number


def _add_compact(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "compact",
        help="remove old history from an embedded store, and make its file smaller",
        description="Removes rows of history that are no longer needed from an embedded store and "
        "gives their space back. What is stored now is never touched. Runs wait meanwhile.",
        epilog=EXPLANATION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = command.add_argument
    add("store", metavar="NAME|PATH", help="a configured store's name, or an embedded store's file")
    add(
        "--older-than-days",
        type=float,
        default=7.0,
        metavar="DAYS",
        help="keep what was valid within so many days (default: %(default)g); 0: only what is "
        "stored now",
    )
    add("--before", type=int, metavar="COMMIT", help="remove only what ended at it or before")
    add(
        "--keep-versions",
        type=int,
        default=0,
        metavar="N",
        help="of each sample, keep N superseded or deleted rows in any case (default: 0)",
    )
    add("--no-rewrite", action="store_true", help="remove rows, but leave the file as large")
    add("--dry-run", action="store_true", help="only tell what would be removed")
    add("--format", choices=("text", "json"), default="text", help="default: %(default)s")


def _add_migrate_ids(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _command(
        commands,
        "migrate-ids",
        "bring a stored feature to the id columns that it is declared with now",
        ("text", "json"),
        does="Samples that have ids of their own by the new columns are kept, with their "
        "provenance and history. Columns that are no ids any more stay as columns.",
    )
    add = command.add_argument
    add("feature", metavar="FEATURE", help="the feature's key")
    for option, metavar, says in (
        ("--rename", "STORED=NEW", "an id column that is named otherwise now"),
        ("--fill", "COLUMN=VALUE", "a constant for an id column that is not stored, or null"),
        ("--type", "COLUMN=TYPE", "a DuckDB type for an id column, such as id=VARCHAR"),
        ("--drop", "COLUMN", "a stored id column that is not needed any more"),
    ):
        name = "types" if option == "--type" else option[2:]
        add(option, dest=name, action="append", default=[], metavar=metavar, help=says)
    add(
        "--keep",
        choices=("newest", "oldest", "none"),
        help="which of several samples stays that share their new ids; with none, they are "
        "computed anew",
    )
    add("--dry-run", action="store_true", help="only tell what would be kept")
    _add_store(command)


def _add_retrofit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _command(
        commands,
        "retrofit",
        "propose metadata keys for the assets of an old repository, as a patch",
        ("text", "json"),
        does="Looks at what assets have materialized, by their own IO managers, and proposes "
        "metadata keys for them: id columns that tell the rows apart, lineage by the columns that "
        "an asset shares with its upstreams, the column of the partition. Shows them as a patch, "
        "and what only you can confirm.",
    )
    command.add_argument(
        "assets", nargs="*", default=[], metavar="ASSET", help="their keys (default: all)"
    )
    command.add_argument(
        "--write", action="store_true", help="change the files, and show the plan that follows"
    )


def _add_adopt(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _command(
        commands,
        "adopt",
        "take what exists already as computed, so that it is not computed again",
        ("text", "json"),
        does="Takes what the assets' own IO managers hold, or a file, as computed from what is "
        "upstream now: upstreams first, those of several assets one after the other. What has no "
        "upstream row is left out; samples without a row stay pending.",
    )
    add = command.add_argument
    chosen = command.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--all", action="store_true", help="all features that assets carry")
    chosen.add_argument("features", nargs="*", default=[], metavar="FEATURE", help="their keys")
    add(
        "--from",
        dest="file",
        type=Path,
        metavar="FILE",
        help="a Parquet or CSV file with the rows of the one feature, instead of what its asset "
        "has materialized",
    )
    add(
        "--written",
        action="store_true",
        help="assets that write their data themselves have written all samples there are upstream",
    )
    add("--dry-run", action="store_true", help="only tell what would be adopted")
    _add_store(command)


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    forms: Sequence[str],
    does: str | None = None,
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=summary,
        description=does or f"Prints {summary}.",
        epilog=EXPLANATION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = command.add_mutually_exclusive_group(required=True)
    where.add_argument("-m", "--module-name", metavar="MODULE", help="the module to load")
    where.add_argument(
        "-f", "--python-file", type=Path, metavar="FILE", help="the Python file to load"
    )
    command.add_argument(
        "-a", "--attribute", metavar="NAME", help="the Definitions in it, if there are several"
    )
    command.add_argument(
        "-d",
        "--working-directory",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="where modules are imported from (default: the current directory)",
    )
    command.add_argument("--format", choices=forms, default=forms[0], help="default: %(default)s")
    return command
