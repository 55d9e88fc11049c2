"""The canonical form of networks as text, for one network or for a chunk of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

GAP = "\0"
"""Stands for an array in the text of a chunk. No layer has such a setting."""
ROWS = 1024  # number of points whose values are text at the same time


def texts(form: list[Any] | dict[str, Any]) -> Iterator[str]:
    """Yield plain data as compact JSON: one text, or one for each point if it contains arrays."""
    columns: list[np.ndarray[Any, Any]] = []

    def gap(value: object) -> str:
        if not isinstance(value, np.ndarray):
            raise TypeError(f"a layer has the setting {value!r}, which is not plain data")
        columns.append(value)
        return GAP

    text = json.dumps(form, sort_keys=True, separators=(",", ":"), default=gap)
    if not columns:
        yield text
        return
    template = text.replace("%", "%%").replace(json.dumps(GAP), "%s")
    for start in range(0, len(columns[0]), ROWS):
        numbers = (json.dumps(column[start : start + ROWS].tolist()) for column in columns)
        rows = zip(*(text.strip("[]").split(", ") for text in numbers), strict=True)
        yield from (template % row for row in rows)
