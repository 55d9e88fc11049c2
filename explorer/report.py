"""A study's report: one self-contained page with its figures and tables, and these as files beside it.

Everything is made from stored rows, without torch, and the same rows give the same bytes: no time, no random identifier.
"""

from __future__ import annotations

import io
import math
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
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

from explorer import analysis, maps, plots
from explorer.errors import ExplorerError
from explorer.record import StudyRecord
from explorer.space import label
from explorer.study import Study

PANEL_INCHES = (4.2, 3.3)  # small, so that its type is still read on a phone
TALL_INCHES = (4.2, 4.6)  # for maps, and for lines that lie close together
MOST_NAMES = 8  # in a sentence
MOST_GROUPS = 4  # of near-equal cost, the costliest
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
        first=[panels[name] for name in ("map", "curve", "published") if name in panels],
        enlarged=enlarged_note(record),
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
    """What the numbers say, in a few sentences: the best point, what it is not separated from, and the worst.

    Series are compared at equal costs instead, and of a triangle its corners are named.
    """
    shape = analysis.shape(record)
    frame = analysis.triangle(record) if shape == "triangle" else analysis.ranked(record)
    measured = frame[frame["accuracy"].notna() & frame["same_as"].isna()]
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
    if shape == "series":
        return " ".join([text, *_at_equal_cost(record, measured)])
    return (
        f"{text} {_rivals(measured)}{_corners(frame)} The least accurate is {_named(record, worst)}: "
        f"{percent(worst['accuracy'])}, with {_amount('params', worst['params'])} and {_amount('macs', worst['macs'])}."
    )


def _rivals(measured: pd.DataFrame) -> str:
    """Which points are not separated from the best one."""
    rivals = measured[measured["standing"] == "not separated"].sort_values("accuracy", ascending=False, kind="stable")
    if rivals.empty:
        return "It is separated from every other point."
    if len(rivals) > MOST_NAMES:
        return f"Not separated from it: {len(rivals)} of the {len(measured) - 1} other points."
    return f"Not separated from it: {'; '.join(rivals['label'])}."


def _corners(frame: pd.DataFrame) -> str:
    """Of a triangle, whether its corners, which give all to one factor, are separated from the best point."""
    groups: dict[str, list[str]] = {"separated": [], "not separated": []}
    for column in analysis.share_columns(frame):
        corner = frame[(frame[column] > 1 - 1e-9) & frame["standing"].isin(groups)]
        for standing in corner["standing"]:
            groups[standing].append(f"{column.removeprefix(analysis.SHARE)} only")
    parts = [
        f"{_listed(names)} {'is' if len(names) == 1 else 'are'} {standing}"
        for standing, names in groups.items()
        if names
    ]
    return f" Of the corners, {' and '.join(parts)} from it." if parts else ""


def _at_equal_cost(record: StudyRecord, measured: pd.DataFrame) -> list[str]:
    """For each group of points of near-equal cost, a sentence: which is best, and which are separated from it."""
    against = record.study.plot.against
    groups = [group for group in analysis.near_in_cost(measured, against) if len(set(group["series"])) > 1]
    return [_best_of(record, group, against) for group in groups[-MOST_GROUPS:]]


def _best_of(record: StudyRecord, group: pd.DataFrame, against: str) -> str:
    twice = group["series"].duplicated(keep=False)
    group = group.assign(name=group["series"].where(~twice, group["series"] + " at " + group["label"]))
    best, *others = (row for _, row in group.sort_values("accuracy", ascending=False, kind="stable").iterrows())
    names: dict[bool, list[str]] = {True: [], False: []}
    for other in others:
        names[analysis.difference(record, best["point"], other["point"]).separated].append(other["name"])
    parts = [
        f"{word} from {_listed(names[key])}"
        for key, word in ((True, "separated"), (False, "not separated"))
        if names[key]
    ]
    costs = _amount(against, group[against].min(), group[against].max())
    return f"At {costs}, {best['name']} is best ({percent(best['accuracy'])}), {' and '.join(parts)}."


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


