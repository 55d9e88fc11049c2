"""Figures as files and as parts of a page, and which of them a study has."""

import io
import itertools
import re
from dataclasses import replace
from xml.parsers.expat import ParserCreate

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from PIL import Image
from records import broken, make_record

from explorer.analysis import Findings
from explorer.drawing import colours, figures, formats, plots
from explorer.drawing.figures import PANEL_INCHES, panel
from explorer.errors import ExplorerError
from explorer.reporting.study_figures import main_figure, paper_figure
from explorer.study.files import load_study
from explorer.training.recipe import Budget

DARK = "#15181c"  # the ground of a page in dark colours
HOSTILE = "<script>alert(\"1\")</script> & $x^{ #333333 'also' --> ]]> \N{SNOWMAN}"


def draw(ax):
    frame = pd.DataFrame(SIMPLE)
    frame.attrs["metaparameters"] = ["width"]
    plots.curve(frame, ax)


SIMPLE = {
    "point": [0, 1, 2],
    "width": [1, 2, 3],
    "label": ["1", "2", HOSTILE],
    "state": ["done", "partly done", "done"],
    "same_as": pd.array([pd.NA] * 3, dtype="Int64"),
    "params": [1000, 2000, 3000],
    "accuracy": [0.5, 0.6, 0.65],
    "low": [0.48, 0.58, 0.63],
    "high": [0.52, 0.62, 0.67],
}


@pytest.fixture(scope="module")
def simple():
    return panel("simple", f"A title {HOSTILE}", "A caption", draw)


def test_a_figure_is_an_svg_and_what_else_is_asked_for(simple):
    assert list(simple.files()) == ["figures/simple.svg"]
    files = simple.files(("pdf", "png"))
    assert list(files) == ["figures/simple.svg", "figures/simple.pdf", "figures/simple.png"]
    assert files["figures/simple.svg"].decode() == simple.svg
    ParserCreate().Parse(files["figures/simple.svg"], True)
    assert files["figures/simple.pdf"].startswith(b"%PDF")


def test_an_unknown_format_names_the_nearest():
    assert formats.check_formats(["svg"]) == ()
    assert formats.check_formats(["png", "pdf"]) == ("pdf", "png")
    with pytest.raises(ExplorerError, match="unknown figure format 'pfd'; did you mean 'pdf'\\?"):
        formats.check_formats(["png", "pfd"])


def test_the_same_rows_give_the_same_bytes_and_hold_no_date(simple):
    again = panel("simple", f"A title {HOSTILE}", "A caption", draw)
    files = again.files(("pdf", "png"))
    assert files == simple.files(("pdf", "png"))
    assert "dc:date" not in simple.svg
    assert b"CreationDate" not in files["figures/simple.pdf"]


def test_the_image_has_200_dots_an_inch_and_a_white_ground(simple):
    image = Image.open(io.BytesIO(simple.files(["png"])["figures/simple.png"]))
    assert image.size == tuple(round(200 * inches) for inches in PANEL_INCHES)
    assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)
    pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert (pixels == 255).all(axis=1).mean() > 0.5
    assert (pixels == np.round(255 * np.array(to_rgb(colours.BLUE)))).all(axis=1).any()


def test_texts_stay_texts(simple):
    assert "Params (k)" in simple.svg
    # A TrueType font, with the characters of its letters.
    pdf = simple.files(["pdf"])["figures/simple.pdf"]
    assert b"/CIDFontType2" in pdf
    assert b"/FontFile2" in pdf
    assert b"/ToUnicode" in pdf
    assert b"/Type3" not in pdf


def test_an_inline_figure_takes_the_neutral_colours_of_the_page(simple):
    tags = re.findall(r"<[^>]*>", simple.inline)[1:]  # without the first, which holds the title
    styles = " ".join(re.findall(r'style="([^"]*)"', simple.inline))
    for colour, variable in colours.VARIABLES.items():
        assert colour in simple.svg
        assert not any(colour in tag for tag in tags)
        assert variable in styles
    assert colours.BLUE in styles
    # A label that reads like a colour is a label.
    assert "#333333" in simple.inline
    # The file is whole without a page.
    assert "var(--" not in simple.svg


def test_an_inline_figure_is_named_and_its_identifiers_are_its_own(simple):
    other = panel("other", "Other", "", draw)
    assert simple.inline.startswith('<svg role="img" aria-label="A title &lt;script&gt;')
    assert "<script" not in simple.inline
    head = simple.inline[: simple.inline.index(">")]
    assert not re.search(r" (width|height)=", head)
    names = [set(re.findall(r' id="([^"]+)"', one.inline)) for one in (simple, other)]
    assert not names[0] & names[1]
    assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', simple.inline)) <= names[0]
    assert "<style" not in simple.inline
    assert "<metadata" not in simple.inline


def test_the_layout_is_worked_out_once(monkeypatch):
    times = []
    execute = figures.ConstrainedLayoutEngine.execute
    monkeypatch.setattr(figures.ConstrainedLayoutEngine, "execute", lambda *args: times.append(1) or execute(*args))
    panel("simple", "A title", "A caption", draw).files(["pdf", "png"])
    assert len(times) == 1


def test_data_colours_are_seen_on_white_and_on_a_dark_page():
    lines = [colours.LINES(share) for share in np.linspace(0, 1, 33)]
    for colour, ground in itertools.product([*colours.CATEGORIES, *lines], ("#ffffff", DARK)):
        assert colours.contrast(colour, ground) >= 3
    assert not {*colours.CATEGORIES, colours.ON_DARK, colours.ON_LIGHT} & colours.VARIABLES.keys()


