"""Printing: lines, tables and cells."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer
    from rich.console import Console

ACCURACY_HEADINGS = ("accuracy", "95 % interval")


def console() -> Console:
    """Return the console that commands print to."""
    from rich.console import Console

    # Without a terminal, rich would fold tables to 80 columns. Brackets in names and messages are not markup.
    return Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 200)


def say(text: str, style: str | None = None) -> None:
    """Print a line without folding it."""
    console().print(text, style=style, soft_wrap=True)


def command_line(context: typer.Context) -> str:
    """Return the command as the user typed it, for reports."""
    return f"python -m explorer {shlex.join(context.obj)}"


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[object]], right: int = 0, *, total: bool = False
) -> None:
    """Print rows below a header, the last `right` columns aligned to the right, the last row as a total on request."""
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, show_footer=total)
    for place, name in enumerate(header):
        footer = Text(str(rows[-1][place]) if total else "")
        table.add_column(name, justify="right" if place >= len(header) - right else "left", footer=footer)
    for row in rows[:-1] if total else rows:
        table.add_row(*(Text(str(value)) for value in row))
    console().print(table)


def cost_headings() -> list[str]:
    """Return the headings of the costs in short tables."""
    from explorer.networks.quantities import main_costs

    return [quantity.heading for quantity in main_costs()]


def cost_cells(row: Mapping[Any, Any]) -> list[str]:
    """Format the costs of a point for these columns."""
    import pandas as pd

    from explorer.networks.quantities import main_costs

    return ["-" if pd.isna(row[one.key]) else one.text(row[one.key]) for one in main_costs()]


def accuracy_cells(row: Mapping[Any, Any]) -> list[str]:
    """Format the accuracy of a point and its interval; dashes if unknown."""
    ends = "-" if math.isnan(row["low"]) else f"{row['low']:.1%} to {row['high']:.1%}"
    return ["-" if math.isnan(row["accuracy"]) else f"{row['accuracy']:.1%}", ends]


def cell(value: Any) -> str:  # noqa: ANN401 (a cell of a frame)
    """Format a value: whole numbers with thousands separators, a dash if missing, anything else as `label` does."""
    import numbers

    import numpy as np
    import pandas as pd

    from explorer.spaces.space import label

    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return label(bool(value))
    if pd.isna(value):
        return "-"
    return f"{value:,}" if isinstance(value, numbers.Integral) else label(float(value))
