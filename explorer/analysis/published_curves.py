"""Curves from papers, for comparison with a study's curves."""

from __future__ import annotations

import pandas as pd

from explorer.study.files import published_curve_file


def published_curve(name: str, metaparameter: str) -> pd.DataFrame | None:
    """Read the curve over a metaparameter from `studies/published/NAME.csv`. Returns None if there is no such curve.

    Columns: `value` (numeric if possible), `label`, `model_mib`, `accuracy` (a fraction), `metric` and `printed` (False
    if read off a figure). Raises `ExplorerError` for an unknown name.
    """
    frame = pd.read_csv(published_curve_file(name), comment="#", dtype={"value": str, "metric": str})
    frame = frame[frame["metaparameter"] == metaparameter].drop(columns="metaparameter").reset_index(drop=True)
    if frame.empty:
        return None
    frame.insert(1, "label", frame["value"])
    numbers = pd.to_numeric(frame["value"], errors="coerce")
    if numbers.notna().all():
        frame["value"] = numbers
    return frame.astype({"printed": bool})


def published_source(name: str) -> str:
    """Return the source of a published curve, which is the comment at the top of its file."""
    lines = published_curve_file(name).read_text(encoding="utf-8").splitlines()
    return " ".join(line.lstrip("# ").rstrip() for line in lines if line.startswith("#"))
