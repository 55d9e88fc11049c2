"""Data for the script of a report: the seeds, learning curves, layers and export command of each point."""

from __future__ import annotations

import json
import shlex
from typing import Any

from markupsafe import Markup

from explorer.analysis import Findings
from explorer.networks.quantities import QUANTITIES
from explorer.pricing.prices import LAYER_COLUMNS, layer_rows
from explorer.reporting.front_view import FrontView
from explorer.reporting.notes import changed_note
from explorer.reporting.pages import as_json
from explorer.reporting.tables import ACCURACY_PERCENT, KEY_CHARACTERS, further_amounts, known_costs, outcome
from explorer.reporting.words import given_options

SHOWN = 300
"""Maximum number of points to show layers for: points on a front first, then the most accurate ones."""


def front_data(view: FrontView) -> Markup:
    """Return the data as JSON for a page."""
    findings = view.findings
    data = view.data() | _layers(findings)
    data["costs"] = {cost: QUANTITIES[cost].noun for cost in view.axes if cost != "accuracy"}
    data["further"] = further_amounts(findings)
    data["tip"] = [ACCURACY_PERCENT, *(one.heading for one in known_costs(findings.points) if one.main)]
    data["runs"] = _runs(findings)
    data["command"] = _command(findings)
    return as_json(json.dumps(data, separators=(",", ":"), ensure_ascii=False))


def _runs(findings: Findings) -> dict[int, list[list[Any]]]:
    """Return the runs of each point: seed, state with its reason, accuracy after each epoch, and key."""
    runs: dict[int, list[list[Any]]] = {}
    shown = findings.runs[["point", "seed", "state", "reason", "accuracies", "key"]]
    for row in shown.to_dict(orient="records"):
        curve = [round(value, 4) for value in row["accuracies"]] if row["accuracies"] is not None else None
        runs.setdefault(row["point"], []).append([row["seed"], outcome(row), curve, str(row["key"])[:KEY_CHARACTERS]])
    return runs


def _layers(findings: Findings) -> dict[str, Any]:
    """Return the layers of the foremost points: the distinct rows, and their indices for each point."""
    rows: dict[tuple[str, ...], int] = {}
    layers: dict[int, list[int]] = {}
    for point in findings.foremost[:SHOWN]:
        network = findings.verified.networks.get(point)
        if network is None:
            continue
        texts = [
            tuple(f"{entry:,}" if isinstance(entry, int) else entry for entry in row) for row in layer_rows(network)
        ]
        layers[point] = [rows.setdefault(text, len(rows)) for text in texts]
    names = [QUANTITIES[name].heading if name in QUANTITIES else name for name in LAYER_COLUMNS]
    columns, left_out = names if layers else [], changed_note(findings)
    return {"layers": layers, "layer_rows": list(rows), "layer_columns": columns, "layers_left_out": left_out}


def _command(findings: Findings) -> list[str]:
    """Return the command that retrains and exports a point, split where the number of the point goes."""
    words = ["python", "-m", "explorer", "export", findings.record.study.name, "--point"]
    rest = given_options(findings.record.command, "--storage", "--data-dir")
    # `point3` is unambiguous; a plain number could be a label.
    return [f"{shlex.join(words)} point", f" {shlex.join(rest)}" if rest else ""]
