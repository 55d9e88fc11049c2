"""A sheet (PNG) of the images that a run was most and least sure of."""

from __future__ import annotations

import io
import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.data import Dataset
from explorer.data.dataset import Pixels
from explorer.drawing.colours import GREY, INK
from explorer.drawing.style import style
from explorer.exporting.choice import called, find_run, find_stored_run
from explorer.exporting.data import check_data, data_of
from explorer.exporting.surest import ROWS, surest, validation_places
from explorer.files import check_file, user_path, write_file
from explorer.storage.ledger import DEFAULT_STORAGE, Ledger

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 150
CELL_INCHES = (0.95, 1.45)  # size of an image with the text below it
TOP_INCHES, ROW_INCHES = 0.55, 0.3  # room above all rows, and above each row
TITLE_INCHES = 0.08  # per character of the title
LINE_POINTS = 9  # height of a line of text
LONGEST = 16  # maximum number of characters of a class name below an image


@dataclass(frozen=True)
class ImageSheet:
    """A sheet of a run's images.

    Attributes:
        path: The PNG file.
        title: The title of the sheet: the run and its accuracy.
        rows: The headings of the rows on the sheet, keyed by their names in `images`.
        images: One row per image on the sheet, with the columns of `surest`, `class`, and `taken_for`: the class that
            the run predicted, or None if it is not stored.
    """

    path: Path
    title: str
    rows: dict[str, str]
    images: pd.DataFrame


def images(
    run: str,
    *,
    count: int = 12,
    out: str | Path | None = None,
    storage: str | Path = DEFAULT_STORAGE,
    data_dir: str | Path | None = None,
    data: str | Path | None = None,
) -> ImageSheet:
    """Draw the images that a run got right or wrong with the most confidence, and those it was least sure of.

    Args:
        run: A stored run: at least 6 characters of its key, `STUDY:POINT[:SEED]` with a number or label, or `STUDY`.
        count: Number of images in each row of the sheet.
        out: The PNG file; by default, `images-KEY.png` in the current folder.
        storage: SQLite file or database URL.
        data_dir: Folder with the files of CIFAR-10.
        data: The current folder of the study's images, if it has moved.

    Raises:
        ExplorerError: The run is unknown or unfinished, or the data set is missing or has changed.
    """
    ledger = Ledger(storage)
    record, number, seed = find_stored_run(ledger, run)
    stored = ledger.runs.find(find_run(record, number, seed))
    assert stored is not None  # it is done
    path = user_path(out) if out is not None else Path(f"images-{stored.key[:8]}.png")
    check_file(path)
    dataset = data_of(record, data, data_dir).prepare()
    check_data(record, dataset, data)
    places = validation_places(dataset, stored)
    assert stored.correct is not None
    assert stored.top_probability is not None
    chosen = named_images(dataset, places, stored.correct, stored.top_probability, stored.predicted, count)
    title = (
        f"{record.study.name}, {called(record, number)}, seed {seed}: "
        f"{stored.accuracy:.1%} of {len(places):,} validation images right"
    )
    write_file(path, draw_sheet(chosen, dataset.images[places[chosen["place"]]], title))
    return ImageSheet(path, title, ROWS, chosen)


def named_images(
    dataset: Dataset,
    places: NDArray[np.int64],
    correct: NDArray[np.bool_],
    top_probability: NDArray[np.floating],
    predicted: NDArray[np.integer] | None,
    count: int,
) -> pd.DataFrame:
    """Return `ImageSheet.images` for a model's results on the images at `places` of a data set."""
    chosen = surest(correct, top_probability, count)
    chosen["class"] = [dataset.classes[label] for label in dataset.labels[places[chosen["place"]]]]
    chosen["taken_for"] = None
    if predicted is not None:
        chosen["taken_for"] = [dataset.classes[label] for label in predicted[chosen["place"]]]
    return chosen


def draw_sheet(chosen: pd.DataFrame, images: Pixels, title: str) -> bytes:
    """Draw one row per kind of image. `chosen` is `ImageSheet.images`, and `images` are the pixels.

    The text below each image is its class, the predicted class if it differs, and the probability of the predicted
    class.
    """
    from matplotlib.figure import Figure

    chosen = chosen.assign(pixels=list(images))
    across = max(1, int(chosen.groupby("row").size().max()))
    width = max(across * CELL_INCHES[0], len(title) * TITLE_INCHES) + 0.3
    height = TOP_INCHES + len(ROWS) * (CELL_INCHES[1] + ROW_INCHES) + 0.1
    buffer = io.BytesIO()
    with style({"text.parse_math": False}), warnings.catch_warnings():
        # Class names can contain any characters.
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
                _draw(ax, cell["pixels"], _below(cell))
            top -= CELL_INCHES[1] + ROW_INCHES
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _below(cell: Mapping[Hashable, Any]) -> list[str]:
    """Return the lines of text below an image."""
    named, probability = _short(cell["class"]), f"{cell['probability']:.1%}"
    if cell["right"]:
        return [named, f"{probability} right" if cell["row"] == "unsure" else probability]
    if cell["taken_for"] is None:
        return [named, f"{probability} wrong"]
    return [named, "taken for", _short(cell["taken_for"]), probability]


def _draw(ax: Axes, image: Pixels, lines: Sequence[str]) -> None:
    ax.imshow(image, interpolation="nearest")
    ax.set_axis_off()
    for number, line in enumerate(lines, start=1):
        offset = (0, -LINE_POINTS * number)
        ax.annotate(line, (0.5, 0), offset, "axes fraction", "offset points", ha="center", fontsize=7, color=INK)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"
