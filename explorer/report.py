"""A study's report: one self-contained page with its figures and tables, and these as files beside it.

Everything is made from stored rows, without torch, and the same rows give the same bytes: no time, no random identifier.
"""

from __future__ import annotations

import io
import math
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from explorer import analysis, plots
from explorer.errors import ExplorerError
from explorer.record import StudyRecord
from explorer.space import label

PANEL_INCHES = (4.2, 3.3)  # small, so that its type is still read on a phone
UNKNOWN = "\N{EN DASH}"
SPACE = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Panel:
    """A figure: its file's name without the ending, what stands above and below it, and its SVG."""

    name: str
    title: str
    caption: str
    svg: str

    @property
    def inline(self) -> Markup:
        """The SVG as a part of a page: named for those who do not see it, its identifiers its own."""
        body = self.svg[self.svg.index("<svg") :]
        body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
        body = re.sub(
            r"<[^>]+>", lambda tag: re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{self.name}-", tag.group()), body
        )
        body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
        body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
        name = Markup('<svg role="img" aria-label="{}" ').format(self.title)
        return Markup(re.sub(r"\n\s*", "\n", body.replace("<svg ", str(name), 1)))  # noqa: S704 (drawn here, its texts escaped)


@dataclass(frozen=True)
class Table:
    """A table of texts: its caption, its columns, which of them are numbers, and its rows."""

    caption: str
    columns: tuple[str, ...]
    numbers: frozenset[str]
    rows: list[list[str]]


def write_report(record: StudyRecord, folder: Path) -> Path:
    """Writes `report.html`, the tables as CSV and Parquet and the figures as SVG into a folder; returns the page's path.

    All of it is made before the first file is replaced, so that a failure leaves the report as it was.
    """
    check_folder(folder)
    files = report_files(record)
    drafts = {name: folder / f".{name}.partial" for name in files}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            drafts[name].write_bytes(content)
        for name, draft in drafts.items():
            draft.replace(folder / name)
    except OSError as error:
        raise ExplorerError(f"report {folder}: cannot be written: {error.strerror}") from None
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
    return folder / "report.html"


def check_folder(folder: Path) -> None:
    """Raises `ExplorerError` where no report could be written to the folder, before anything is trained for one."""
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        reason = "Permission denied" if nearest.is_dir() else "Not a directory"
        raise ExplorerError(f"report {folder}: cannot be written: {reason}: {nearest}")


def report_files(record: StudyRecord) -> dict[str, bytes]:
    """The files of a report by name, `report.html` last."""
    points, runs = analysis.points_table(record), analysis.runs_table(record)
    panels = draw_panels(record)
    files = {}
    for name, table in (("points", points), ("runs", runs)):
        files[f"{name}.csv"] = table.to_csv(index=False, lineterminator="\n").encode()
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        files[f"{name}.parquet"] = buffer.getvalue()
    files |= {f"{name}.svg": panel.svg.encode() for name, panel in panels.items()}
    return files | {"report.html": render(record, panels).encode()}


