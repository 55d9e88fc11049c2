"""A sheet of images that a run was most and least sure of, as a PNG."""

from __future__ import annotations

import io
import warnings

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from explorer.data.dataset import Pixels
from explorer.drawing.colours import GREY, INK
from explorer.exporting.surest import ROWS

DPI = 150
CELL_INCHES = (0.95, 1.2)  # of an image and what stands below it
TOP_INCHES, ROW_INCHES = 0.55, 0.3  # for the title, and above each row
TITLE_INCHES = 0.08  # of a character of the title
LINE_POINTS = 9  # of type, from one line below an image to the next
LONGEST = 16  # characters of a class's name that fit below an image


def draw_sheet(chosen: pd.DataFrame, images: Pixels, title: str) -> bytes:
    """A row for each kind of images that `surest` found; `chosen` has the column `class` too, and `images` are its rows' in order.

    Below each stand its class and the probability of the most likely class, and where the row does not say it, whether that was right.
    """
    chosen = chosen.assign(pixels=list(images))
    across = max(1, int(chosen.groupby("row").size().max()))
    width = max(across * CELL_INCHES[0], len(title) * TITLE_INCHES) + 0.3
    height = TOP_INCHES + len(ROWS) * (CELL_INCHES[1] + ROW_INCHES) + 0.1
    buffer = io.BytesIO()
    with mpl.rc_context({"font.family": "sans-serif", "text.parse_math": False}), warnings.catch_warnings():
        # A class may be called anything.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
        figure.text(0.15 / width, 1 - 0.3 / height, title, fontsize=11, color=INK, va="center")
        top = height - TOP_INCHES
        for row, heading in ROWS.items():
            found = chosen[chosen["row"] == row]
            shown = heading if len(found) else f"{heading}: none"
            figure.text(0.15 / width, (top - 0.12) / height, shown, fontsize=9, color=GREY, va="center")
            for column, cell in enumerate(found.to_dict(orient="records")):
                left, bottom = 0.15 + column * CELL_INCHES[0], top - ROW_INCHES - CELL_INCHES[0] + 0.12
                side = CELL_INCHES[0] - 0.12
                ax = figure.add_axes((left / width, bottom / height, side / width, side / height))
                verdict = "" if row != "unsure" else " right" if cell["right"] else " wrong"
                _draw(ax, cell["pixels"], (_short(cell["class"]), f"{cell['probability']:.1%}{verdict}"))
            top -= CELL_INCHES[1] + ROW_INCHES
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw(ax: Axes, image: Pixels, lines: tuple[str, ...]) -> None:
    ax.imshow(image, interpolation="nearest")
    ax.set_axis_off()
    for number, line in enumerate(lines, start=1):
        offset = (0, -LINE_POINTS * number)
        ax.annotate(line, (0.5, 0), offset, "axes fraction", "offset points", ha="center", fontsize=7, color=INK)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"
