"""The command that compares studies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from explorer.commands.console import command_line, console
from explorer.commands.studies import Figures, Reports, Storage


def compare(
    context: typer.Context,
    studies: Annotated[list[str], typer.Argument(help="Names of stored studies, two or more.")],
    against: Annotated[str, typer.Option(help="The cost, such as params or latency_seconds.")] = "macs",
    storage: Storage = "explorer.db",
    reports: Reports = Path("reports"),
    figures: Figures = "svg",
) -> int:
    """Compare stored studies in one report: which one is more accurate at the same cost, and how sure is that?"""
    from explorer import compare

    made = compare(
        studies,
        against=against,
        storage=storage,
        reports=reports,
        figures=figures.split(","),
        command=command_line(context),
    )
    screen = console()
    for sentence in made.statements:
        screen.print(sentence, highlight=False, soft_wrap=True)
    screen.print(f"report: {made.page}", highlight=False, soft_wrap=True)
    return 0
