"""The command that transfers a trained network to a person's images."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from explorer.commands.console import Screen
from explorer.commands.settings import DataDir, Json, Quiet, Storage

if TYPE_CHECKING:
    import pandas as pd

MOST_CLASSES = 12  # in a confusion table on the screen


def transfer(
    data: Annotated[str, Argument(help="Folder of images, one sub-folder per class; or cifar10 or proxy.")],
    source: Annotated[
        str,
        Option("--from", help="An exported folder, STUDY[:POINT[:SEED]], or the key of a run."),
    ],
    frozen: Annotated[
        list[int] | None, Option(min=0, help="Also try to freeze the first N blocks; may be repeated.")
    ] = None,
    epochs: Annotated[int | None, Option(help="Epochs of each way; by default, to see 20,000 images.")] = None,
    seed: Annotated[int, Option(min=0, max=2**32 - 1, help="Seed of the training.")] = 0,
    out: Annotated[Path | None, Option(help="Folder to write to; by default, transferred/DATA.")] = None,
    storage: Storage = "explorer.db",
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Train a trained network further on your images, and export the best result.

    The head becomes a new one for your classes. Training only the head, training all layers, and training the same
    network from scratch are compared on validation images.
    """
    from explorer import transfer

    screen = Screen(quiet, as_json)
    made = transfer(
        data,
        source,
        frozen=frozen or [],
        epochs=epochs,
        seed=seed,
        out=out,
        storage=storage,
        data_dir=data_dir,
        before_training=lambda way, images: screen.say(f"training {way}, {images:,} images"),
    )
    screen.answer(_answer(made.ways, made.best, made.facts["validation_images"]))
    rows = [
        (
            row["way"],
            f"{row['trained_params']:,}",
            f"{row['accuracy']:.1%}",
            f"{100 * row['low']:.1f} to {row['high']:.1%}",
            f"{row['seconds']:.1f}",
        )
        for row in made.ways.to_dict(orient="records")
    ]
    screen.table(("trained", "params trained", "accuracy", "95 % interval", "seconds"), rows, right=4)
    if len(made.confusion) <= MOST_CLASSES:
        names = [str(name) for name in made.confusion.columns]
        counts = [(name, *map(str, row)) for name, row in zip(names, made.confusion.to_numpy().tolist(), strict=True)]
        screen.say("validation images by class (rows) and by what they were taken for (columns):")
        screen.table(("class", *names), counts, right=len(names))
    if made.onnx_obstacle:
        screen.say(f"no network.onnx: {made.onnx_obstacle}")
    screen.answer(f"wrote {made.folder}: {', '.join(made.files)}")
    confusion = {"classes": list(made.confusion.columns), "counts": made.confusion.to_numpy()}
    screen.document(made.ways, facts=made.facts, confusion=confusion, folder=made.folder)
    return 0


def _answer(ways: pd.DataFrame, best: str, images: int) -> str:
    row = ways[ways["way"] == best].iloc[0]
    found = f"{row['accuracy']:.1%} of {images:,} validation images (the best of {len(ways)} ways, one seed)"
    if math.isnan(row["difference"]):
        apart = (ways["difference_high"].dropna() < 0).all()
        others = "better than all transfers" if apart else "but not separated from all transfers"
        return f"training from scratch is best: {found}, {others} (95 % intervals over images)"
    low, high = row["difference_low"], row["difference_high"]
    interval = f"95 % interval {100 * low:+.1f} to {100 * high:+.1f} points over images"
    if low > 0:
        return f"training {best} is best: {found}, {100 * row['difference']:.1f} points above from scratch ({interval})"
    return f"training {best} is best: {found}, but not separated from training from scratch ({interval})"