def test_texts_are_read_on_every_cell():
    for share in np.linspace(0, 1, 65):
        cell = colours.CELLS(share)
        assert colours.contrast(colours.on(cell), cell) >= 4.5


def seen_without(kind, colour):
    """A colour as those see it who lack one kind of cones: Machado and others, IEEE TVCG 15, 2009, severity 1."""
    matrix = {
        "red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    }[kind]
    shares = np.array(to_rgb(colour))
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return np.cbrt(np.clip(np.array(matrix) @ linear, 0, 1))


@pytest.mark.parametrize("kind", ["red", "green"])
def test_categories_and_the_ends_of_lines_are_told_apart_by_those_who_see_fewer_hues(kind):
    seen = [seen_without(kind, colour) for colour in colours.CATEGORIES]
    assert min(np.abs(one - other).max() for one, other in itertools.combinations(seen, 2)) > 0.07
    along = [seen_without(kind, colours.LINES(share)) for share in np.linspace(0, 1, 9)]
    # From blue to yellow, which all see, with no turning back to speak of.
    yellow = [one[0] + one[1] - 2 * one[2] for one in along]
    assert np.diff(yellow).min() > -0.02
    assert yellow[-1] - yellow[0] > 1.5


def test_as_many_colours_as_there_are_things():
    for count in (1, 4, 5, 6, 20):
        assert len(set(colours.categories(count))) == count


@pytest.mark.parametrize(
    ("name", "main", "published"),
    [
        ("squeeze_ratio", "curve", True),
        ("bypass", "curve", True),
        ("delayed_downsampling", "curve", False),
        ("fire_growth", "curve", False),
        ("squeezenet_grid", "map", False),
        ("compound_grid", "map", False),
        ("compound_scaling", "curve", False),
    ],
)
def test_a_study_has_one_figure_of_its_points_and_the_curve_of_its_paper(name, main, published):
    findings = Findings(make_record(name, images=100))
    figure, paper = main_figure(findings), paper_figure(findings)
    assert figure.name == main
    assert figure.title
    assert figure.caption.endswith(".")
    assert len(figure.svg) < 50_000
    assert (paper is not None) == published


def test_a_published_network_is_named_in_the_figure():
    findings = Findings(make_record(images=100))
    assert "as in SqueezeNet v1.0" in main_figure(findings).svg
    assert findings.choices["point"][0] == 0


@pytest.mark.parametrize(
    ("name", "lost", "words"),
    [
        ("squeezenet_grid", 4, ("Diamond: as in SqueezeNet v1.0.", "* some seeds missing.", "Thick frame: the best")),
        ("fire_growth", 4, ("labels where there is room: base_e, incr_e, freq. Hollow: some seeds missing.",)),
        ("compound_grid", 4, ("Diamond: the published factors (alpha * beta^2 * gamma^2 = 1.92; ",)),
    ],
)
def test_captions_say_what_is_drawn(name, lost, words):
    caption = main_figure(Findings(broken(make_record(name, images=300), lost, (1,)))).caption
    for text in words:
        assert text in caption


def test_a_study_without_a_measured_point_has_a_figure_that_says_so():
    record = make_record("bypass", images=10)
    for point in range(3):
        record = broken(record, point, (0, 1, 2), "missing", "")
    assert "no runs have finished yet" in main_figure(Findings(record)).svg


def test_a_trial_run_has_no_intervals_and_no_best_point():
    budget = Budget(images=500, epochs=1, validation=100)
    line, plane = (
        main_figure(Findings(make_record(load_study(name).model_copy(update={"budget": budget}), images=100, seeds=1)))
        for name in ("squeeze_ratio", "squeezenet_grid")
    )
    bands = [artist for artist in line.figure.axes[0].collections if isinstance(artist, PolyCollection)]
    assert not [path for band in bands for path in band.get_paths() if np.isfinite(path.vertices).all()]
    assert not {"best", "not separated"} & {artist.get_label() for artist in plane.figure.axes[0].collections}


def test_hostile_labels_are_drawn_as_texts():
    record = make_record("bypass", images=50)
    record = replace(record, points=record.points.assign(label=[f"{place} {HOSTILE}" for place in range(3)]))
    for one in (main_figure(Findings(record)), paper_figure(Findings(record))):
        ParserCreate().Parse(one.svg.encode(), True)
        assert "<script" not in one.svg


def test_ten_thousand_points_make_small_files():
    random = np.random.default_rng(0)
    count = 10_000
    params = np.exp(random.uniform(9, 14, count)).astype(int)
    accuracy = 0.05 * np.log(params) + random.normal(0, 0.03, count)
    frame = pd.DataFrame({"point": range(count), "label": "", "state": "done", "params": params, "accuracy": accuracy})
    frame = frame.assign(low=accuracy - 0.02, high=accuracy + 0.02, same_as=pd.array([pd.NA] * count, dtype="Int64"))
    frame = frame.assign(width=random.integers(1, 99, count), depth=random.integers(1, 99, count))
    for one in (
        panel("front", "", "", lambda ax: plots.front(frame, ax, "params")),
        panel("curve", "", "", lambda ax: plots.curve(frame, ax)),
    ):
        assert len(one.svg) < 400_000
