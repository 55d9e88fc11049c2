"""Figures: drawn in one style, laid out once, and saved as part of a page and as files."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from explorer.drawing import plots
from explorer.drawing.colours import VARIABLES
from explorer.drawing.formats import FOLDER
from explorer.drawing.labels import settle

PANEL_INCHES = (4.2, 3.3)  # small, so that its type is still read on a phone
TALL_INCHES = (4.2, 4.6)  # for maps, and for lines that lie close together

_DPI = {"svg": 150, "pdf": 150, "png": 200}  # of a vector file, the resolution of the images inside it


@dataclass(frozen=True)
class Panel:
    """A figure of a page: the name of its files without the extension, its title and its caption."""

    name: str
    title: str
    caption: str
    figure: Figure

    @cached_property
    def svg(self) -> str:
        """The figure as a file of its own."""
        return self._saved_as("svg").decode()

    def files(self, formats: Collection[str] = ()) -> dict[str, bytes]:
        """The SVG, and the figure in each of `formats`, by file names such as `figures/curve.pdf`."""
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
        """The SVG as a part of a page: named for those who do not see it, its identifiers its own, neutral colours the page's."""
        body = self.svg[self.svg.index("<svg") :]
        body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
        body = re.sub(r"<[^>]+>", lambda tag: self._as_part(tag.group()), body)
        body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
        body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
        name = Markup('<svg role="img" aria-label="{}" ').format(self.title)
        return Markup(re.sub(r"\n\s*", "\n", body.replace("<svg ", str(name), 1)))  # noqa: S704 (drawn here, its texts escaped)

    def _as_part(self, tag: str) -> str:
        tag = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{self.name}-", tag)
        # In a style only, where alone a page may give the colour.
        return re.sub(r' style="[^"]*"', lambda style: _NEUTRAL.sub(_variable, style.group()), tag)


_NEUTRAL = re.compile("|".join(VARIABLES))


def _variable(colour: re.Match[str]) -> str:
    return VARIABLES[colour.group()]


class _Once(ConstrainedLayoutEngine):
    """The layout that is worked out the first time only, as it takes as long as drawing."""

    def execute(self, fig: Figure) -> Any:  # noqa: ANN401 (what matplotlib returns)
        if not self._done:
            self._done = True
            return super().execute(fig)
        return None

    _done = False


def panel(
    name: str, title: str, caption: str, draw: Callable[[Axes], None], inches: tuple[float, float] = PANEL_INCHES
) -> Panel:
    """Draws a figure with `draw`. The same rows give the same bytes: no time, no random identifier."""
    with _settings(name):
        figure = Figure(figsize=inches)
        # One renderer measures all texts, and the layout is computed once, not again for each file.
        FigureCanvasAgg(figure)
        figure.set_layout_engine(_Once(w_pad=0.08, h_pad=0.08))
        ax = figure.subplots()
        draw(ax)
        settle(ax)
        figure.set_layout_engine(None)
    return Panel(name, title, caption, figure)


@contextmanager
def _settings(name: str) -> Iterator[None]:
    with plots.style(), mpl.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        # The text stays text, and whoever shows it has fonts of their own.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield
