"""How commands read the settings of a design point (preset=NAME, and metaparameters as key=value) and limits of cost."""

from __future__ import annotations

import math
import re
from typing import Any

from explorer.errors import ExplorerError

_FACTORS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}


def read_settings(settings: list[str] | None) -> tuple[str | None, dict[str, Any]]:
    """The preset and the other settings; in lists, words need no quotes, which a shell takes away."""
    values: dict[str, Any] = {}
    for text in settings or []:
        key, value = _setting(text)
        if isinstance(value, str) and value.startswith("["):
            words = re.sub(r"\b(?!true\b|false\b)[A-Za-z_]\w*", r'"\g<0>"', value)
            value = _setting(f"{key}={words}")[1]
        if key in values:
            raise ExplorerError(f"{text!r}: {key} is given twice")
        values[key] = value
    preset = values.pop("preset", None)
    return None if preset is None else str(preset), values


def _setting(text: str) -> tuple[str, Any]:
    """One `key=value`; the value is read as in a study file, and what is no TOML value is text."""
    import tomllib

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ExplorerError(f"{text!r}: metaparameters are given as key=value, such as squeeze_ratio=0.25")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


def read_size(text: str) -> float:
    """A number with its unit: `500k`, `20M`, `1.5G`, `5e5`, `500_000`; raises `ExplorerError` for anything else."""
    found = re.fullmatch(r"(\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)([kKmMgGtT]?)", text.strip())
    size = float(found[1].replace("_", "")) * _FACTORS[found[2].lower()] if found else 0.0
    if not 0 < size < math.inf:
        raise ExplorerError(f"{text!r}: a limit is a number above 0, such as 500k, 20M, 1.5G or 5e5")
    return size
