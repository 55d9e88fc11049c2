"""Figures as files and as parts of a page, and which of them a study has."""

import io
import itertools
import re
from dataclasses import replace
from xml.parsers.expat import ParserCreate

import numpy as np
import pandas as pd
import pytest
import seaborn as sns
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from records import World, broken, changed, make_record

from explorer.analysis import Findings
from explorer.drawing import colours, figures, formats, plots
from explorer.drawing.figures import PANEL_INCHES, panel
from explorer.errors import ExplorerError
from explorer.reporting import study_figures
from explorer.study.forms import Triangle

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


@pytest.fixture(scope="module")
def ratio():
    findings = Findings(make_record(images=1000, world=World(seed=0.03)))
    return findings, study_figures.draw(findings)


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
    assert set(colours.CATEGORIES) <= set(sns.color_palette("colorblind").as_hex())
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


def test_a_study_of_one_metaparameter_has_these_figures(ratio):
    findings, panels = ratio
    assert list(panels) == [
        *("curve", "published", "front_params", "front_macs", "surrogate", "edf", "learning_curves"),
    ]
    assert all(panels[name].name == name for name in panels)
    assert all(one.title and one.caption.endswith(".") for one in panels.values())
    assert "as in SqueezeNet v1.0" in panels["curve"].svg
    assert findings.choices["point"][0] == 0


def test_files_are_small(ratio):
    for one in ratio[1].values():
        assert len(one.svg) < 40_000


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bypass", {"published"}),
        ("delayed_downsampling", set()),
        ("fire_growth", {"surrogate", "importance", "parallel", "edf"}),
        ("squeezenet_grid", {"map", "surrogate", "importance", "edf"}),
        ("compound_grid", {"map", "surrogate", "edf"}),
        ("compound_scaling", {"edf"}),
    ],
)
def test_a_study_has_the_figures_that_its_points_allow(name, expected, monkeypatch):
    monkeypatch.setattr(study_figures, "panel", lambda name, *_: replace(EMPTY, name=name))
    panels = study_figures.draw(Findings(make_record(name, images=100)))
    assert set(panels) == expected | {"curve", "front_params", "front_macs", "learning_curves"}


EMPTY = figures.Panel("", "", "", Figure())


def captions(monkeypatch, findings):
    found = {}

    def keep(name, _, caption, *_args):
        found[name] = caption
        return replace(EMPTY, name=name)

    monkeypatch.setattr(study_figures, "panel", keep)
    study_figures.draw(findings)
    return found


def test_captions_say_what_is_drawn(monkeypatch):
    record = broken(make_record("squeezenet_grid", images=300), 4, (1,))
    said = captions(monkeypatch, Findings(record))
    assert said["learning_curves"].startswith("The 20 most accurate of 25 points.")
    assert "Diamond: as in SqueezeNet v1.0." in said["map"]
    assert "* some seeds missing." in said["map"]
    assert said["curve"].endswith("labels where there is room: squeeze_ratio, pct3x3. Hollow: some seeds missing.")
    assert "of 25 points." in said["front_params"]
    assert "more likely on the front" in said["front_params"]
    assert "not a random sample" in said["edf"]


def test_with_one_seed_nothing_is_said_of_probabilities(monkeypatch):
    said = captions(monkeypatch, Findings(make_record("squeeze_ratio", images=300, seeds=1)))
    assert "likely" not in said["front_params"]
    assert "Filled: on the front." in said["front_params"]


def test_at_equal_cost_the_caption_names_the_best(monkeypatch):
    findings = Findings(make_record("delayed_downsampling", images=300))
    best = findings.points.loc[findings.points["accuracy"].idxmax(), "label"]
    assert captions(monkeypatch, findings)["front_params"].startswith(
        f"All points cost the same, so only the most accurate is on the front: {best}."
    )


def test_published_shares_are_marked_in_the_triangle(monkeypatch):
    said = captions(monkeypatch, Findings(make_record("compound_grid", images=100)))
    assert "Diamond: the published factors (alpha * beta^2 * gamma^2 = 1.92; " in said["map"]


def test_measured_latencies_have_a_front_of_their_own(monkeypatch):
    record = make_record("bypass", images=100)
    rows = [
        {
            "processor": "a",
            "torch": "2",
            "dtype": "f",
            "batch": 1,
            "threads": 1,
            "network": network,
            "median_seconds": seconds,
        }
        for network, seconds in zip(record.points["network"], (0.003, 0.001, 0.002), strict=True)
    ]
    findings = Findings(record, pd.DataFrame(rows))
    assert findings.points["latency_seconds"].tolist() == [0.003, 0.001, 0.002]
    assert "front_latency" in captions(monkeypatch, findings)
    assert "front_latency" not in captions(monkeypatch, Findings(record))


def test_points_drawn_from_the_simplex_have_a_band_and_parallel_coordinates(monkeypatch):
    study = changed("compound_grid", simplex=Triangle(draw=40, seed=3))
    said = captions(monkeypatch, Findings(make_record(study, images=100)))
    assert said["edf"].startswith("40 networks")
    assert "Band" in said["edf"]
    assert "parallel" in said


def test_a_study_without_a_measured_point_has_figures_that_say_so():
    record = make_record("bypass", images=10)
    for point in range(3):
        record = broken(record, point, (0, 1, 2), "missing", "")
    panels = study_figures.draw(Findings(record))
    assert "no runs have finished yet" in panels["curve"].svg
    assert "no runs have finished yet" in panels["front_params"].svg
    assert "no runs have finished yet" in panels["learning_curves"].svg


def test_hostile_labels_are_drawn_as_texts():
    record = make_record("bypass", images=50)
    record = replace(record, points=record.points.assign(label=[f"{place} {HOSTILE}" for place in range(3)]))
    for one in study_figures.draw(Findings(record)).values():
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
