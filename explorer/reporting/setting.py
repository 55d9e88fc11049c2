"""The setting of a study in one line: the data, the budget, the seeds and the accuracy of guessing."""

from __future__ import annotations

from pathlib import PurePath

from explorer.analysis import Findings
from explorer.networks.quantities import counted
from explorer.reporting.words import SPACE, percent


def setting(findings: Findings) -> list[str]:
    """Return the parts of the line below a report's title."""
    record, study = findings.record, findings.record.study
    budget = study.budget
    return [
        f"study {study.name}",
        f"{counted(len(record.points), 'point')} on {data_name(study.data)}",
        study.form.budget_note
        or f"{budget.images:,} images \N{MULTIPLICATION SIGN}{SPACE}{counted(budget.epochs, 'epoch')}",
        _seeds(findings),
        f"guessing: {percent(record.guess)}",
        *([f"measured {day}"] if (day := last_day(findings)) else []),
    ]


def _seeds(findings: Findings) -> str:
    """Return the number of seeds of each point; where it depends on results, those that points have so far."""
    study, found = findings.record.study, findings.accuracies.seeds
    if not study.adds_seeds or not len(found):
        return counted(study.seeds, "seed")
    least, most = int(found.min()), int(found.max())
    return counted(least, "seed") if least == most else f"{least} to {most} seeds"


def data_name(data: str) -> str:
    """Return the name of the data; for a folder, the last part of its path."""
    return PurePath(data).name or data


def last_day(findings: Findings) -> str:
    """Return the date of the last run; empty if no runs have finished."""
    return "" if findings.effort is None else f"{findings.effort.last:%Y-%m-%d}"
