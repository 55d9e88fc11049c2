"""Print lines, tables, cells and JSON."""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import typer
    from rich.console import Console

    from explorer.networks.quantities import Quantity

ACCURACY_HEADINGS = ("accuracy", "95 % interval")
SHORT, SHORTEST = 24, 12
"""Cells up to these lengths are not wrapped. The second length is tried if the first makes a table too wide."""
EMPTY = ("", "-")
"""Texts of cells without a value."""
CONTROL = {"Cc", "Zl", "Zp"}
"""Unicode categories of characters that move the cursor or end the line."""


@dataclass(frozen=True)
class Screen:
    """The output of a command: everything, only the answer and paths (`quiet`), or one JSON document (`as_json`)."""

    quiet: bool = False
    as_json: bool = False

    @property
    def full(self) -> bool:
        """Whether everything is printed."""
        return not (self.quiet or self.as_json)

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line that is not part of the answer."""
        if self.full:
            say(text, style)

    def answer(self, text: str, style: str | None = None) -> None:
        """Print an answer or a path."""
        if not self.as_json:
            say(text, style)

    def table(
        self, header: Sequence[str], rows: Sequence[Sequence[object]], right: int = 0, *, total: bool = False
    ) -> None:
        """Print a table with `print_table`."""
        if self.full:
            print_table(header, rows, right, total=total)

    def document(self, records: pd.DataFrame | None, **more: object) -> None:
        """Print the JSON document with `records`, their `units`, and `more`. Frames become lists of records."""
        if self.as_json:
            from explorer.networks.quantities import units

            found = {"records": records, "units": units(map(str, () if records is None else records)), **more}
            print(json.dumps(plain(found), indent=1, allow_nan=False))  # noqa: T201 (verbatim)


def plain(value: Any) -> Any:  # noqa: ANN401 (any value in a frame or record)
    """Convert a value to JSON types: frames to lists of records, missing and infinite numbers to null."""
    import numpy as np
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        return [plain(row) for row in value.to_dict(orient="records")]
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, bool | int | float | str) else str(value)


def console() -> Console:
    """Return the console that commands print to."""
    from rich.console import Console

    # Lines in files and pipes are not wrapped unless COLUMNS sets a width. Brackets in texts are not markup.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 100_000
    return Console(markup=False, highlight=False, width=width)


def printable(text: str) -> str:
    """Escape control characters, such as a newline in the name of a class folder."""
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in CONTROL else character
        for character in text
    )


def say(text: str, style: str | None = None) -> None:
    """Print a line without wrapping it. Control characters are escaped."""
    console().print(printable(text), style=style, soft_wrap=True)


def command_line(context: typer.Context) -> str:
    """Return the command as the user typed it, for reports."""
    command = f"python -m explorer {shlex.join(context.obj)}"
    # File names may contain undecodable bytes, which databases and pages do not accept.
    return command.encode("utf-8", "replace").decode()


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[object]], right: int = 0, *, total: bool = False
) -> None:
    """Print rows below a header. The last `right` columns are right-aligned, and the last row can be a total.

    Columns without any values are left out. If the terminal is too narrow, long texts wrap between words, or each row
    becomes a block of lines. Numbers and names are never split.
    """
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    screen = console()
    cells = [[printable(str(value)) for value in row] for row in rows]
    kept = [place for place in range(len(header)) if not place or any(row[place] not in EMPTY for row in cells)]
    kept = kept if cells else list(range(len(header)))
    right = sum(place >= len(header) - right for place in kept)
    header, cells = [header[place] for place in kept], [[row[place] for place in kept] for row in cells]
    widths = _widths(header, cells, screen.width, SHORT) or _widths(header, cells, screen.width, SHORTEST)
    if widths is None:
        for row in cells:
            _print_block(header, row, screen.width)
        return
    table = Table(box=SIMPLE, show_footer=total)
    for place, (name, width) in enumerate(zip(header, widths, strict=True)):
        side = "right" if place >= len(header) - right else "left"
        footer = Text(cells[-1][place] if total else "")
        table.add_column(Text(name), justify=side, footer=footer, width=width)  # type: ignore[arg-type]  # a literal
    for row in cells[:-1] if total else cells:
        table.add_row(*map(Text, row))
    screen.print(table, soft_wrap=True)


def _widths(header: Sequence[str], cells: Sequence[Sequence[str]], most: int, short: int) -> list[int] | None:
    """Return column widths at which a table of at most `most` characters cuts nothing off; None if it cannot fit.

    Cells of at most `short` characters stay on one line.
    """
    from rich.cells import cell_len

    columns = [list(column) for column in zip(header, *cells, strict=True)]
    least = [
        max(
            max(map(cell_len, name.split()), default=0),
            *(cell_len(text) if cell_len(text) <= short else max(map(cell_len, text.split())) for text in column),
            0,
        )
        for name, *column in columns
    ]
    widths = [max(map(cell_len, column)) for column in columns]
    around = 3 * len(header) + 1  # spaces between columns and at both ends
    if sum(least) + around > most:
        return None
    while sum(widths) + around > most:
        widest = max((place for place in range(len(widths)) if widths[place] > least[place]), key=lambda i: widths[i])
        widths[widest] -= 1
    return widths


def _print_block(header: Sequence[str], row: Sequence[str], width: int) -> None:
    """Print a row as a block: the first cell, then one line per non-empty cell."""
    import textwrap

    longest = max(map(len, header[1:]), default=0)
    say("")
    say(f"{header[0]} {row[0]}".strip(), "bold")
    for name, text in zip(header[1:], row[1:], strict=True):
        if text:
            start = f"  {name:<{longest}}  "
            room = max(width, len(start) + SHORT)
            lines = textwrap.wrap(
                text, room, initial_indent=start, subsequent_indent=" " * len(start), break_long_words=False,
                break_on_hyphens=False,
            )  # fmt: skip
            for line in lines:
                say(line)


def heading(quantity: Quantity) -> str:
    """Return the heading of a quantity for a terminal. `FLOPs (multiply-adds)` would take too much room there."""
    return ", ".join(filter(None, (quantity.noun, quantity.unit.name)))


def cost_headings(columns: Iterable[str] = ()) -> list[str]:
    """Return the cost headings of short tables: the main costs, or those among `columns` that runs have measured."""
    return list(map(heading, _costs(columns)))


def cost_cells(row: Mapping[Any, Any]) -> list[str]:
    """Format a point's costs for the columns of `cost_headings`."""
    import pandas as pd

    return ["-" if pd.isna(row[one.key]) else one.text(row[one.key]) for one in _costs(row)]


def _costs(columns: Iterable[str]) -> list[Quantity]:
    from explorer.networks.quantities import QUANTITIES, main_costs

    known = set(columns)
    return [one for one in QUANTITIES.values() if one.run_column and one.key in known] or main_costs()


def accuracy_cells(row: Mapping[Any, Any]) -> list[str]:
    """Format a point's accuracy and its interval, with dashes if unknown."""
    ends = "-" if math.isnan(row["low"]) else f"{row['low']:.1%} to {row['high']:.1%}"
    return ["-" if math.isnan(row["accuracy"]) else f"{row['accuracy']:.1%}", ends]


def cell(value: Any) -> str:  # noqa: ANN401 (a cell of a frame)
    """Format a value: whole numbers with thousands separators, missing values as a dash, all others with `label`."""
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
