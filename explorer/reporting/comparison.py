"""The report on a comparison of studies: a self-contained page, with figures and tables as files next to it."""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import partial
from pathlib import Path

from explorer.analysis import Findings, Interval
from explorer.analysis.comparison import Comparison, Lead
from explorer.drawing import comparison_plots
from explorer.drawing.figures import TALL_INCHES, Panel, panel
from explorer.drawing.formats import FOLDER
from explorer.networks.quantities import QUANTITIES
from explorer.reporting.index import SUMMARY, Summary
from explorer.reporting.pages import data_files, render, write_page
from explorer.reporting.tables import Table, number, whole
from explorer.reporting.words import amount, listed, percent, signed, with_interval

UNEQUAL = 4  # above this ratio of point counts, the intervals of leads are too narrow


def write_comparison(comparison: Comparison, folder: Path, command: str, formats: Collection[str] = ()) -> Path:
    """Write `report.html`, the tables as CSV and the figures. Return the path of the page."""
    title, said, panels = f"{listed(comparison.names)} compared", statements(comparison), _panels(comparison)
    days = [one.effort.last for one in comparison.studies if one.effort]
    day = f"{max(days):%Y-%m-%d}" if days else ""
    files = data_files({"budgets": comparison.at_budgets}, panels, formats)
    page = render(
        "comparison.html.j2",
        title=title,
        setting=[f"against {QUANTITIES[comparison.cost].noun}", *([f"measured {day}"] if day else [])],
        answer=said,
        panels=panels,
        fronts=_fronts(comparison),
        budgets=_budgets(comparison),
        studies=_studies(comparison),
        note=_note(comparison),
        command_text=command,
        file_names=list(files),
    )
    summary = Summary(
        name="-vs-".join(comparison.names),
        title=title,
        answer=" ".join(said[:2]),
        day=day,
        figure=f"{FOLDER}/{panels[0].name}.svg",
    )
    return write_page(files | {SUMMARY: summary.as_bytes(), "report.html": page}, folder)


def statements(comparison: Comparison) -> list[str]:
    """Return the result of the comparison as sentences, starting with differences in training."""
    said, cost = _different_training(comparison), QUANTITIES[comparison.cost].noun
    reference = comparison.reference
    if comparison.tells_nothing:
        return said + [_says_nothing(one) for one in comparison.tells_nothing]
    if reference is not None and comparison.leads:
        budgets = amount(comparison.cost, reference.smallest, reference.largest)
        leads = "; ".join(map(_lead, comparison.leads))
        trained = listed([f"{seen:,}" for seen in sorted({one.record.study.budget.seen for one in comparison.studies})])
        said.append(
            f"Comparing the best affordable points at {trained} images, averaged over budgets from {budgets}: {leads}."
        )
    if not comparison.same_images:
        said.append(
            "The studies were measured on different images, so their accuracies are not compared: one data set may "
            "simply be harder."
        )
    elif reference is None:
        said.append(f"All points cost the same {cost}, so there are no budgets to compare over.")
    counts = comparison.on_joint_front
    if counts is not None:
        parts = [f"{count} of {name}" for name, count in counts.items()]
        said.append(f"Points on the joint front of accuracy and {cost}: {listed(parts)}.")
    said += [
        f"{shared.first} and {shared.second} both measured {shared.networks} networks; Kendall's tau between their "
        f"rankings is {with_interval(shared.kendall)}."
        for shared in comparison.shared_networks
    ]
    return said


def _says_nothing(findings: Findings) -> str:
    if findings.record.study.is_trial:
        return f"{findings.record.study.name} is a trial run: its accuracies mean nothing."
    return f"No network of {findings.record.study.name} has learnt anything yet, so there is nothing to compare."


def _lead(lead: Lead) -> str:
    ahead = lead.difference.estimate >= 0
    sign = 1 if ahead else -1
    first, second = (lead.first, lead.second) if ahead else (lead.second, lead.first)
    low, high = sorted((sign * lead.difference.low, sign * lead.difference.high))
    text = f"{first} is {100 * abs(lead.difference.estimate):.1f} points more accurate than {second}"
    if math.isnan(low):
        return f"{text} (interval unknown)"
    interval = f"95 % interval {signed(100 * low, '+.1f')} to {signed(100 * high, '+.1f')}"
    if not lead.difference.separated:
        estimate = f"{100 * abs(lead.difference.estimate):+.1f} points, {interval}"
        return f"the runs cannot tell {first} from {second} ({estimate})"
    return f"{text} ({interval})"


