"""Commands about one run: export its network, and show images that it was most and least sure of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from explorer.commands.console import console, print_table
from explorer.commands.console import count as count_cell
from explorer.commands.studies import DataDir, Storage

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from explorer.exporting.retraining import Task
    from explorer.storage.ledger import Ledger
    from explorer.training.trainer import Trained


def export(
    study: Annotated[str, typer.Argument(help="Name of a stored study, such as squeeze_ratio@cifar10.")],
    point: Annotated[
        str | None, typer.Option(help="Number or label of the point; the most accurate one by default.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which of its trainings.")] = 0,
    best: Annotated[int, typer.Option(min=1, help="Points in the table of the best.")] = 10,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the files; export/STUDY-pointN-seedM by default.")
    ] = None,
    storage: Storage = "explorer.db",
    data_dir: DataDir = None,
    keep_test: Annotated[bool, typer.Option("--keep-test", help="Leave the test images unread.")] = False,
) -> int:
    """Export a point: its network as Python code and ONNX, with the weights of one of its runs.

    The run is trained again, and its stored validation accuracy must come back. Then its model reads the test images, once for ever:
    the result is stored, and a later export of the run shows it.
    """
    from explorer.exporting.bundle import (
        BEST,
        FACTS,
        ONNX,
        best_file,
        best_points,
        facts_file,
        network_files,
        run_facts,
    )
    from explorer.exporting.choice import best_point, find_point, find_run
    from explorer.exporting.retraining import retraining_task
    from explorer.files import check_folder, write_files
    from explorer.storage.ledger import Ledger

    ledger = Ledger(storage)
    record = ledger.studies.load(study)
    number = best_point(record) if point is None else find_point(record, point)
    key = find_run(record, number, seed)
    folder = out or Path("export") / f"{study}-point{number}-seed{seed}"
    check_folder(folder)
    task = retraining_task(ledger, record, number, seed, data_dir)
    screen = console()
    # Nothing else writes while the test images may be read, so that they are not read twice.
    with nullcontext() if keep_test or ledger.tests.find(key) else ledger.writing():
        table = best_points(record, best)
        _print_best(screen, table)
        trained = _trained(screen, task)
        facts = run_facts(task, trained)
        files, obstacle = network_files(task, trained, facts)
        test = _test(screen, ledger, task, trained, keep_test)
    files |= {FACTS: facts_file(facts, test), BEST: best_file(table)}
    write_files(files, folder)
    if obstacle:
        # One of another run would be taken for a part of this export.
        (folder / ONNX).unlink(missing_ok=True)
        screen.print(f"no {ONNX}: {obstacle}", highlight=False, soft_wrap=True)
    screen.print(f"wrote {folder}: {', '.join(files)}", highlight=False, soft_wrap=True)
    return 0


def images(
    run: Annotated[
        str,
        typer.Argument(help="A run's key, or its first 6 or more characters, or STUDY:POINT[:SEED] (number or label)."),
    ],
    storage: Storage = "explorer.db",
    data_dir: DataDir = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The sheet; images-KEY.png in this folder by default.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=50, help="Images in each row.")] = 12,
) -> int:
    """Draw which validation images a run got right and wrong most surely, and which it was least sure of."""
    from explorer.data import find_source
    from explorer.exporting.choice import called, find_run, find_stored_run
    from explorer.exporting.image_sheet import draw_sheet
    from explorer.exporting.surest import surest, validation_places
    from explorer.files import check_file, write_file
    from explorer.storage.ledger import Ledger

    ledger = Ledger(storage)
    record, number, seed = find_stored_run(ledger, run)
    stored = ledger.runs.find(find_run(record, number, seed))
    assert stored is not None  # it is done
    path = out or Path(f"images-{stored.key[:8]}.png")
    check_file(path)
    dataset = find_source(record.study.data, data_dir).prepare()
    places = validation_places(dataset, stored)
    assert stored.correct is not None
    assert stored.top_probability is not None
    chosen = surest(stored.correct, stored.top_probability, count)
    chosen["class"] = [dataset.classes[label] for label in dataset.labels[places[chosen["place"]]]]
    title = (
        f"{record.study.name}, {called(record, number)}, seed {seed}: "
        f"{stored.accuracy:.1%} of {len(places):,} validation images right"
    )
    screen = console()
    write_file(path, draw_sheet(chosen, dataset.images[places[chosen["place"]]], title))
    screen.print(title, highlight=False)
    _print_chosen(screen, chosen)
    screen.print(f"wrote {path}", highlight=False, soft_wrap=True)
    return 0


def _print_best(screen: Console, table: pd.DataFrame) -> None:
    rows = [
        (
            str(row["point"]),
            ": ".join(text for text in (row["series"], row["label"]) if text),
            *map(count_cell, (row["params"], row["macs"])),
            f"{row['accuracy']:.1%}",
            "-" if math.isnan(row["low"]) else f"{row['low']:.1%} to {row['high']:.1%}",
            row["standing"] or "-",
        )
        for row in table.to_dict(orient="records")
    ]
    header = ("number", "point", "params", "FLOPs (multiply-adds)", "accuracy", "95 % interval", "standing")
    print_table(screen, header, rows)


def _print_chosen(screen: Console, chosen: pd.DataFrame) -> None:
    """A line for each row of the sheet: how many images, of which probability, and of which classes."""
    from explorer.exporting.surest import ROWS

    rows = []
    for row, heading in ROWS.items():
        found = chosen[chosen["row"] == row]
        if found.empty:
            rows.append((heading, "0", "-", "-", "-"))
            continue
        first, last = (f"{found['probability'].iloc[place]:.1%}" for place in (0, -1))
        classes = ", ".join(f"{name} ({number})" for name, number in found["class"].value_counts().items())
        rows.append((heading, str(len(found)), str(int(found["right"].sum())), f"{first} to {last}", classes))
    print_table(screen, ("on the sheet", "images", "right", "top probability", "classes"), rows)


def _trained(screen: Console, task: Task) -> Trained:
    """The run, trained again, with a line before and one after it."""
    from explorer.commands.progress import duration

    about = f", about {duration(task.stored.seconds)}" if task.stored.seconds else ""
    screen.print(f"{task.called}: training run {task.run.key[:12]} again{about}", highlight=False)
    trained = task.train()
    accuracy, images = trained.measurement.accuracy, len(trained.measurement.correct)
    screen.print(f"validation accuracy {accuracy:.2%} of {images:,} images, as stored, image by image", highlight=False)
    return trained


def _test(screen: Console, ledger: Ledger, task: Task, trained: Trained, keep: bool) -> Mapping[str, Any] | None:
    """What is stored of the test images, which are read now where nothing is stored yet, unless they are to be kept."""
    from explorer.data.held_out import NoTestImages
    from explorer.exporting.bundle import read_test

    test = ledger.tests.find(task.run.key)
    if test is None and keep:
        screen.print("test images: left unread", highlight=False)
        return None
    when = f"read on {test['finished']}, not again" if test else "read now, for the only time"
    try:
        test = test or read_test(ledger, task, trained)
    except NoTestImages as error:
        screen.print(str(error), highlight=False, soft_wrap=True)
        return None
    screen.print(f"test accuracy {test['accuracy']:.2%} of {test['images']:,} images ({when})", highlight=False)
    runs = len(ledger.tests.of(task.record.study.name))
    if runs > 1:
        screen.print(
            f"{runs} runs of this study have read them: a choice between these by it is no test", highlight=False
        )
    return test
