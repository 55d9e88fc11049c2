"""A report of several studies side by side: one self-contained page, with its figures and tables as files beside it."""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import partial
from pathlib import Path

from explorer.analysis.comparison import Comparison, Lead, SharedNetworks
from explorer.drawing import comparison_plots
from explorer.drawing.figures import TALL_INCHES, Panel, panel
from explorer.drawing.formats import FOLDER
from explorer.networks.quantities import QUANTITIES
from explorer.reporting.index import SUMMARY, Summary
from explorer.reporting.notes import with_ends
from explorer.reporting.pages import environment, write_page
from explorer.reporting.tables import Table, number, whole
from explorer.reporting.words import amount, listed, percent

UNLIKE = 4  # times as many points as another study has, from where intervals of leads are too narrow


def write_comparison(comparison: Comparison, folder: Path, command: str, formats: Collection[str] = ()) -> Path:
    """Writes `report.html`, the tables as CSV and the figures into a folder; returns the page's path."""
    budgets, panels = comparison.at_budgets, _panels(comparison)
    page = (
        environment()
        .get_template("comparison.html.j2")
        .render(
            title=_title(comparison),
            cost=QUANTITIES[comparison.cost].noun,
            answer=statements(comparison),
            panels=panels,
            tables={
                "fronts": _fronts(comparison),
                "budgets": _budgets(comparison),
                "studies": _studies(comparison),
            },
            notes=_notes(comparison),
            command=command,
        )
    )
    files = {"budgets.csv": budgets.to_csv(index=False, lineterminator="\n").encode()}
    for one in panels:
        files |= one.files(formats)
    files[SUMMARY] = _summary(comparison, panels)
    return write_page(files | {"report.html": page.encode()}, folder)


def statements(comparison: Comparison) -> list[str]:
    """What the comparison comes to, in sentences."""
    said = [*_unlike(comparison), *_leads(comparison)]
    if not comparison.same_images:
        said.append(
            "The studies were measured on different images, so their accuracies are not compared: one data set may just be harder."
        )
    elif comparison.reference is None:
        said.append(
            f"All points cost the same {QUANTITIES[comparison.cost].noun}, so there are no budgets to compare over."
        )
    counts = comparison.on_joint_front
    if counts is not None:
        parts = [f"{count} of {name}" for name, count in counts.items()]
        said.append(
            f"On the front of all together, accuracy against {QUANTITIES[comparison.cost].noun}, are {listed(parts)}."
        )
    return [*said, *(_shared(shared) for shared in comparison.shared_networks)]


def _leads(comparison: Comparison) -> list[str]:
    """Which study is ahead of which, in a sentence for all."""
    reference, leads = comparison.reference, comparison.leads
    if reference is None or not leads:
        return []
    budgets = f"{amount(comparison.cost, reference.smallest)} to {amount(comparison.cost, reference.largest)}"
    said = "; ".join(map(_lead, leads))
    return [f"By the best affordable point, on average over budgets from {budgets}: {said}."]


def _lead(lead: Lead) -> str:
    ahead = lead.difference.estimate >= 0
    sign = 1 if ahead else -1
    first, second = (lead.first, lead.second) if ahead else (lead.second, lead.first)
    low, high = sorted((sign * lead.difference.low, sign * lead.difference.high))
    text = f"{first} is {100 * abs(lead.difference.estimate):.1f} points more accurate than {second}"
    if math.isnan(low):
        return f"{text} (how sure that is, is not known)"
    verdict = "" if lead.difference.separated else ": not separated"
    return f"{text} (95 % interval {100 * low:+.1f} to {100 * high:+.1f}{verdict})"


def _shared(shared: SharedNetworks) -> str:
    tau = shared.kendall
    ends = "" if math.isnan(tau.low) else f" ({tau.low:.2f} to {tau.high:.2f})"
    return (
        f"{shared.first} and {shared.second} have both measured {shared.networks} networks; they rank them with Kendall's tau "
        f"{tau.estimate:.2f}{ends}."
    )


def _panels(comparison: Comparison) -> list[Panel]:
    cost = QUANTITIES[comparison.cost].noun
    panels = [
        panel(
            "fronts",
            f"Accuracy against {cost}",
            "Stairs: the front of each study, its points with 95 % intervals. Faint: its other points.",
            partial(comparison_plots.fronts, comparison),
            TALL_INCHES,
        ),
        panel(
            "errors",
            "How the errors are distributed",
            "Of the networks of each study, the share with at most so large an error. It says as much about which networks were chosen as about the space.",
            partial(comparison_plots.errors, comparison),
        ),
    ]
    for number_, shared in enumerate(comparison.shared_networks):
        names = (shared.first, shared.second)
        together = comparison.common(comparison.names.index(shared.first), comparison.names.index(shared.second))
        title = f"The same networks in {shared.first} and {shared.second}"
        draw = partial(comparison_plots.shared, together, names)
        panels.append(panel(f"shared{number_}", title, f"{shared.networks} networks.", draw))
    return panels


