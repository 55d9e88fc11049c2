"""Arguments of commands: shared options, what a shell completes, and settings of a design point."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Context, Option

from explorer.errors import ExplorerError

DATA = "cifar10, proxy, or a folder of images in class sub-folders."


VARY = "A metaparameter to vary too: bypass=none,simple,complex or squeeze_ratio=0.1..0.5; may be repeated."


def complete_studies(incomplete: str) -> list[str]:
    """Complete the name of a built-in study."""
    from explorer import list_studies

    return [name for name in list_studies()["name"] if name.startswith(incomplete)]


def complete_spaces(incomplete: str) -> list[str]:
    """Complete the name of a design space."""
    from explorer import list_spaces

    return [name for name in list_spaces()["space"].unique() if name.startswith(incomplete)]


def complete_settings(context: Context, incomplete: str) -> list[str]:
    """Complete `preset=NAME` and `key=` for the space that is already typed."""
    from explorer import list_spaces

    spaces = list_spaces()
    rows = spaces[spaces["space"] == context.params.get("space")].to_dict(orient="records")
    presets = [f"preset={name}" for row in rows[:1] for name in row["presets"]]
    return [text for text in (*presets, *(f"{row['metaparameter']}=" for row in rows)) if text.startswith(incomplete)]


SpaceName = Annotated[str, Argument(help="A design space (see `explorer spaces`).", autocompletion=complete_spaces)]
StudyName = Annotated[str, Argument(help="Name of a stored study, such as squeeze_ratio@cifar10.")]
Storage = Annotated[str, Option(help="SQLite file or database URL of studies and runs.")]
DataDir = Annotated[Path | None, Option(help="Folder with the CIFAR-10 files.")]
Workers = Annotated[int | None, Option(min=1, help="Processes that train; one per core by default.")]
RunTimeout = Annotated[
    str | None,
    Option(
        metavar="TIME",
        help="How long a run may take, such as 90s, 30min or 2h; 20 times the estimate, at least 10min, by default.",
    ),
]
Reports = Annotated[Path, Option(help="Folder for reports; each has its own folder there.")]
Figures = Annotated[str, Option(metavar="FORMATS", help="Save figures as PDF or PNG too: pdf, png or pdf,png.")]
Json = Annotated[bool, Option("--json", help="Print one JSON document instead, with raw numbers and their units.")]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Print the answer and paths only.")]


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


def read_varied(settings: list[str] | None) -> dict[str, Any]:
    """Read key=low..high, key=[a,b] and key=a,b arguments: what each metaparameter varies over."""
    listed = []
    for text in settings or []:
        key, equals, given = text.partition("=")
        plain = equals and ".." not in given and not given.startswith("[")
        listed.append(f"{key}=[{given}]" if plain else text)
    preset, values = read_settings(listed)
    if preset is not None:
        raise ExplorerError(f"--vary preset={preset}: a certificate has one preset; give it as --preset")
    return values


def _setting(text: str) -> tuple[str, Any]:
    import tomllib

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ExplorerError(f"{text!r}: metaparameters are given as key=value, such as squeeze_ratio=0.25")
    try:
        found = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value
    return key, found if isinstance(found, bool | int | float | str | list) else value  # 08:10:20 is not a time here


def read_seconds(text: str | None) -> float | None:
    """Read a time such as `90`, `90s`, `30min` or `2h` as seconds; anything else is an `ExplorerError`."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|sec|seconds?|m|min|minutes?|h|hours?|)", text.strip().lower())
    seconds = float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2][:1]] if found else 0.0
    if not 0 < seconds < math.inf:
        raise ExplorerError(f"--run-timeout {text}: a time is a number above 0 of seconds, or such as 90s, 30min or 2h")
    return seconds
