"""Commands that change stored studies: delete and rename."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Annotated

from typer import Abort, Argument, Option, confirm

from explorer.commands.console import Screen
from explorer.commands.settings import Json, Quiet, Reports, Storage, StudyName
from explorer.errors import ExplorerError


def delete(
    name: StudyName,
    runs: Annotated[bool, Option("--runs", help="Delete its runs too, except runs shared with other studies.")] = False,
    yes: Annotated[bool, Option("--yes", "-y", help="Do not ask.")] = False,
    storage: Storage = "explorer.db",
    reports: Reports = Path("reports"),
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Delete a stored study, but keep its runs and its report.

    Later sweeps reuse the runs, so the study can be restored quickly unless its runs are deleted too.
    """
    from explorer import delete_study, stored_studies
    from explorer.networks.quantities import counted

    screen = Screen(quiet, as_json)
    if not yes and name in set(stored_studies(storage)["name"]):
        if not sys.stdin.isatty():
            raise ExplorerError(f"delete {name}: cannot ask for confirmation without a terminal; add --yes")
        if not _agreed(f"delete the study {name}{' and its runs' if runs else ''} from {storage}?"):
            screen.answer("nothing was deleted")
            return 1
    done, folder = delete_study(name, runs=runs, storage=storage), reports.expanduser() / name
    deleted = f" and {counted(done.deleted_runs, 'run')}" if runs else ""
    screen.answer(f"deleted the study {name}{deleted}")
    if done.kept_runs:
        shared = f", {done.shared_runs:,} of them in other studies" if done.shared_runs else ""
        screen.say(f"kept {counted(done.kept_runs, 'run')}{shared}")
    if folder.is_dir():
        screen.say(f"kept its report: {folder}")
    screen.document(None, **asdict(done), report=str(folder) if folder.is_dir() else None)
    return 0


def rename(
    name: StudyName,
    new: Annotated[str, Argument(help="The new name.")],
    storage: Storage = "explorer.db",
    reports: Reports = Path("reports"),
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Rename a stored study."""
    from explorer import rename_study

    rename_study(name, new, storage=storage)
    screen, folder, command = Screen(quiet, as_json), reports.expanduser() / name, f"explorer report {quote(new)}"
    screen.answer(f"renamed the study {name} to {new}")
    if folder.is_dir():
        screen.say(f"kept its report under the old name: {folder}")
    screen.say(f"to write its report under the new name: {command}")
    screen.document(None, study=new, report=str(folder) if folder.is_dir() else None, command=command)
    return 0


def _agreed(question: str) -> bool:
    try:
        return confirm(question)
    except Abort:  # Ctrl-C, or the end of the input
        return False
