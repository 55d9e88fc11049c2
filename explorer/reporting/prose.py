"""Turn sentences into HTML. Commands become code; papers and addresses become links."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from markupsafe import Markup, escape

_PAPER = r"\d{4}\.\d{4,5}(?:v\d+)?|[a-z-]+(?:\.[A-Z]{2})?/\d{7}(?:v\d+)?"
_PARTS = re.compile(
    rf"`(?P<code>[^`]+)`|arXiv:\s?(?P<arxiv>{_PAPER})|doi:\s?(?P<doi>10\.\d{{4,9}}/\S+)|(?P<url>https?://[^\s<>\"`]+)",
    re.IGNORECASE,
)
_PERCENT = re.compile(r"(?<=\d) %")
_BASES = {"arxiv": "https://arxiv.org/abs/", "doi": "https://doi.org/", "url": ""}
_AFTER = ".,;:)]'"  # characters that may follow an address in a sentence


def prose(text: str) -> Markup:
    """Escape text, and turn backticks into code, and arXiv numbers, DOIs and addresses into links.

    A number and its percent sign stay on the same line.
    """
    text = _PERCENT.sub("\N{NO-BREAK SPACE}%", text)
    parts, end = [], 0
    for found in _PARTS.finditer(text):
        parts.append(escape(text[end : found.start()]))
        if code := found["code"]:
            parts.append(Markup("<code>{}</code>").format(code))
        else:
            shown, address = _link(found)
            parts.append(Markup('<a href="{}">{}</a>').format(address, shown))
            parts.append(escape(found[0][len(shown) :]))
        end = found.end()
    return Markup("").join([*parts, escape(text[end:])])


def papers(sources: Iterable[str]) -> dict[str, str]:
    """Return the addresses in sources, each with its link text: `Tan and Le 2019, arXiv:1905...`."""
    found: dict[str, str] = {}
    for source in sources:
        start = 0
        for match in _links(source):
            shown, address = _link(match)
            text = source[start : match.start()].rpartition("(")[2] + shown
            found.setdefault(address, text.lstrip(" .,;)"))
            start = match.start() + len(shown)
    return found


def _links(text: str) -> Iterator[re.Match[str]]:
    return (found for found in _PARTS.finditer(text) if not found["code"])


def _link(found: re.Match[str]) -> tuple[str, str]:
    """Return the text and the address of a link, without trailing punctuation."""
    kind = next(kind for kind in _BASES if found[kind])
    return found[0].rstrip(_AFTER), _BASES[kind] + found[kind].rstrip(_AFTER)