def _panels(comparison: Comparison) -> list[Panel]:
    panels = [
        panel(
            "fronts",
            f"Accuracy against {QUANTITIES[comparison.cost].noun}",
            "Steps: each study's front, its points with 95 % intervals. Faint: other points.",
            partial(comparison_plots.fronts, comparison),
            TALL_INCHES,
        ),
        panel(
            "errors",
            "How the errors are distributed",
            "Share of each study's networks whose error is at most the value on the axis. It depends as much on which "
            "networks were chosen as on the space.",
            partial(comparison_plots.errors, comparison),
        ),
    ]
    for index, shared in enumerate(comparison.shared_networks):
        names = (shared.first, shared.second)
        together = comparison.common(*map(comparison.names.index, names))
        title = f"The same networks in {shared.first} and {shared.second}"
        draw = partial(comparison_plots.shared, together, names)
        panels.append(panel(f"shared{index}", title, f"{shared.networks} networks.", draw))
    return panels


def _fronts(comparison: Comparison) -> Table:
    columns = ("study", "hypervolume", "mean accuracy over the budgets, %")
    rows = [
        [name, with_interval(found.area, ".1f", 100), with_interval(found.mean_accuracy, ".1f", 100)]
        for name, found in zip(comparison.names, comparison.hypervolumes, strict=False)
    ]
    reference = comparison.reference
    caption = "Nothing to compare." if comparison.tells_nothing else "There are no common budgets."
    if reference is not None and rows:
        caption = (
            "Hypervolume: points of accuracy times doublings of the cost, measured from "
            f"{percent(reference.accuracy)} and {amount(comparison.cost, reference.largest)}. Budgets: from "
            f"{amount(comparison.cost, reference.smallest)} up. In brackets: 95 % intervals for each study by itself."
        )
    return Table(caption, columns, frozenset(columns[1:]), rows)


def _budgets(comparison: Comparison) -> Table:
    rows = [
        [
            amount(comparison.cost, row["budget"]),
            row["study"],
            row["label"],
            amount(comparison.cost, row["cost"]),
            with_interval(Interval(row["accuracy"], row["low"], row["high"]), ".1f", 100),
            row["standing"],
        ]
        for row in comparison.at_budgets.to_dict(orient="records")
    ]
    columns = ("budget", "study", "best point", "its cost", "accuracy, %", "standing")
    caption = "Standing: whether the point is separated from the best one at this budget."
    return Table(caption, columns, frozenset({"budget", "its cost", "accuracy, %"}), rows)


def _studies(comparison: Comparison) -> Table:
    rows = [
        [
            study.name,
            f"{study.space}, {study.preset}",
            f"{study.data} ({findings.record.data_fingerprint[:8]})",
            f"{study.budget.epochs} x {whole(study.budget.images)}",
            str(len(findings.measured)),
            str(study.seeds),
            number(findings.accuracies.pooled.deviation, 2, 100),
        ]
        for findings, study in ((one, one.record.study) for one in comparison.studies)
    ]
    columns = ("study", "space, preset", "data", "budget", "points", "seeds", "spread between seeds, points")
    return Table("", columns, frozenset(columns[3:]), rows)


def _different_training(comparison: Comparison) -> list[str]:
    budgets = list(dict.fromkeys(one.record.study.budget.short for one in comparison.studies))
    recipes = {one.record.study.recipe for one in comparison.studies}
    if len(budgets) == 1 and len(recipes) == 1:
        return []
    what = f"budgets ({listed(budgets)})" if len(budgets) > 1 else "recipes"
    return [f"The studies were trained with different {what}, so differences may come from the training."]


def _note(comparison: Comparison) -> str:
    if not comparison.same_images:
        return ""
    said = (
        "All studies were measured on the same validation images and are compared image by image, assuming that seeds "
        "scatter equally in all of them. Comparisons are not adjusted for their number."
    )
    counts = [len(one.measured) for one in comparison.studies]
    if max(counts) > UNEQUAL * min(counts):
        said += (
            f" The studies have {min(counts):,} to {max(counts):,} points. The best of many points looks better by "
            "chance than the best of few, so 95 % intervals cover less often here (83 to 90 % in simulations), which "
            "favours the larger study."
        )
    if any(not one.accuracies.pooled.freedom for one in comparison.studies):
        said += " The intervals of a study with one seed account for the images only."
    return said
