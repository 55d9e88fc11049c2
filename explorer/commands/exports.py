"""Commands about one run: export its network, and draw the images that it was most and least sure of."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from explorer.commands.console import console, cost_cells, cost_headings, print_table
from explorer.commands.studies import DataDir, Storage, StudyName

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from explorer.exporting.export import Export
    from explorer.exporting.image_sheet import ImageSheet
    from explorer.exporting.retraining import Task


def export(
    study: StudyName,
    point: Annotated[
        str | None, typer.Option(help="Number or label of the point; the most accurate point by default.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the run.")] = 0,
    best: Annotated[int, typer.Option(min=1, help="Rows in the table of the most accurate points.")] = 10,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the files; export/STUDY-pointN-seedM by default.")
    ] = None,
    storage: Storage = "explorer.db",
    data_dir: DataDir = None,
    keep_test: Annotated[bool, typer.Option("--keep-test", help="Do not read the test images.")] = False,
) -> int:
    """Export a point: its network as Python code and ONNX, with the weights of one of its runs.

    The run is trained again and must reach its stored validation accuracy. Then its model is tested on the test images,
    once: the test accuracy is stored, and later exports of the run show it.
    """
    from explorer import export
    from explorer.commands.progress import duration

    screen = console()

    def announce(task: Task) -> None:
        about = f", about {duration(task.stored.seconds)}" if task.stored.seconds else ""
        screen.print(f"{task.called}: training run {task.run.key[:12]} again{about}", highlight=False)

    made = export(
        study,
        point=point,
        seed=seed,
        best=best,
        out=out,
        storage=storage,
        data_dir=data_dir,
        keep_test=keep_test,
        before_training=announce,
    )
    _print_best(screen, made.best)
    _print_accuracies(screen, made)
    if made.onnx_obstacle:
        screen.print(f"no network.onnx: {made.onnx_obstacle}", highlight=False, soft_wrap=True)
    screen.print(f"wrote {made.folder}: {', '.join(made.files)}", highlight=False, soft_wrap=True)
    return 0


def images(
    run: Annotated[
        str,
        typer.Argument(help="A run's key or its first 6 or more characters, or STUDY:POINT[:SEED] (number or label)."),
    ],
    storage: Storage = "explorer.db",
    data_dir: DataDir = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The sheet; images-KEY.png in this folder by default.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=50, help="Images in each row.")] = 12,
) -> int:
    """Draw the validation images that a run was most sure of, right and wrong, and those it was least sure of."""
    from explorer import images

    made = images(run, count=count, out=out, storage=storage, data_dir=data_dir)
    screen = console()
    screen.print(made.title, highlight=False)
    _print_sheet(screen, made)
    screen.print(f"wrote {made.path}", highlight=False, soft_wrap=True)
    return 0


def _print_best(screen: Console, table: pd.DataFrame) -> None:
    rows = [
        (
            str(row["point"]),
            ": ".join(text for text in (row["series"], row["label"]) if text),
            *cost_cells(row),
            f"{row['accuracy']:.1%}",
            "-" if math.isnan(row["low"]) else f"{row['low']:.1%} to {row['high']:.1%}",
            row["standing"] or "-",
        )
        for row in table.to_dict(orient="records")
    ]
    header = ("number", "point", *cost_headings(), "accuracy", "95 % interval", "standing")
    print_table(screen, header, rows)


def _print_accuracies(screen: Console, made: Export) -> None:
    validation, test = made.facts["validation"], made.facts["test"]
    screen.print(
        f"validation accuracy {validation['accuracy']:.2%} of {validation['images']:,} images, "
        "as stored, image by image",
        highlight=False,
    )
    if test is None:
        screen.print(made.test, highlight=False, soft_wrap=True)
        return
    screen.print(f"test accuracy {test['accuracy']:.2%} of {test['images']:,} images ({made.test})", highlight=False)
    if made.tests > 1:
        screen.print(
            f"{made.tests} runs of this study have been tested: choosing between them by test accuracy is no test",
            highlight=False,
        )


def _print_sheet(screen: Console, made: ImageSheet) -> None:
    """Print a line for each row of the sheet: its images, probabilities and classes."""
    rows = []
    for row, heading in made.rows.items():
        found = [image for image in made.images.to_dict(orient="records") if image["row"] == row]
        if not found:
            rows.append((heading, "0", "-", "-", "-"))
            continue
        first, last = (f"{found[place]['probability']:.1%}" for place in (0, -1))
        classes = ", ".join(f"{name} ({number})" for name, number in Counter(i["class"] for i in found).most_common())
        right = sum(image["right"] for image in found)
        rows.append((heading, str(len(found)), str(right), f"{first} to {last}", classes))
    print_table(screen, ("on the sheet", "images", "right", "top probability", "classes"), rows)
