"""Where and how commands print: the console, tables, cells."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer
    from rich.console import Console


def console() -> Console:
    """Return the console that commands print to."""
    from rich.console import Console

    # Without a terminal, rich would fold tables to 80 columns. Brackets in names and messages are no markup.
    return Console(markup=False, width=None if sys.stdout.isatty() else 200)


def command_line(context: typer.Context) -> str:
    """Return the command as the user typed it, for reports."""
    return f"python -m explorer {shlex.join(context.obj)}"


def print_table(
    console: Console,
    header: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    right: int = 0,
    *,
    total: bool = False,
) -> None:
    """Print rows below a header, the last `right` columns aligned to the right, the last row as a total on request."""
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, show_footer=total)
    for place, name in enumerate(header):
        footer = rows[-1][place] if total else ""
        table.add_column(name, justify="right" if place >= len(header) - right else "left", footer=Text(footer))
    for row in rows[:-1] if total else rows:
        table.add_row(*map(Text, row))
    console.print(table)


def cost_headings() -> list[str]:
    """Return the headings of the costs in short tables."""
    from explorer.networks.quantities import main_costs

    return [quantity.heading for quantity in main_costs()]


def cost_cells(row: Mapping[Any, Any]) -> list[str]:
    """Return the costs of a point for these columns."""
    import pandas as pd

    from explorer.networks.quantities import main_costs

    return ["-" if pd.isna(row[one.key]) else one.text(row[one.key]) for one in main_costs()]


def count(value: Any) -> str:  # noqa: ANN401 (a cell of a frame)
    """Format a whole number with thousands separators; a dash if it is missing."""
    import pandas as pd

    return "-" if pd.isna(value) else f"{value:,}"


def cell(value: Any) -> str:  # noqa: ANN401 (a cell of a frame)
    """Format a cell of a table of points: counts as `count` does, anything else as `label` does."""
    import numbers

    import numpy as np
    import pandas as pd

    from explorer.spaces.space import label

    if isinstance(value, np.bool_ | bool | str):
        return label(bool(value)) if isinstance(value, np.bool_) else label(value)
    if value is None or pd.isna(value) or isinstance(value, numbers.Integral):
        return count(value)
    return label(float(value))
