"""Figures: drawn once in the look of all, laid out once, and saved for a page and as files."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from fontTools.subset import Options  # type: ignore[import-untyped]  # comes with matplotlib, which embeds fonts by it
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from explorer.drawing import plots
from explorer.drawing.colours import VARIABLES
from explorer.drawing.labels import settle

PANEL_INCHES = (4.2, 3.3)  # small, so that its type is still read on a phone
TALL_INCHES = (4.2, 4.6)  # for maps, and for lines that lie close together
FOLDER = "figures"
"""Where the files of figures are kept, beside the page."""

_DOTS = 200  # an inch, of images
_DOTS_INSIDE = 150  # an inch, of what is an image inside a vector file
_COLOURS = 256  # of an image: enough for smooth edges in all colours of a figure
_WHITE = 252  # of each colour, from where on an image's ground is white


@dataclass(frozen=True)
class Panel:
    """A figure: its files' name without the ending, what stands above and below it, and what is in the files."""

    name: str
    title: str
    caption: str
    svg: str
    pdf: bytes
    png: bytes

    def files(self) -> dict[str, bytes]:
        """The figure as files by their names beside the page, such as `figures/curve.svg`."""
        endings = {"svg": self.svg.encode(), "pdf": self.pdf, "png": self.png}
        return {f"{FOLDER}/{self.name}.{ending}": content for ending, content in endings.items()}

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
    """A figure, drawn by `draw` in the look of all. The same rows give the same bytes: no time, no random identifier."""
    with plots.style(), mpl.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        # The text stays text, and whoever shows it has fonts of their own.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=inches)
        # One renderer measures all texts, and the layout is worked out once, not again for each file.
        FigureCanvasAgg(figure)
        figure.set_layout_engine(_Once(w_pad=0.08, h_pad=0.08))
        ax = figure.subplots()
        draw(ax)
        settle(ax)
        figure.set_layout_engine(None)
        svg, pdf = io.StringIO(), io.BytesIO()
        figure.savefig(svg, format="svg", dpi=_DOTS_INSIDE, metadata={"Date": None, "Title": title})
        with _bare_fonts():
            figure.savefig(pdf, format="pdf", dpi=_DOTS_INSIDE, metadata={"CreationDate": None, "Title": title})
        return Panel(name, title, caption, svg.getvalue(), pdf.getvalue(), _png(figure))


@contextmanager
def _bare_fonts() -> Iterator[None]:
    """Fonts are embedded without the tables that lay out text, as each letter of a PDF has its place: half the time, and smaller files."""
    known = getattr(Options, _DROPPED, None)
    if known is None:  # another version of fontTools; nothing but time depends on it
        yield
        return
    setattr(Options, _DROPPED, [*known, "GSUB", "GPOS", "GDEF", "kern"])
    try:
        yield
    finally:
        setattr(Options, _DROPPED, known)


_DROPPED = "_drop_tables_default"


def _png(figure: Figure) -> bytes:
    """The figure as an image of few colours, which is a third of the size."""
    figure.savefig(pixels := io.BytesIO(), format="rgba", dpi=_DOTS)
    width, height = (round(inches * _DOTS) for inches in figure.get_size_inches())
    image = Image.frombytes("RGBA", (width, height), pixels.getvalue()).convert("RGB")
    image = image.quantize(_COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    # The ground is to be white, and not nearly so.
    palette = np.array(image.getpalette(), dtype=np.uint8).reshape(-1, 3)
    palette[(palette >= _WHITE).all(axis=1)] = 255
    image.putpalette(palette.tobytes())
    image.save(png := io.BytesIO(), format="png", dpi=(_DOTS, _DOTS))
    return png.getvalue()
