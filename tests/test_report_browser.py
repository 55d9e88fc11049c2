"""The report in a browser: it fits the screen, shows its figures, asks for nothing and reports no error."""

import shutil

import pytest
from records import broken, make_record

from explorer.report import write_report

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

HEADINGS = [
    "Accuracy and cost",
    "How far these runs can be trusted",
    "Pareto fronts",
    "Points",
    "Points not trained",
    "Runs",
    "How it was measured",
    "Study file",
]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    whole = {name: make_record(name, images=500) for name in ("squeeze_ratio", "bypass", "delayed_downsampling")}
    partial = broken(broken(whole["squeeze_ratio"], 1, (0, 1, 2), reason="no luck " * 30), 2, (0,), "missing", "")
    return {name: write_report(record, folder / name) for name, record in {**whole, "partial": partial}.items()}


@pytest.fixture
def opened(browser, reports, request):
    """The page of a report as (study, width, colours), with what it asked for and what went wrong."""
    name, width, colours = request.param
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=colours)
    asked, troubles = [], []
    page.on("request", lambda asking: asked.append(asking.url))
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(reports[name].as_uri())
    page.wait_for_load_state("networkidle")
    yield page, name, asked, troubles
    page.close()


CASES = [
    (name, width, colours)
    for name in ("squeeze_ratio", "bypass", "delayed_downsampling", "partial")
    for width, colours in ((390, "light"), (1440, "dark"))
]


@pytest.mark.parametrize("opened", CASES, indirect=True, ids=str)
def test_the_page_asks_for_nothing_and_fits_the_screen(opened, reports):
    page, name, asked, troubles = opened
    assert [url for url in asked if not url.startswith("data:")] == [reports[name].as_uri()]
    assert troubles == []
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    assert [heading.inner_text() for heading in page.locator("h2").all()] == HEADINGS
    assert page.locator("h1").count() == 1


@pytest.mark.parametrize("opened", CASES, indirect=True, ids=str)
def test_figures_are_visible_and_their_text_can_be_read(opened):
    page, name, *_ = opened
    figures = page.locator("figure svg")
    assert figures.count() == (4 if name == "delayed_downsampling" else 5)
    width = page.viewport_size["width"]
    for figure in figures.all():
        assert figure.is_visible()
        box = figure.bounding_box()
        assert box["width"] > min(300, 0.75 * width)
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    sizes = page.eval_on_selector_all("figure svg text", "all => all.map(text => text.getBoundingClientRect().height)")
    assert min(sizes) > 9
    # No text is cut off by the edge of its figure.
    outside = """all => all.filter(text => {
        const box = text.getBoundingClientRect(), frame = text.closest('svg').getBoundingClientRect()
        return box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1
    }).map(text => text.textContent)"""
    assert page.eval_on_selector_all("figure svg text", outside) == []
    background = page.locator(".card").first.evaluate("card => getComputedStyle(card).backgroundColor")
    assert background == "rgb(255, 255, 255)", "figures are drawn for a light ground"


@pytest.mark.parametrize(
    "opened", [("squeeze_ratio", 390, "light"), ("squeeze_ratio", 1440, "light")], indirect=True, ids=str
)
def test_the_published_curve_stands_beside_or_below(opened):
    page, *_ = opened
    first, second = (figure.bounding_box() for figure in page.locator("figure").all()[:2])
    if page.viewport_size["width"] == 390:
        assert second["y"] >= first["y"] + first["height"]
    else:
        assert second["y"] == first["y"]
        assert second["x"] >= first["x"] + first["width"]


def test_the_page_is_read_without_javascript(browser, reports):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(reports["partial"].as_uri())
    assert "This is a partial result" in page.locator(".answer").inner_text()
    assert page.locator("figure svg").first.is_visible()
    context.close()
