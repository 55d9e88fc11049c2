"""Pages: what makes them of templates, and how a report's files are written, all or none."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from explorer.drawing.formats import OPTIONAL
from explorer.files import check_folder, write_files


@cache
def environment() -> Environment:
    """What makes pages of the templates: all that they are given is escaped."""
    return Environment(
        loader=PackageLoader("explorer"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def script(name: str) -> tuple[Markup, str]:
    """A script of the templates and its SHA-256 as content security policies want it: no other script runs on the page."""
    text = (resources.files("explorer") / "templates" / name).read_text("utf-8")
    return Markup(text), base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()  # noqa: S704 (our own file)


def as_json(text: str) -> Markup:
    """JSON as the content of a script element, which no text inside can end."""
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 (what could end the element is escaped above)


def write_page(files: Mapping[str, bytes], folder: Path) -> Path:
    """Writes a report's files into a folder and returns its page's path; a failure leaves the report as it was.

    Figures that an earlier report saved in formats that were not asked for now would be out of date, and are deleted.
    """
    check_folder(folder)
    write_files(files, folder)
    for figure in (name for name in files if name.endswith(".svg")):
        for extension in OPTIONAL:
            if (other := f"{figure[:-3]}{extension}") not in files:
                (folder / other).unlink(missing_ok=True)
    return folder / "report.html"
