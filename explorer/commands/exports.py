"""Commands for one run: export its network, and draw the images it was most and least sure of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from explorer.commands.console import ACCURACY_HEADINGS, Screen, accuracy_cells, cost_cells, cost_headings
from explorer.commands.settings import DataDir, Json, Quiet, Storage, StudyName

if TYPE_CHECKING:
    import pandas as pd

    from explorer.exporting.export import Export
    from explorer.exporting.image_sheet import ImageSheet
    from explorer.exporting.retraining import Task

MOST_NAMED = 3
"""Maximum number of classes, or confusions of classes, to name in a table row."""

Moved = Annotated[str | None, Option("--data", help="Current folder of the study's images, if it has moved.")]


def export(
    study: StudyName,
    point: Annotated[str | None, Option(help="Number or label of the point; by default, the most accurate.")] = None,
    seed: Annotated[int, Option(min=0, help="Seed of the run.")] = 0,
    best: Annotated[int, Option(min=1, help="Number of rows in the table of the most accurate points.")] = 10,
    out: Annotated[Path | None, Option(help="Folder to write to; by default, export/STUDY-pointN-seedM.")] = None,
    storage: Storage = "explorer.db",
    data_dir: DataDir = None,
    data: Moved = None,
    keep_test: Annotated[bool, Option("--keep-test", help="Do not read the test images.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Export the network of a point as Python code and ONNX, with the weights from one of its runs.

    The run is retrained and must reproduce its stored validation accuracy. Each run is tested on the test images only
    once.
    """
    from explorer import export
    from explorer.training.limits import duration

    screen = Screen(quiet, as_json)

    def announce(task: Task) -> None:
        about = f", about {duration(task.stored.seconds)}" if task.stored.seconds else ""
        screen.say(f"{task.called}: retraining run {task.run.key[:12]}{about}")

    made = export(
        study,
        point=point,
        seed=seed,
        best=best,
        out=out,
        storage=storage,
        data_dir=data_dir,
        data=data,
        keep_test=keep_test,
        before_training=announce,
    )
    _print_accuracies(screen, made)
    _print_best(screen, made.best)
    if made.onnx_obstacle:
        screen.say(f"no network.onnx: {made.onnx_obstacle}")
    screen.answer(f"wrote {made.folder}: {', '.join(made.files)}")
    screen.document(made.best, facts=made.facts, test=made.test, folder=made.folder, files=made.files)
    return 0


def images(
    run: Annotated[str, Argument(help="STUDY:POINT[:SEED], STUDY (its most accurate point), or the key of a run.")],
    storage: Storage = "explorer.db",
    data_dir: DataDir = None,
    data: Moved = None,
    out: Annotated[Path | None, Option(metavar="FILE", help="Image file to write; by default, images-KEY.png.")] = None,
    count: Annotated[int, Option(min=1, max=50, help="Number of images in each row.")] = 12,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Draw the images that a run got right or wrong with the most confidence, and those it was least sure of."""
    from explorer import images

    screen = Screen(quiet, as_json)
    made = images(run, count=count, out=out, storage=storage, data_dir=data_dir, data=data)
    screen.answer(made.title)
    _print_sheet(screen, made)
    screen.answer(f"wrote {made.path}")
    screen.document(made.images, title=made.title, file=made.path)
    return 0


def _print_best(screen: Screen, table: pd.DataFrame) -> None:
    rows = [
        (
            row["point"],
            ": ".join(filter(None, (row["series"], row["label"]))),
            *cost_cells(row),
            *accuracy_cells(row),
            row["standing"] or "-",
        )
        for row in table.to_dict(orient="records")
    ]
    screen.table(("number", "point", *cost_headings(), *ACCURACY_HEADINGS, "standing"), rows)


def _print_accuracies(screen: Screen, made: Export) -> None:
    validation, test = (
        fact and f"{fact['accuracy']:.2%} of {fact['images']:,} images"
        for fact in (made.facts["validation"], made.facts["test"])
    )
    screen.answer(f"validation accuracy {validation}, the same as stored, image by image")
    screen.answer(f"test accuracy {test} ({made.test})" if test else made.test)
    if test and made.tests > 1:
        screen.say(f"{made.tests} runs of this study have been tested; don't choose between them by test accuracy")


def _print_sheet(screen: Screen, made: ImageSheet) -> None:
    rows: list[tuple[object, ...]] = []
    for row, heading in made.rows.items():
        found = [image for image in made.images.to_dict(orient="records") if image["row"] == row]
        if not found:
            rows.append((heading, 0, "-", "-", "-"))
            continue
        first, last = (f"{found[place]['probability']:.1%}" for place in (0, -1))
        named = Counter(map(_named, found))
        classes = "; ".join(f"{name} ({number})" for name, number in named.most_common(MOST_NAMED))
        if more := named.total() - sum(number for _, number in named.most_common(MOST_NAMED)):
            classes += f"; {more} more"
        right = sum(image["right"] for image in found)
        rows.append((heading, len(found), right, f"{first} to {last}", classes))
    screen.table(("on the sheet", "images", "right", "top probability", "classes"), rows)


def _named(image: dict[Hashable, Any]) -> str:
    """Return the class of an image, and the predicted class if it differs."""
    taken_for = image["taken_for"]
    return f"{image['class']}, taken for {taken_for}" if taken_for and not image["right"] else str(image["class"])
