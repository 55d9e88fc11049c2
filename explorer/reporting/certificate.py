"""The report of a certificate: a self-contained page, with figures and tables as files next to it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from explorer.certification import statistics
from explorer.certification.model import COSTS, FACTORS, ZERO_COST, Certificate
from explorer.drawing import certificate_plots
from explorer.drawing.figures import TALL_INCHES, panel
from explorer.drawing.formats import FOLDER
from explorer.networks.quantities import QUANTITIES
from explorer.reporting.index import SUMMARY, Summary
from explorer.reporting.pages import data_files, render, write_page
from explorer.reporting.setting import data_name
from explorer.reporting.tables import Table, amounts, number, recipe_text, whole
from explorer.reporting.trust import missing_points, trust
from explorer.reporting.words import column_interval, listed


def write_certificate(certificate: Certificate, folder: Path, formats: Collection[str] = ()) -> Path:
    """Write `report.html`, `certificate.json`, the tables as CSV and the figures. Return the path of the page."""
    rankers, epochs = statistics.rankers(certificate), statistics.epochs(certificate)
    accuracies = statistics.accuracies(certificate)
    panels = [
        panel(
            "agreement",
            "How well short runs rank",
            "Bars: 95 % intervals over points. Blue: runs whose learning rate has fallen to zero; orange: their mean "
            "training loss. Grey line: a run with the largest budget after each epoch, on fewer validation images. "
            "Dashed lines: costs and a score of untrained networks, and another seed at the largest budget.",
            lambda ax: certificate_plots.agreement(rankers, epochs, ax),
            TALL_INCHES,
        ),
        panel(
            "accuracies",
            "Short runs and long ones",
            "One mark per point; means over the seeds.",
            lambda ax: certificate_plots.scatter(accuracies, ax),
        ),
    ]
    answer = [*trust(certificate), *missing_points(certificate)]
    files = data_files({"rankers": rankers, "epochs": epochs, "points": accuracies}, panels, formats)
    title = f"How far short runs of {certificate.space} can be trusted"
    summary = Summary(name=certificate.name, title=title, answer=answer[0], figure=f"{FOLDER}/{panels[0].name}.svg")
    files["certificate.json"] = f"{certificate.model_dump_json(indent=1)}\n".encode()
    page = render(
        "certificate.html.j2",
        title=title,
        certificate=certificate,
        setting=_setting(certificate),
        answer=answer,
        panels=panels,
        rankers=_rankers(rankers),
        points=_points(accuracies),
        measured_facts=_measured(certificate),
        file_names=list(files),
    )
    return write_page(files | {SUMMARY: summary.as_bytes(), "report.html": page}, folder)


def _setting(certificate: Certificate) -> list[str]:
    budget = certificate.budget
    epochs = listed([str(factor * budget.epochs) for factor in FACTORS])
    return [
        f"certificate {certificate.name}",
        f"{len(certificate.points)} points on {data_name(certificate.data)}",
        f"{budget.images:,} images \N{MULTIPLICATION SIGN} {epochs} epochs",
        f"{certificate.seeds} seeds",
    ]


def _rankers(rankers: pd.DataFrame) -> Table:
    names = {"accuracy": "annealed run", "ceiling": "annealed run, another seed"}
    names |= {cost: QUANTITIES[cost].heading for cost in COSTS} | {ZERO_COST: "synaptic flow, untrained"}
    rows = [
        [
            names.get(row["ranker"], row["ranker"]),
            "" if pd.isna(row["factor"]) else f"{row['factor']} x",
            whole(row["images"]) if row["images"] else "",
            column_interval(row, "kendall"),
            column_interval(row, "spearman"),
            number(row["kept"], 1),
        ]
        for row in rankers.to_dict(orient="records")
    ]
    kept = f"of the best {statistics.BEST} kept"
    columns = ("ranked by", "budget", "images seen", "Kendall's tau", "Spearman", kept)
    caption = (
        f"Agreement with the accuracies of other seeds at {FACTORS[-1]} times the budget; in brackets 95 % intervals "
        "over points."
    )
    return Table(caption, columns, frozenset(columns[1:]), rows)


def _points(accuracies: pd.DataFrame) -> Table:
    costs = [QUANTITIES[cost] for cost in COSTS]
    budgets = {f"x{factor}": f"{factor} x, %" for factor in FACTORS}
    rows = [
        [row["label"], *amounts(row, costs), *(number(row[name], 1, 100) for name in budgets)]
        for row in accuracies.to_dict(orient="records")
    ]
    columns = ("point", *(cost.heading for cost in costs), *budgets.values())
    return Table("Mean accuracy over the seeds at each budget.", columns, frozenset(columns[1:]), rows)


def _measured(certificate: Certificate) -> dict[str, str]:
    budget = certificate.budget
    return {
        "Space": f"{certificate.space}, preset {certificate.preset}",
        "Points": f"{len(certificate.points)} points, drawn before any training from the space's ranges, evenly over "
        "log multiply-adds, from a quarter to twice the preset's",
        "Data": f"{certificate.data}, fingerprint {certificate.data_fingerprint[:16]}",
        "Budget": f"{budget.epochs} epochs of {budget.images:,} training images, and 2, 4 and 8 times as many epochs; "
        f"measured on {certificate.validation_images:,} validation images",
        "Seeds": str(certificate.seeds),
        "Recipe": recipe_text(certificate.recipe),
        "Not done": f"{certificate.unfinished} runs",
    }
