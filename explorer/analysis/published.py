"""The curves that papers published, to stand beside a study's own."""

from __future__ import annotations

import pandas as pd

from explorer.study.files import published_curve_file


def published(name: str, metaparameter: str) -> pd.DataFrame | None:
    """The published curve over a metaparameter, from `studies/published/NAME.csv`, or None where it has none.

    Columns: `value` (numbers where all are), `label`, `model_mib` (MiB), `accuracy` (a fraction), `metric` (text), `printed` (False
    where it is read off a figure). An unknown name is an error that says the nearest.
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
    """What the published curve's file says of itself: the comment that it opens with."""
    lines = published_curve_file(name).read_text(encoding="utf-8").splitlines()
    return " ".join(line.lstrip("# ").rstrip() for line in lines if line.startswith("#"))
