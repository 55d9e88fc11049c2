"""The command that sets studies side by side."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from explorer.commands.console import console
from explorer.commands.studies import Figures, Reports, Storage
from explorer.errors import ExplorerError, unknown


def compare(
    context: typer.Context,
    studies: Annotated[list[str], typer.Argument(help="Names of stored studies, two or more.")],
    against: Annotated[str, typer.Option(help="The cost, such as params or latency_seconds.")] = "macs",
    storage: Storage = "explorer.db",
    reports: Reports = Path("reports"),
    figures: Figures = "svg",
) -> int:
    """Compare stored studies in one report: which of them gets more accuracy for a cost, and how sure that is."""
    from explorer.analysis import Findings
    from explorer.analysis.comparison import Comparison
    from explorer.drawing.formats import check_formats
    from explorer.files import check_folder
    from explorer.networks.quantities import LATENCY, QUANTITIES
    from explorer.reporting.comparison import statements, write_comparison
    from explorer.reporting.index import write_index
    from explorer.storage.ledger import Ledger

    formats = check_formats(figures.split(","))
    costs = [key for key, quantity in QUANTITIES.items() if quantity.front and not quantity.more_is_better]
    if against not in costs:
        raise unknown("cost", against, costs)
    if len(studies) < 2 or len(set(studies)) < len(studies):  # noqa: PLR2004 (one cannot be compared)
        raise ExplorerError(f"compare {' '.join(studies)}: give two or more studies of different names")
    check_folder(reports)
    ledger = Ledger(storage)
    found = [Findings(ledger.studies.load(name), ledger.latencies.of(name)) for name in studies]
    for findings in found:
        name = findings.record.study.name
        if findings.measured.empty:
            raise ExplorerError(f"{name}: no run of it is done, so there is nothing to compare")
        if against not in findings.points or findings.measured[against].isna().any():
            raise ExplorerError(
                f"{name}: {against} is not known of all its points; `explorer latency {name}` measures latency"
            )
    conditions = {findings.latency.conditions for findings in found if findings.latency}
    if against == LATENCY.key and len(conditions) > 1:
        raise ExplorerError(f"--against {against}: latencies were measured unlike: {'; '.join(sorted(conditions))}")
    comparison = Comparison(found, against)
    screen = console()
    for sentence in statements(comparison):
        screen.print(sentence, highlight=False, soft_wrap=True)
    command = f"python -m explorer {shlex.join(context.obj)}"
    page = write_comparison(comparison, reports / "-vs-".join(studies), command, formats)
    write_index(reports)
    screen.print(f"report: {page}", highlight=False, soft_wrap=True)
    return 0
