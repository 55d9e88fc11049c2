"""A certificate's report: one self-contained page with its figures and tables, and these as files beside it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from explorer.certification import statistics
from explorer.certification.model import COSTS, FACTORS, Certificate
from explorer.drawing import certificate_plots
from explorer.drawing.figures import TALL_INCHES, panel
from explorer.drawing.formats import FOLDER
from explorer.networks.quantities import QUANTITIES
from explorer.reporting.index import SUMMARY, Summary
from explorer.reporting.pages import environment, write_page
from explorer.reporting.tables import Table, amounts, number, recipe_text, whole
from explorer.reporting.trust import missing_points, trust
from explorer.reporting.words import with_interval


def write_certificate(certificate: Certificate, folder: Path, formats: Collection[str] = ()) -> Path:
    """Writes `report.html`, `certificate.json`, the tables as CSV and the figures into a folder; returns the page's path."""
    rankers, epochs = statistics.rankers(certificate), statistics.epochs(certificate)
    accuracies = statistics.accuracies(certificate)
    panels = [
        panel(
            "agreement",
            "How well short runs rank",
            "Bars: 95 % intervals over points. Blue: runs whose rate has fallen to zero; orange: their mean training loss. Grey line: a run "
            "of the largest budget, read after each epoch, on the fewer validation images of a glance. Broken lines: what costs alone reach, and what another seed of the largest budget does.",
            lambda ax: certificate_plots.agreement(rankers, epochs, ax),
            TALL_INCHES,
        ),
        panel(
            "accuracies",
            "Short runs and long ones",
            "One mark for each point; means over the seeds.",
            lambda ax: certificate_plots.scatter(accuracies, ax),
        ),
    ]
    page = (
        environment()
        .get_template("certificate.html.j2")
        .render(
            certificate=certificate,
            answer=[*trust(certificate), *missing_points(certificate)],
            panels=panels,
            tables={"rankers": _rankers(rankers), "points": _points(accuracies)},
            measured=_measured(certificate),
        )
    )
    tables = {"rankers": rankers, "epochs": epochs, "points": accuracies}
    files = {f"{name}.csv": table.to_csv(index=False, lineterminator="\n").encode() for name, table in tables.items()}
    for drawn in panels:
        files |= drawn.files(formats)
    files[SUMMARY] = Summary(
        name=certificate.name,
        title=f"How far short runs of {certificate.space} can be trusted",
        answer=trust(certificate)[0],
        progress="",
        day="",
        figure=f"{FOLDER}/{panels[0].name}.svg",
        verdicts=[],
    ).as_bytes()
    files["certificate.json"] = f"{certificate.model_dump_json(indent=1)}\n".encode()
    return write_page(files | {"report.html": page.encode()}, folder)


def _rankers(rankers: pd.DataFrame) -> Table:
    names = {"accuracy": "annealed run", "ceiling": "annealed run, another seed"}
    names |= {cost: QUANTITIES[cost].heading for cost in COSTS}
    rows = [
        [
            names.get(row["ranker"], row["ranker"]),
            "" if pd.isna(row["factor"]) else f"{row['factor']} x",
            whole(row["images"]) if row["images"] else "",
            with_interval(row, "kendall"),
            with_interval(row, "spearman"),
            number(row["kept"], 1),
        ]
        for row in rankers.to_dict(orient="records")
    ]
    columns = (
        "ranked by",
        "budget",
        "images seen",
        "Kendall's tau",
        "Spearman",
        f"of the best {statistics.BEST} kept",
    )
    caption = f"Agreement with the accuracies at {FACTORS[-1]} times the budget, of other seeds; in brackets the 95 % interval over points."
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
        "Points": f"{len(certificate.points)} points, drawn before any training from the ranges of the space, evenly over the logarithm "
        "of multiply-adds, from a quarter to twice the preset's",
        "Data": f"{certificate.data}, fingerprint {certificate.data_fingerprint[:16]}",
        "Budget": f"{budget.epochs} epochs of {budget.images:,} training images, and 2, 4 and 8 times as many epochs; measured on "
        f"{certificate.validation_images:,} validation images",
        "Seeds": str(certificate.seeds),
        "Recipe": recipe_text(certificate.recipe),
        "Not done": f"{certificate.unfinished} runs",
    }
