"""The command that compresses a run's network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from explorer.commands.console import Screen
from explorer.commands.exports import Moved
from explorer.commands.settings import DataDir, Json, Quiet, Storage

if TYPE_CHECKING:
    from explorer.exporting.retraining import Task


def compress(
    run: Annotated[str, Argument(help="STUDY (its most accurate point), STUDY:POINT[:SEED], or the key of a run.")],
    density: Annotated[
        list[str] | None,
        Option(
            metavar="[LAYERS=]SHARE",
            help="Share of the weights to keep: 0.5, or by kind or name of layers: 3x3=0.33, 'fire9.*=0.3'. "
            "May be repeated; the last that fits counts.",
        ),
    ] = None,
    bits: Annotated[int, Option(help="Bits of a code: weights of a layer share 2 to the power of bits values.")] = 8,
    epochs: Annotated[
        int | None, Option(help="How long to fine-tune after each of the two steps; default: the study's epochs.")
    ] = None,
    int8: Annotated[bool, Option("--int8", help="Quantise to int8 instead, as an ONNX file.")] = False,
    out: Annotated[Path | None, Option(help="Folder to write to; by default, compressed/STUDY-pointN-seedM.")] = None,
    storage: Storage = "explorer.db",
    data_dir: DataDir = None,
    data: Moved = None,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Show what would be kept, and the bytes, without training.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Compress a network into one small file: prune weights, share values, and code both; or quantise it to int8.

    The run is retrained and must reproduce its stored accuracy; then it is fine-tuned after each step. A decoder of 60
    lines of plain Python comes with the file. The accuracy shown is measured on the network read back from the file.
    """
    screen = Screen(quiet, as_json)
    chosen: dict[str, Any] = {
        "density": density or [],
        "bits": bits,
        "epochs": epochs,
        "int8": int8,
        "storage": storage,
    }
    if dry_run:
        return _print_plan(screen, run, chosen)
    from explorer import compress
    from explorer.training.limits import duration

    def announce(task: Task) -> None:
        passes = task.run.budget.epochs
        more = 0.0 if int8 else (1 + bool(density)) * (passes if epochs is None else epochs) / passes
        about = f", about {duration((1 + more) * task.stored.seconds)}" if task.stored.seconds else ""
        tuning = " and fine-tuning it" if more else ""
        screen.say(f"{task.called}: retraining run {task.run.key[:12]}{tuning}{about}")

    made = compress(run, **chosen, out=out, data_dir=data_dir, data=data, before_training=announce)
    facts, found = made.facts, made.facts["validation"]
    times = f"{facts['times_smaller']:.1f} times smaller"
    screen.answer(f"{facts['bytes']:,} bytes, {times} than {facts['float32_bytes']:,} as float32")
    before, after = f"{found['accuracy_before']:.2%} before", f"{found['accuracy']:.2%} of {found['images']:,} images"
    difference, low, high = (f"{100 * found[name]:+.2f}" for name in ("difference", "low", "high"))
    interval = f"95 % interval {low} to {high}, of this seed"
    screen.answer(f"validation accuracy {after}, {before}: {difference} points ({interval})")
    if "layers" in facts:
        rows = [(row["path"], row["kind"], f"{row['weights']:,}", f"{row['kept']:,}") for row in facts["layers"]]
        screen.table(("layer", "kind", "weights", "kept"), rows, right=2)
        screen.say(f"the compressed network has seen {facts['fine_tuning_images']:,} more images")
    screen.answer(f"wrote {made.folder}: {', '.join(made.files)}")
    screen.document(None, facts=facts, folder=made.folder, files=made.files)
    return 0


def _print_plan(screen: Screen, run: str, chosen: dict[str, Any]) -> int:
    from explorer import plan_compression

    plan = plan_compression(run, **chosen)
    screen.table(
        ("layer", "kind", "weights", "kept"),
        [(path, kind, f"{count:,}", f"{kept:,}") for path, kind, count, kept in plan.layers],
        right=2,
    )
    screen.answer(f"{plan.called}: {plan.kept:,} weights and biases are kept")
    screen.table(("coding", "bytes"), [(name, f"{size:,}") for name, size in plan.bytes.items()], right=1)
    screen.say("the written file is entropy-coded, so its size depends on the weights, too")
    screen.document(None, called=plan.called, kept=plan.kept, bytes=dict(plan.bytes), layers=plan.layers)
    return 0
