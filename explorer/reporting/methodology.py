"""The methodology from the documentation, as a page next to the reports that can be read offline."""

from __future__ import annotations

import re
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from explorer.reporting.pages import render

PAGE = "methodology.html"


def methodology() -> bytes:
    """Render the page without images or links to files that are not next to it."""
    parser = MarkdownIt("commonmark").enable("table")
    tokens = parser.parse(_text())
    sections = {}
    for token, inside in pairwise(tokens):
        if token.type == "heading_open":
            name = _anchor(inside.content)
            token.attrSet("id", name)
            if token.tag == "h2":
                sections[name] = inside.content
    for token in tokens:
        token.children = [child for child in token.children or [] if _is_kept(child)]
    content = parser.renderer.render(tokens, parser.options, {})
    content = content.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    return render(f"{PAGE}.j2", content=Markup(content), sections=sections)  # noqa: S704 (from our own file)


def _is_kept(token: Token) -> bool:
    """Return whether to keep an inline token. Links that would be broken here lose their address."""
    if token.type == "link_open" and not str(token.attrs["href"]).startswith(("#", "https:")):
        del token.attrs["href"]
    return token.type != "image"


def _anchor(heading: str) -> str:
    """Return the identifier that GitHub would generate for a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _text() -> str:
    package = Path(str(files("explorer")))
    inside, beside = (folder / "docs" / "methodology.md" for folder in (package, package.parent))
    return (inside if inside.exists() else beside).read_text("utf-8")