def ratio_note(record: StudyRecord) -> str:
    """How far the realised networks are from the costs that the scaling asks for; empty where nothing is scaled."""
    if not {"nominal_ratio", "actual_ratio"} <= set(record.derived):
        return ""
    apart = (record.points["actual_ratio"] / record.points["nominal_ratio"]).astype(float).dropna()
    if apart.empty:
        return ""
    return (
        "Nominal ratio: the multiply-adds that the scaling asks for, relative to the base network; actual ratio: those of the realised "
        f"network. Filters and repeats are rounded, so the actual ratio is {apart.min():.2f} to {apart.max():.2f} times the nominal one "
        f"(median {apart.median():.2f})."
    )


def enlarged_note(record: StudyRecord) -> str:
    """Which points see images that are only enlarged, as their input is larger than the images of the data."""
    points = record.points[record.points["state"].isin(["planned", "merged"])]
    larger = points[(points["input_pixels"] > points["image_pixels"]).fillna(value=False)]
    if larger.empty:
        return ""
    names = [f"{row['label']} ({row['input_pixels']} pixels)" for _, row in larger.iterrows()]
    listed = "; ".join(names[:MOST_NAMES]) + (f"; and {len(names) - MOST_NAMES} more" if names[MOST_NAMES:] else "")
    size = larger["image_pixels"].iloc[0]
    return f"The images have {size} pixels. They are only enlarged, and show no more, at: {listed}."


