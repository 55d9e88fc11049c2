"""Names of published networks for reports."""

from __future__ import annotations

import re

import pandas as pd

from explorer.analysis import Findings


def chosen_points(findings: Findings) -> dict[int, str]:
    """Return the names of the published choices that the study contains, by point number."""
    choices = findings.choices
    named = choices[(choices["reason"] == "") & choices["point"].notna()]
    sources = findings.points.set_index("point")["same_as"]
    found: dict[int, str] = {}
    for point, presets in zip(named["point"].astype(int), named["name"], strict=True):
        if name := choice_name(findings, presets):
            found.setdefault(point if pd.isna(sources[point]) else int(sources[point]), name)
    return found


def choice_name(findings: Findings, presets: str) -> str:
    """Return the name of presets as papers write it; empty if all were changed, such as `v1_0 (bypass = none)`."""
    space = findings.record.study.design_space
    names = [space.published_name(name) for name in presets.split(", ") if "(" not in name]
    if len(names) < 3:  # noqa: PLR2004 (a range needs three)
        return names[0] if names else ""
    # B0 to B7 of one family share its name.
    family = re.match(r".*?[ -]", names[0])
    return f"{names[0]} to {names[-1].removeprefix(family[0] if family else '')}"
