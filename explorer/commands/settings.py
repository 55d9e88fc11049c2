"""Arguments of commands: shared options, settings of a design point, and limits on costs."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from explorer.errors import ExplorerError

DATA = "cifar10, proxy, or a folder of images in class sub-folders."

SpaceName = Annotated[str, Argument(help="A design space (see `explorer spaces`).")]
StudyName = Annotated[str, Argument(help="Name of a stored study, such as squeeze_ratio@cifar10.")]
Storage = Annotated[str, Option(help="SQLite file or database URL of studies and runs.")]
DataDir = Annotated[Path | None, Option(help="Folder with the CIFAR-10 files.")]
Workers = Annotated[int | None, Option(min=1, help="Processes that train; one per core by default.")]
Reports = Annotated[Path, Option(help="Folder for reports; each has its own folder there.")]
Figures = Annotated[str, Option(metavar="FORMATS", help="Save figures as PDF or PNG too: pdf, png or pdf,png.")]

_FACTORS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}


def read_settings(settings: list[str] | None) -> tuple[str | None, dict[str, Any]]:
    """Read preset=NAME and key=value arguments; words in lists need no quotes, which the shell would remove."""
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
    import tomllib

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ExplorerError(f"{text!r}: metaparameters are given as key=value, such as squeeze_ratio=0.25")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


def read_size(text: str) -> float:
    """Read a number such as `500k`, `20M`, `1.5G`, `5e5` or `500_000`; anything else is an `ExplorerError`."""
    found = re.fullmatch(r"(\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)([kKmMgGtT]?)", text.strip())
    size = float(found[1].replace("_", "")) * _FACTORS[found[2].lower()] if found else 0.0
    if not 0 < size < math.inf:
        raise ExplorerError(f"{text!r}: a limit is a number above 0, such as 500k, 20M, 1.5G or 5e5")
    return size
