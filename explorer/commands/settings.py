"""Arguments of commands: shared options, shell completion, and settings of a design point."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Context, Option

from explorer.errors import ExplorerError

if TYPE_CHECKING:
    from explorer import Cluster

DATA = "cifar10, proxy, or a folder of images in class sub-folders."
VARY = "Also vary a metaparameter: bypass=none,simple,complex or squeeze_ratio=0.1..0.5. May be repeated."


def complete_studies(incomplete: str) -> list[str]:
    """Complete the name of a built-in study that is not a search."""
    from explorer import list_studies

    studies = list_studies()
    return [name for name in studies["name"][studies["points"].notna()] if name.startswith(incomplete)]


def complete_searches(incomplete: str) -> list[str]:
    """Complete the name of a design space or of a built-in search."""
    from explorer import list_studies

    studies = list_studies()
    names = [*complete_spaces(""), *studies["name"][studies["points"].isna()]]
    return [name for name in names if name.startswith(incomplete)]


def complete_spaces(incomplete: str) -> list[str]:
    """Complete the name of a design space."""
    from explorer import list_spaces

    return [name for name in list_spaces()["space"].unique() if name.startswith(incomplete)]


def complete_settings(context: Context, incomplete: str) -> list[str]:
    """Complete `preset=NAME` and `key=` for the space that was already typed."""
    from explorer import list_spaces

    spaces = list_spaces()
    rows = spaces[spaces["space"] == context.params.get("space")].to_dict(orient="records")
    presets = [f"preset={name}" for row in rows[:1] for name in row["presets"]]
    return [text for text in (*presets, *(f"{row['metaparameter']}=" for row in rows)) if text.startswith(incomplete)]


SpaceName = Annotated[str, Argument(help="A design space (see `explorer spaces`).", autocompletion=complete_spaces)]
StudyName = Annotated[str, Argument(help="Name of a stored study, such as squeeze_ratio@cifar10.")]
Storage = Annotated[str, Option(help="SQLite file or database URL for studies and runs.")]
DataDir = Annotated[Path | None, Option(help="Folder with the CIFAR-10 files.")]
Workers = Annotated[int | None, Option(min=1, help="Number of training processes; by default, one per core.")]
RunTimeout = Annotated[
    str | None,
    Option(
        metavar="TIME",
        help="Time limit per run, such as 90s, 30min or 2h; by default, 20 times the estimate, at least 10min.",
    ),
]
WorkersPerGpu = Annotated[int | None, Option(min=1, help="Training processes that share a GPU; one by default.")]
MemoryLimit = Annotated[
    str | None,
    Option(metavar="SIZE", help="Memory limit per process, such as 2GiB; an equal share of the memory by default."),
]
ClusterAddress = Annotated[
    str | None,
    Option("--cluster", metavar="ADDRESS", help="Train on a running Dask scheduler's workers: tcp://host:8786."),
]
TlsCa = Annotated[Path | None, Option(help="Certificate of the authority, for --cluster tls://host:port.")]
TlsCert = Annotated[Path | None, Option(help="This machine's certificate, for the same.")]
TlsKey = Annotated[Path | None, Option(help="Private key of that certificate.")]
Reports = Annotated[Path, Option(help="Folder for reports, each in its own sub-folder.")]
Figures = Annotated[str, Option(metavar="FORMATS", help="Also save figures as PDF or PNG: pdf, png or pdf,png.")]
Json = Annotated[bool, Option("--json", help="Print one JSON document instead, with raw numbers and their units.")]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Print the answer and paths only.")]


def read_settings(settings: list[str] | None) -> tuple[str | None, dict[str, Any]]:
    """Read preset=NAME and key=value arguments. Words in lists need no quotes, because shells would remove them."""
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


def read_ranges(settings: list[str] | None) -> tuple[str | None, dict[str, Any]]:
    """Read preset=NAME and key=low..high, key=[a,b], key=a,b or key=value arguments."""
    listed = []
    for text in settings or []:
        key, equals, given = text.partition("=")
        plain = equals and "," in given and not given.startswith("[")
        listed.append(f"{key}=[{given}]" if plain else text)
    return read_settings(listed)


def read_varied(settings: list[str] | None) -> dict[str, Any]:
    """Read key=low..high, key=[a,b] and key=a,b arguments: the range of each varied metaparameter."""
    preset, values = read_ranges(settings)
    if preset is not None:
        raise ExplorerError(f"--vary preset={preset}: a certificate has one preset; set it with --preset")
    return {key: value if isinstance(value, list) or ".." in str(value) else [value] for key, value in values.items()}


def read_cluster(address: str | None, ca: Path | None, cert: Path | None, key: Path | None) -> Cluster | None:
    """Return the cluster of the options `--cluster`, `--tls-ca`, `--tls-cert` and `--tls-key`, if it is given."""
    if address is None:
        files = {"--tls-ca": ca, "--tls-cert": cert, "--tls-key": key}
        for option, file in files.items():
            if file is not None:
                raise ExplorerError(f"{option} {file}: it is for a cluster; also give --cluster tls://host:port")
        return None
    from explorer import Cluster

    return Cluster(address, ca, cert, key)


def _setting(text: str) -> tuple[str, Any]:
    from explorer.spaces.space import read_value

    key, equals, value = text.partition("=")
    if not equals and text in _presets():
        raise ExplorerError(f"{text!r}: presets are given as preset=NAME; write preset={text}")
    if not equals or not key:
        raise ExplorerError(f"{text!r}: metaparameters are given as key=value, such as squeeze_ratio=0.25")
    return key, read_value(value)


def _presets() -> set[str]:
    from explorer import list_spaces

    return {name for presets in list_spaces()["presets"] for name in presets}


def read_sizes(text: str) -> tuple[int, ...]:
    """Read sizes such as `3,224,224`; raise `ExplorerError` for anything else."""
    parts = re.split(r"[,x]", text.replace(" ", ""))
    if not all(re.fullmatch(r"[1-9]\d{0,8}", part) for part in parts):
        raise ExplorerError(f"--input {text}: give the sizes of one example without the batch, such as 3,224,224")
    return tuple(map(int, parts))


def read_seconds(text: str | None, option: str = "--run-timeout") -> float | None:
    """Convert a time such as `90`, `90s`, `30min` or `2h` to seconds; raise `ExplorerError` for anything else."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|sec|seconds?|m|min|minutes?|h|hours?|)", text.strip().lower())
    seconds = float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2][:1]] if found else 0.0
    if not 0 < seconds < math.inf:
        raise ExplorerError(f"{option} {text}: give a positive number of seconds or a time such as 90s, 30min or 2h")
    return seconds
