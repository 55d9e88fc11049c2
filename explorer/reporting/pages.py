"""Render pages from templates, and write either all files of a report or none."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from explorer.drawing.figures import Panel
from explorer.drawing.formats import OPTIONAL
from explorer.files import check_folder, write_files
from explorer.reporting.prose import prose


def render(template: str, scripts: Collection[str] = (), **values: Any) -> bytes:  # noqa: ANN401 (what a template shows)
    """Render a page with `page.js` and further scripts. Its content security policy allows no others."""
    texts = [_text(name) for name in ("page.js", *scripts)]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
    page = _environment().get_template(template)
    return page.render(scripts=list(map(Markup, texts)), hashes=hashes, **values).encode()


@cache
def _environment() -> Environment:
    """The template environment, which escapes everything."""
    environment = Environment(
        loader=PackageLoader("explorer"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = prose
    environment.globals["zip"] = zip
    return environment


def _text(name: str) -> str:
    return (resources.files("explorer") / "templates" / name).read_text("utf-8")


def as_json(text: str) -> Markup:
    """Escape JSON to keep text in it from closing the script element."""
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 (escaped above)


def data_files(
    tables: Mapping[str, pd.DataFrame], panels: Iterable[Panel], formats: Collection[str]
) -> dict[str, bytes]:
    """Return the files next to a page by name: the tables as CSV, and the figures."""
    files = {f"{name}.csv": table.to_csv(index=False, lineterminator="\n").encode() for name, table in tables.items()}
    return files | {name: content for panel in panels for name, content in panel.files(formats).items()}


def write_page(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write the files of a report and return the path of its page. On failure, an earlier report stays untouched.

    Figures of an earlier report in formats that are not requested this time would be outdated, so they are deleted.
    """
    check_folder(folder)
    write_files(files, folder)
    for figure in (name for name in files if name.endswith(".svg")):
        for extension in OPTIONAL:
            if (other := f"{figure[:-3]}{extension}") not in files:
                (folder / other).unlink(missing_ok=True)
    return folder / "report.html"