def draw_panels(record: StudyRecord) -> dict[str, Panel]:
    """The figures by name: `curve`, `front_params`, `front_macs`, `learning_curves`, and `map` and `published` where there is one."""
    summary = analysis.summarise(record)
    panels = [
        *_map(record),
        _curve(record, summary),
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


def _map(record: StudyRecord) -> Iterable[Panel]:
    """Accuracy over two dimensions of the space, for the studies whose points have these."""
    shape = analysis.shape(record)
    if shape == "triangle":
        frame = analysis.triangle(record)
        caption = "Each grid line towards a corner gives a fifth more to its factor. " + _ringed("ring", frame)
        yield _panel("map", "Accuracy over the shares", caption, lambda ax: maps.ternary(frame, ax), TALL_INCHES)
    if shape == "plane":
        frame, params = analysis.ranked(record), analysis.plane_params(record)
        caption = "Lines of equal params, exact at the middles of the cells and in proportion between them. " + _ringed(
            "frame", frame
        )
        title = f"Accuracy over {' and '.join(record.metaparameters)}"
        yield _panel("map", title, caption, lambda ax: maps.plane(frame, params, ax), TALL_INCHES)


def _ringed(mark: str, frame: pd.DataFrame) -> str:
    texts = {
        f"Thick {mark}: the best point.": (frame["standing"] == "best").any(),
        "Thin: not separated from it.": (frame["standing"] == "not separated").any(),
        "* misses some seeds.": (frame["state"] == "partly done").any(),
    }
    return " ".join(text for text, holds in texts.items() if holds)


def _curve(record: StudyRecord, summary: pd.DataFrame) -> Panel:
    """Accuracy against the cost that the study names; a line for each series where there are such."""
    against = record.study.plot.against
    title = f"Accuracy against {_COSTS[against]}"
    hollow = "Hollow marks miss some seeds." if (summary["state"] == "partly done").any() else ""
    if analysis.shape(record) == "series":
        caption = (
            "Mean over the seeds, with the 95 % interval as bars. Lines stand a little aside from each other. Black: a network that "
            f"several lines share. {hollow}"
        )
        draw = partial(plots.scaling_curves, summary, against=against)
        return _panel("curve", title, caption, draw, TALL_INCHES)
    ordered = len(record.metaparameters) == 1 and analysis.is_ordered(summary[record.metaparameters[0]])
    crowded = len(analysis.measured(summary)) > plots.MOST_LABELS
    names = (
        "shares in percent, in the order of the corners" if record.study.simplex else ", ".join(record.metaparameters)
    )
    caption = (
        f"Mean over the seeds, with the 95 % interval as {'a band' if ordered else 'bars'}; labels"
        f"{' where there is room' if crowded else ''}: {names}. {hollow}"
    )
    return _panel("curve", title, caption, lambda ax: plots.curve(summary, ax, against))


def percent(share: float) -> str:
    """A fraction as percent with one decimal."""
    return f"{100 * share:.1f}{SPACE}%"


_COSTS = {
    "params": "params",
    "macs": "FLOPs",
    "activations": "activations",
    "model_bytes": "model size",
    "memory_access_bytes": "memory access",
    "peak_activation_bytes": "peak activations",
}


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


def _panel(
    name: str, title: str, caption: str, draw: Callable[[Axes], None], inches: tuple[float, float] = PANEL_INCHES
) -> Panel:
    buffer = io.StringIO()
    with plots.style(), mpl.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        # The text stays text, and whoever shows it has fonts of their own.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=inches)
        figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
        draw(figure.subplots())
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Title": title})
    return Panel(name, title, caption, buffer.getvalue())


def _points(record: StudyRecord, summary: pd.DataFrame) -> Table:
    measured = ("accuracy, %", "spread, points", "seeds done", "params", "FLOPs (multiply-adds)", "model size, MiB")
    names, derived = _names(record), {name: name.replace("_", " ") for name in record.derived}
    rows = []
    for _, row in summary.iterrows():
        fronts = [_COSTS[cost] for cost, column in analysis.FRONTS.items() if row[column]]
        rows.append(
            [
                *(_cell(row[key]) for key in names),
                *(_quantity(row[key]) for key in derived),
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
    caption = "Accuracy: mean over the seeds and half the width of its 95 % interval. Spread: standard deviation between seeds."
    return Table(
        f"{caption} {ratio_note(record)}".strip(),
        (*names.values(), *derived.values(), *measured, "on the front of", "state"),
        frozenset({*derived.values(), *measured}),
        rows,
    )


def _names(record: StudyRecord) -> dict[str, str]:
    """The columns that tell points apart, each with what stands above it."""
    series = {"series": "series"} if (record.points["series"] != "").any() else {}
    shares = {"label": "shares, %"} if record.study.simplex else {}
    return series | shares | {key: key for key in record.metaparameters}


def _dropped(record: StudyRecord, summary: pd.DataFrame) -> Table:
    names = _names(record)
    dropped = summary[summary["state"].isin(["infeasible", "over budget", "merged"])]
    rows = [
        [
            *(_cell(row[key]) for key in names),
            _whole(row["params"]),
            _whole(row["macs"]),
            str(row["state"]),
            str(row["reason"]),
        ]
        for _, row in dropped.iterrows()
    ]
    numbers = ("params", "FLOPs (multiply-adds)")
    return Table("", (*names.values(), *numbers, "state", "reason"), frozenset(numbers), rows)


def _runs(runs: pd.DataFrame) -> Table:
    numbers = ("seed", "accuracy, %", "seconds", "images/s", "peak memory, MiB")
    names = ("series", "point") if (runs["series"] != "").any() else ("point",)
    rows = [
        [
            *([_cell(row["series"])] if "series" in names else []),
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
    return Table("", (*names, *numbers, "state"), frozenset(numbers), rows)


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
        "Varied": _varied(study),
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


def _varied(study: Study) -> str:
    """What differs between points, with its values; of a simplex, the product that is held."""
    held = []
    varied = {key: [value for value in values if value is not None] for key, values in study.varied.items()}
    if study.simplex:
        exponents = study.product_held.exponents
        product = " * ".join(f"{key}^{power}" if power > 1 else key for key, power in exponents.items())
        held = [f"{', '.join(exponents)}: {len(study.listed())} points with {product} = {study.simplex.ratio:g}"]
        varied = {key: values for key, values in varied.items() if key not in exponents}
    return "; ".join([*held, *(f"{key}: {', '.join(map(label, values))}" for key, values in varied.items())])


def _named(record: StudyRecord, row: pd.Series[Any]) -> str:
    """A point in a sentence: by its series, its shares, or else the values of its metaparameters."""
    own = {key: row[key] for key in record.metaparameters if not _missing(row[key])}
    values = ", ".join(f"{key} = {label(value)}" for key, value in own.items())
    if row["series"]:
        return _named_in_series(record, row)
    return f"{_shares(record, row)} ({values})" if analysis.shape(record) == "triangle" else values


def _named_in_series(record: StudyRecord, row: pd.Series[Any]) -> str:
    points = record.points
    sharing = points.loc[(points["point"] == row["point"]) | (points["same_as"] == row["point"]), "series"].nunique()
    if sharing > 1:
        return f"the network that {sharing} series share ({row['label']})"
    return str(row["series"] if row["series"] == row["label"] else f"{row['series']} at {row['label']}")


def _shares(record: StudyRecord, row: pd.Series[Any]) -> str:
    """Who gets how much of the ratio: `40 % of the doubling to depth, 60 % to width, 0 % to resolution`."""
    assert record.study.simplex is not None
    ratio = record.study.simplex.ratio
    whole = "the doubling" if ratio == 2 else f"the factor of {ratio:g}"  # noqa: PLR2004
    columns = [str(column) for column in row.index if str(column).startswith(analysis.SHARE)]
    # A corner is its own name.
    columns = [column for column in columns if row[column] > 1 - 1e-9] or columns
    parts = [f"{100 * row[column]:.3g}{SPACE}% to {column.removeprefix(analysis.SHARE)}" for column in columns]
    return ", ".join(parts).replace(" to ", f" of {whole} to ", 1)


def _listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _scaled(cost: str, value: float) -> tuple[float, str]:
    """What to divide an amount of a cost by in a sentence, and the words behind it."""
    if cost.endswith("bytes"):
        return 2.0**20, f"MiB of {_COSTS[cost]}"
    scale, prefix = next((step for step in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= step[0]), (1.0, ""))
    return scale, f"{prefix} {_COSTS[cost]}".strip()


def _amount(cost: str, low: float, high: float | None = None) -> str:
    """An amount of a cost in a sentence, or a range: `364 k params`, `6.40 to 6.52 M FLOPs`."""
    scale, words = _scaled(cost, low if high is None else high)
    numbers = dict.fromkeys(f"{value / scale:#.3g}".rstrip(".") for value in (low, high) if value is not None)
    return f"{' to '.join(numbers)}{SPACE}{words}"


def _outcome(row: pd.Series[Any]) -> str:
    return f"{row['state']}: {row['reason']}" if row["reason"] else str(row["state"])


def _missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _cell(value: object) -> str:
    """A metaparameter's value as `points_table` has it."""
    return UNKNOWN if _missing(value) or value == "" else label(value)


def _quantity(value: Any) -> str:  # noqa: ANN401 (a number, or None, NaN or NA)
    """A derived quantity: whole numbers as such, others with two decimals."""
    return _number(value, 0 if pd.api.types.is_integer(value) else 2)


def _plus_minus(row: pd.Series[Any]) -> str:
    accuracy, half = _number(row["accuracy"], 1, 100), (row["high"] - row["low"]) / 2
    return accuracy if math.isnan(half) else f"{accuracy} \N{PLUS-MINUS SIGN} {100 * half:.1f}"


def _whole(value: Any) -> str:  # noqa: ANN401 (a whole number or NA of a row)
    return UNKNOWN if pd.isna(value) else f"{value:,}"


def _number(value: Any, digits: int, factor: float = 1) -> str:  # noqa: ANN401 (a number, None, NaN or NA of a row)
    return UNKNOWN if pd.isna(value) else f"{float(value) * factor:,.{digits}f}"
