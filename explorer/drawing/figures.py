"""Figures, drawn in one style, laid out once, and saved both inline in a page and as files."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from xml.etree import ElementTree as ET

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from explorer.drawing.colours import VARIABLES
from explorer.drawing.formats import FOLDER
from explorer.drawing.labels import settle
from explorer.drawing.style import style

PANEL_INCHES = (4.2, 3.3)  # small enough for text to be readable on a phone
TALL_INCHES = (4.2, 4.6)  # for maps and closely spaced lines

_DPI = {"svg": 150, "pdf": 150, "png": 200}  # in vector files, for rasterised parts


@dataclass(frozen=True)
class Panel:
    """A figure on a page, with its file name (without its extension), title and caption."""

    name: str
    title: str
    caption: str
    figure: Figure

    @cached_property
    def svg(self) -> str:
        """The content of its SVG file."""
        return self._saved_as("svg").decode()

    def files(self, formats: Collection[str] = ()) -> dict[str, bytes]:
        """Return the SVG and any other `formats`, keyed by file names such as `figures/curve.pdf`."""
        contents = {"svg": self.svg.encode()} | {extension: self._saved_as(extension) for extension in formats}
        return {f"{FOLDER}/{self.name}.{extension}": content for extension, content in contents.items()}

    def _saved_as(self, extension: str) -> bytes:
        metadata = {"svg": {"Date": None, "Title": self.title}, "pdf": {"CreationDate": None, "Title": self.title}}
        with _settings(self.name):
            self.figure.savefig(
                saved := io.BytesIO(), format=extension, dpi=_DPI[extension], metadata=metadata.get(extension)
            )
        return saved.getvalue()

    @property
    def inline(self) -> Markup:
        """The SVG for a page, labelled for screen readers, with unique IDs and the page's neutral colours."""
        root = ET.fromstring(self.svg)  # noqa: S314 (drawn here)
        for element in list(root.iter()):
            for child in list(element):
                if child.tag.endswith(("}metadata", "}style")):
                    element.remove(child)
            element.tag = _without_namespace(element.tag)
            attributes = {_without_namespace(name): value for name, value in element.items()}
            element.attrib = {name: self._as_part(name, value) for name, value in attributes.items()}
        size = ("width", "height")
        root.attrib = {"role": "img", "aria-label": self.title} | {
            name: value for name, value in root.items() if name not in size
        }
        ET.indent(root, space="")
        return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704 (drawn here, its texts escaped)

    def _as_part(self, attribute: str, value: str) -> str:
        if attribute == "id":
            return f"{self.name}-{value}"
        if attribute == "href":
            return value.replace("#", f"#{self.name}-", 1) if value.startswith("#") else value
        value = value.replace("url(#", f"url(#{self.name}-")
        for colour, variable in VARIABLES.items() if attribute == "style" else ():
            value = value.replace(colour, variable)
        return value


def _without_namespace(name: str) -> str:
    """Return the name without its namespace, because HTML has none."""
    return name.rpartition("}")[2]


class _Once(ConstrainedLayoutEngine):
    """A layout engine that runs only once, because layout takes as long as drawing itself."""

    def execute(self, fig: Figure) -> Any:  # noqa: ANN401 (what matplotlib returns)
        if not self._done:
            self._done = True
            return super().execute(fig)
        return None

    _done = False


def panel(
    name: str, title: str, caption: str, draw: Callable[[Axes], None], inches: tuple[float, float] = PANEL_INCHES
) -> Panel:
    """Draw a figure with `draw`. Its files are reproducible, with no timestamps or random identifiers."""
    with _settings(name):
        figure = Figure(figsize=inches)
        # Provide the renderer that measures text.
        FigureCanvasAgg(figure)
        figure.set_layout_engine(_Once(w_pad=0.08, h_pad=0.08))
        ax = figure.subplots()
        draw(ax)
        settle(ax)
        figure.set_layout_engine(None)
    return Panel(name, title, caption, figure)


@contextmanager
def _settings(name: str) -> Iterator[None]:
    with style({"svg.hashsalt": name}), warnings.catch_warnings():
        # Text stays text in the file, and viewers have fonts of their own.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield
