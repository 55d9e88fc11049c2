"""The choices of published networks as reports name them."""

from __future__ import annotations

import re

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
    """The name of published networks as papers write it, such as `SqueezeNet v1.0`, given their presets."""
    # What one preset was changed in is told by its values.
    names = [re.sub(r"(?<=\d)_(?=\d)", ".", name) for name in presets.split(", ") if "(" not in name]
    names = [name.upper() if re.fullmatch(r"b\d", name) else name for name in names]
    space = findings.record.study.design_space.__name__
    return f"{space} {names[0] if len(names) < 3 else f'{names[0]} to {names[-1]}'}" if names else ""  # noqa: PLR2004