def render(record: StudyRecord, panels: Mapping[str, Panel]) -> str:
    """The page, around figures that are drawn already."""
    environment = Environment(
        loader=PackageLoader("explorer"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    summary = analysis.points_table(record)
    return environment.get_template("report.html.j2").render(
        study=record.study,
        answer=answer(record),
        progress=progress(record),
        panels=panels,
        tables={
            "points": _points(record, summary),
            "dropped": _dropped(record, summary),
            "runs": _runs(analysis.runs_table(record)),
        },
        interval=interval_note(record),
        measured=_how_measured(record),
        command=record.command,
        versions=record.versions,
        machine=record.machine,
    )


def answer(record: StudyRecord) -> str:
    """What the numbers say, in a few sentences: the best point, what it is not separated from, and the worst."""
    summary = analysis.summarise(record)
    measured = summary[summary["accuracy"].notna() & summary["same_as"].isna()]
    if measured.empty:
        return "No run is done yet, so there is no answer."
    best, worst = (measured.loc[getattr(measured["accuracy"], extreme)()] for extreme in ("idxmax", "idxmin"))
    text = f"{_named(record, best)} has the best accuracy of the {len(measured)} measured points: {percent(best['accuracy'])}"
    if len(measured) == 1:
        text = f"{_named(record, best)} is the only measured point: {percent(best['accuracy'])}"
    if math.isfinite(best["low"]):
        text += f" (95 % interval {100 * best['low']:.1f} to {percent(best['high'])})"
    text += f", with {_amount('params', best['params'])} and {_amount('macs', best['macs'])}."
    if len(measured) == 1:
        return text
    if not analysis.seed_variance(record).freedom:
        return f"{text} One seed: spread between seeds unknown, so the points are not told apart."
    rivals = [
        str(row["label"])
        for _, row in measured.sort_values("accuracy", ascending=False).iterrows()
        if row["point"] != best["point"]
        and not analysis.difference(record, int(best["point"]), int(row["point"])).separated
    ]
    text += f" Not separated from it: {'; '.join(rivals)}." if rivals else " It is separated from every other point."
    return (
        f"{text} The least accurate is {_named(record, worst)}: {percent(worst['accuracy'])}, with "
        f"{_amount('params', worst['params'])} and {_amount('macs', worst['macs'])}."
    )


def progress(record: StudyRecord) -> tuple[bool, str]:
    """Whether all runs are done, and a sentence that counts them."""
    counts = record.runs["state"].value_counts()
    done, total = int(counts.get("done", 0)), len(record.runs)
    if done == total:
        return True, f"All {total} runs are done."
    others = ", ".join(f"{counts[state]} {state}" for state in ("failed", "crashed", "missing") if counts.get(state))
    return False, f"This is a partial result: {done} of {total} runs are done ({others})."


def interval_note(record: StudyRecord) -> str:
    """How the intervals come about, with the numbers behind them."""
    seeds = analysis.seed_variance(record)
    images = analysis.validation_images(record)
    if not images:
        return ""
    start = f"The intervals are 95 % intervals. The {images:,} validation images are a sample"
    if not seeds.freedom:
        return f"{start}, and that is all that the intervals account for. One seed: spread between seeds unknown."
    return (
        f"{start}, and so are the seeds: the accuracy of one network has a standard deviation of {100 * seeds.deviation:.2f} points "
        f"between seeds, pooled over the points ({seeds.freedom} degrees of freedom). The interval combines both, with Student's t. "
        "All points were measured on the same images, so two points are compared image by image; where the interval of their "
        "difference holds 0 they are not separated. Whether their own intervals overlap does not tell. The comparisons "
        "are not adjusted for their number, and the best of several points looks a little better than it is."
    )


def draw_panels(record: StudyRecord) -> dict[str, Panel]:
    """The figures by name: `curve`, `published` where there is one, `front_params`, `front_macs` and `learning_curves`."""
    summary = analysis.summarise(record)
    against = record.study.plot.against
    ordered = len(record.metaparameters) == 1 and analysis.is_ordered(summary[record.metaparameters[0]])
    shape = "a band" if ordered else "bars"
    panels = [
        _panel(
            "curve",
            f"Accuracy against {_COSTS[against]}",
            f"Mean over the seeds, with the 95 % interval as {shape}; labels: {', '.join(record.metaparameters)}. "
            + ("Hollow marks miss some seeds." if (summary["state"] == "partly done").any() else ""),
            lambda ax: plots.curve(summary, ax, against),
        ),
        *_published(record),
        *(_front(summary, cost) for cost in analysis.FRONTS),
        _panel(
            "learning_curves",
            "Accuracy after each epoch",
            "Thin: one seed. Thick, with marks: the mean over the seeds. The rate has fallen to zero at the last epoch.",
            lambda ax: plots.learning_curves(analysis.runs_table(record), ax),
        ),
    ]
    return {panel.name: panel for panel in panels}


def percent(share: float) -> str:
    """A fraction as percent with one decimal."""
    return f"{100 * share:.1f}{SPACE}%"


_COSTS = {"params": "params", "macs": "FLOPs", "activations": "activations", "model_bytes": "model size"}


def _published(record: StudyRecord) -> Iterable[Panel]:
    name = record.study.plot.published
    for key in record.metaparameters if name else ():
        frame = analysis.published(str(name), key)
        if frame is not None:
            caption = f"{analysis.published_source(str(name))} Another data set and a full training: compare the shapes, not the heights."
            yield _panel("published", "The published curve", caption, partial(plots.published_curve, frame))
            return


def _front(summary: pd.DataFrame, cost: str) -> Panel:
    measured = summary[summary["accuracy"].notna() & summary["same_as"].isna()]
    on_front = measured[analysis.pareto_front(measured, cost)]
    caption = "Filled: points that no other beats in both." if len(measured) else ""
    if len(on_front) < len(measured):
        caption += " Hollow: another one is at least as accurate and costs no more."
    if len(measured) > 1 and len(set(measured[cost])) == 1:
        caption = f"All points cost the same, so the front is the most accurate one: {', '.join(on_front['label'])}. {caption}"
    elif len(measured):
        caption = f"{len(on_front)} of {len(measured)} points are on the front. {caption}"
    title = f"Pareto front of accuracy and {_COSTS[cost]}"
    return _panel(f"front_{cost}", title, caption, lambda ax: plots.front(summary, ax, cost))


def _panel(name: str, title: str, caption: str, draw: Callable[[Axes], None]) -> Panel:
    buffer = io.StringIO()
    with plots.style(), mpl.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        # The text stays text, and whoever shows it has fonts of their own.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=PANEL_INCHES)
        figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
        draw(figure.subplots())
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Title": title})
    return Panel(name, title, caption, buffer.getvalue())


def _points(record: StudyRecord, summary: pd.DataFrame) -> Table:
    numbers = ("accuracy, %", "spread, points", "seeds done", "params", "FLOPs (multiply-adds)", "model size, MiB")
    rows = []
    for _, row in summary.iterrows():
        fronts = [_COSTS[cost] for cost, column in analysis.FRONTS.items() if row[column]]
        rows.append(
            [
                *(label(row[key]) for key in record.metaparameters),
                _plus_minus(row),
                _number(row["spread"], 2, 100),
                str(row["runs"]),
                _whole(row["params"]),
                _whole(row["macs"]),
                _number(row["model_bytes"], 2, 2**-20),
                ", ".join(fronts) or UNKNOWN,
                _outcome(row),
            ]
        )
    columns = (*record.metaparameters, *numbers, "on the front of", "state")
    return Table(
        "Accuracy: mean over the seeds and half the width of its 95 % interval. Spread: standard deviation between seeds.",
        columns,
        frozenset(numbers),
        rows,
    )


def _dropped(record: StudyRecord, summary: pd.DataFrame) -> Table:
    dropped = summary[summary["state"].isin(["infeasible", "over budget", "merged"])]
    rows = [
        [
            *(label(row[key]) for key in record.metaparameters),
            _whole(row["params"]),
            _whole(row["macs"]),
            str(row["state"]),
            str(row["reason"]),
        ]
        for _, row in dropped.iterrows()
    ]
    numbers = ("params", "FLOPs (multiply-adds)")
    return Table("", (*record.metaparameters, *numbers, "state", "reason"), frozenset(numbers), rows)


def _runs(runs: pd.DataFrame) -> Table:
    numbers = ("seed", "accuracy, %", "seconds", "images/s", "peak memory, MiB")
    rows = [
        [
            str(row["label"]),
            str(row["seed"]),
            _number(row["accuracy"], 2, 100),
            _number(row["seconds"], 1),
            _number(row["images_per_second"], 0),
            _number(row["peak_memory_bytes"], 0, 2**-20),
            _outcome(row),
        ]
        for _, row in runs.iterrows()
    ]
    return Table("", ("point", *numbers, "state"), frozenset(numbers), rows)


def _how_measured(record: StudyRecord) -> dict[str, str]:
    study = record.study
    images = analysis.validation_images(record)
    fixed = "; ".join(f"{key} = {label(value)}" for key, value in study.fixed.items())
    limits = "; ".join(
        f"{quantity} {word} {limit:,.0f}"
        for quantity, range_ in study.constraints.items()
        for word, limit in (("at least", range_.min), ("at most", range_.max))
        if limit is not None
    )
    seconds = float(analysis.runs_table(record)["seconds"].sum())
    return {
        "Space": f"{study.space}, preset {study.preset}" + (f", with {fixed}" if fixed else ""),
        "Varied": "; ".join(f"{key}: {', '.join(map(label, values))}" for key, values in study.varied.items()),
        "Limits": limits or "none",
        "Data": f"{study.data}, fingerprint {record.data_fingerprint[:16]}",
        "Budget": f"{study.budget.epochs} epochs of {study.budget.images:,} training images; measured on "
        + (f"{images:,} validation images" if images else f"at most {study.budget.validation:,} validation images"),
        "Seeds": str(study.seeds),
        "Recipe": "SGD with Nesterov momentum; the rate warms up, stays constant and falls linearly to zero over the last share: "
        + "; ".join(f"{key} = {label(value)}" for key, value in study.recipe.model_dump().items()),
        "Accuracy": "Share of the validation images that the network gets right after the last epoch, not the best over epochs",
        "Training time": f"{seconds:,.0f} s, summed over the runs",
    }


def _named(record: StudyRecord, row: pd.Series[Any]) -> str:
    return ", ".join(f"{key} = {label(row[key])}" for key in record.metaparameters)


def _amount(cost: str, value: float) -> str:
    """An amount of a cost in a sentence: `364 k params`, `6.40 M FLOPs`."""
    scale, prefix = next((step for step in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= step[0]), (1.0, ""))
    number = f"{value / scale:#.3g}".rstrip(".")
    return f"{number}{SPACE}{prefix} {_COSTS[cost]}" if prefix else f"{number} {_COSTS[cost]}"


def _outcome(row: pd.Series[Any]) -> str:
    return f"{row['state']}: {row['reason']}" if row["reason"] else str(row["state"])


def _plus_minus(row: pd.Series[Any]) -> str:
    accuracy, half = _number(row["accuracy"], 1, 100), (row["high"] - row["low"]) / 2
    return accuracy if math.isnan(half) else f"{accuracy} \N{PLUS-MINUS SIGN} {100 * half:.1f}"


def _whole(value: Any) -> str:  # noqa: ANN401 (a whole number or NA of a row)
    return UNKNOWN if pd.isna(value) else f"{value:,}"


def _number(value: Any, digits: int, factor: float = 1) -> str:  # noqa: ANN401 (a number, None, NaN or NA of a row)
    return UNKNOWN if pd.isna(value) else f"{float(value) * factor:,.{digits}f}"