def _fronts(comparison: Comparison) -> Table:
    """What the front of each study encloses."""
    columns = ("study", "hypervolume", "mean accuracy over the budgets, %")
    rows = [
        [name, with_ends(found.area, 100), with_ends(found.mean_accuracy, 100)]
        for name, found in zip(comparison.names, comparison.hypervolumes, strict=False)
    ]
    reference = comparison.reference
    caption = "There are no common budgets."
    if reference is not None:
        caption = (
            f"Hypervolume in points of accuracy times doublings of the cost, from the reference point of {percent(reference.accuracy)} "
            f"and {amount(comparison.cost, reference.largest)}; budgets from {amount(comparison.cost, reference.smallest)} on. In brackets "
            "95 % intervals, of each study by itself."
        )
    return Table(caption, columns, frozenset(columns[1:]), rows)


def _budgets(comparison: Comparison) -> Table:
    """The best affordable point of each study at each budget."""
    frame = comparison.at_budgets
    rows = [
        [
            amount(comparison.cost, row["budget"]),
            row["study"],
            row["label"],
            amount(comparison.cost, row["cost"]),
            f"{100 * row['accuracy']:.1f}"
            + (f" ({100 * row['low']:.1f} to {100 * row['high']:.1f})" if math.isfinite(row["low"]) else ""),
            row["standing"],
        ]
        for row in frame.to_dict(orient="records")
    ]
    columns = ("budget", "study", "best point", "its cost", "accuracy, %", "standing")
    caption = "Standing: whether the point is separated from the best one at this budget."
    return Table(caption, columns, frozenset({"budget", "its cost", "accuracy, %"}), rows)


def _studies(comparison: Comparison) -> Table:
    rows = []
    for findings in comparison.studies:
        study = findings.record.study
        rows.append(
            [
                study.name,
                f"{study.space}, {study.preset}",
                f"{study.data} ({findings.record.data_fingerprint[:8]})",
                f"{study.budget.epochs} x {whole(study.budget.images)}",
                str(len(findings.measured)),
                str(study.seeds),
                number(findings.accuracies.pooled.deviation, 2, 100),
            ]
        )
    columns = ("study", "space, preset", "data", "budget", "points", "seeds", "spread between seeds, points")
    return Table("", columns, frozenset(columns[3:]), rows)


def _unlike(comparison: Comparison) -> list[str]:
    """That studies were not trained alike, which must be known before anything that follows is read."""
    budgets = {one.record.study.budget.short: one for one in comparison.studies}
    recipes = {one.record.study.recipe for one in comparison.studies}
    if len(budgets) == 1 and len(recipes) == 1:
        return []
    what = f"budgets of {listed(list(budgets))} images and epochs" if len(budgets) > 1 else "different recipes"
    return [f"The studies were trained with {what}, so what follows does not tell networks from training."]


def _notes(comparison: Comparison) -> list[str]:
    """How the numbers came about."""
    if not comparison.same_images:
        return []
    said = [
        (
            "All were measured on the same validation images and are compared image by image; seeds are taken to scatter alike in all of them. "
            "Comparisons are not adjusted for their number."
        )
    ]
    counts = [len(one.measured) for one in comparison.studies]
    if max(counts) > UNLIKE * min(counts):
        said.append(
            f"The studies have {min(counts):,} to {max(counts):,} points. The best of many looks better by chance than the best of few, and where "
            "numbers are so unlike the intervals hold the truth less often than they say, in favour of the larger study (simulated: 83 to 90 %)."
        )
    if any(not one.accuracies.pooled.freedom for one in comparison.studies):
        said.append("Where a study has one seed, its own intervals hold the images alone.")
    return said


def _title(comparison: Comparison) -> str:
    return f"{listed(comparison.names)} compared"


def _summary(comparison: Comparison, panels: list[Panel]) -> bytes:
    """What an index of reports shows of this one."""
    days = [one.effort.last for one in comparison.studies if one.effort]
    return Summary(
        name="-vs-".join(comparison.names),
        title=_title(comparison),
        answer=" ".join(statements(comparison)[:2]),
        progress="",
        day=f"{max(days):%Y-%m-%d}" if days else "",
        figure=f"{FOLDER}/{panels[0].name}.svg",
        verdicts=[],
    ).as_bytes()
