"""How commands read the settings of a design point: preset=NAME, and metaparameters as key=value."""

from __future__ import annotations

import re
from typing import Any

from explorer.errors import ExplorerError


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
