"""The choices of published networks as reports name them."""

from __future__ import annotations

import pandas as pd

from explorer.analysis import Findings


def chosen_points(findings: Findings) -> dict[int, str]:
    """The study's own points that stand where a published network does, by number, with its name."""
    choices = findings.choices
    named = choices[(choices["reason"] == "") & choices["point"].notna()]
    sources = findings.points.set_index("point")["same_as"]
    found: dict[int, str] = {}
    for point, names in zip(named["point"].astype(int), named["name"], strict=True):
        source = sources[point]
        name = choice_name(findings, names)
        if name:
            found.setdefault(point if pd.isna(source) else int(source), name)
    return found


def choice_name(findings: Findings, presets: str) -> str:
    """The name of published networks as papers write it, given their presets."""
    space = findings.record.study.design_space
    # What one preset was changed in is told by its values.
    names = [space.published_name(name) for name in presets.split(", ") if "(" not in name]
    return f"{space.__name__} {names[0] if len(names) < 3 else f'{names[0]} to {names[-1]}'}" if names else ""  # noqa: PLR2004
