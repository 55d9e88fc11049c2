"""The report in a browser: it fits the screen, shows its figures, asks for nothing and reports no error."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from records import broken, changed, make_record

from explorer.analysis import Findings
from explorer.reporting.study import write_report

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

HEADINGS = [
    "Claims",
    "Accuracy and cost",
    "Points",
    "How far to trust it",
    "Statistics",
    "Runs",
    "How it was measured",
    "Files and sources",
]
STUDIES = ("squeeze_ratio", "bypass", "squeezenet_grid", "compound_grid", "compound_scaling")
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script></script>"\'&$'


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    whole = {name: make_record(name, images=500) for name in STUDIES}
    partial = broken(broken(whole["squeeze_ratio"], 1, (0, 1, 2), reason="no luck " * 30), 2, (0,), "missing", "")
    trial = changed("squeeze_ratio", budget={"images": 500, "epochs": 1, "validation": 100})
    records = {**whole, "partial": partial, "trial": make_record(trial, images=100, seeds=1)}
    return {name: write_report(Findings(record), folder / name) for name, record in records.items()}


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
    yield page, name, asked, troubles
    page.close()


FEW = [(name, *look) for name in ("squeeze_ratio", "compound_grid") for look in ((390, "light"), (1440, "dark"))]
CASES = [
    (name, width, colours) for name in (*STUDIES, "partial") for width, colours in ((390, "light"), (1440, "dark"))
]


@pytest.mark.parametrize("opened", CASES, indirect=True, ids=str)
def test_the_page_asks_for_nothing_and_fits_the_screen(opened, reports):
    page, name, asked, troubles = opened
    assert [url for url in asked if not url.startswith("data:")] == [reports[name].as_uri()]
    assert troubles == []
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    assert [heading.inner_text() for heading in page.locator("h2").all()] == HEADINGS
    assert page.locator("h1").count() == 1
    if page.viewport_size["width"] == 1440:
        page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
        cut = "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.ariaLabel)"
        assert page.eval_on_selector_all(".scroll", cut) == []


@pytest.mark.parametrize("opened", FEW, indirect=True, ids=str)
def test_figures_are_visible_and_their_text_can_be_read(opened):
    page, *_ = opened
    figures = page.locator("figure svg")
    assert figures.count() >= 1
    width = page.viewport_size["width"]
    for figure in figures.all():
        assert figure.is_visible()
        box = figure.bounding_box()
        assert box["width"] > min(300, 0.75 * width)
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    sizes = page.eval_on_selector_all(
        "figure svg text, svg.front text",
        "all => all.map(text => text.getBoundingClientRect().height).filter(height => height)",
    )
    assert min(sizes) > 9
    # No text is cut off by the edge of its figure.
    outside = """all => all.filter(text => {
        const box = text.getBoundingClientRect(), frame = text.closest('svg').getBoundingClientRect()
        return box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1
    }).map(text => text.textContent)"""
    assert page.eval_on_selector_all("figure svg text", outside) == []
    # Figures take the colours of the page: dark ink would be lost on a dark ground.
    inks = page.eval_on_selector_all(
        "figure svg text", "all => [...new Set(all.map(text => getComputedStyle(text).fill))]"
    )
    ink = page.evaluate("getComputedStyle(document.body).color")
    assert ink in inks


@pytest.mark.parametrize("opened", [(name, 1440, "light") for name in (*STUDIES, "partial")], indirect=True, ids=str)
def test_the_first_screen_answers_the_question(opened):
    page, *_ = opened
    for part in ("h1", ".setting", ".answer", ".claims li >> nth=-1", "figure .card >> nth=0", ".contents"):
        box = page.locator(part).bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 900, part
    lines = page.evaluate("document.querySelector('.setting').getClientRects().length")
    height = page.locator(".setting").bounding_box()["height"]
    assert (lines, height < 30) == (1, True), "one line"


@pytest.mark.parametrize("opened", [("trial", 1440, "light"), ("trial", 390, "dark")], indirect=True, ids=str)
def test_a_trial_run_begins_with_its_banner(opened):
    page, _, _, troubles = opened
    banner = page.locator(".trial")
    assert banner.inner_text().startswith("Trial run: ")
    assert banner.bounding_box()["y"] < page.locator("figure").bounding_box()["y"]
    assert page.locator(".verdict, svg.front").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    assert axe.Axe().run(page).violations_count == 0
    assert troubles == []


@pytest.mark.parametrize(
    "opened", [("squeeze_ratio", 390, "light"), ("squeeze_ratio", 1440, "light")], indirect=True, ids=str
)
def test_the_contents_lead_to_every_section(opened):
    page, *_ = opened
    links = page.locator(".contents a[href^='#']")
    assert links.all_inner_texts() == [name for name in HEADINGS if name != "Claims"]
    for link in links.all():
        link.click()
        section = page.locator(link.get_attribute("href"))
        assert section.evaluate("one => one.tagName != 'DETAILS' || one.open"), "a fold opens"
        assert 0 <= section.bounding_box()["y"] < 900
    if page.viewport_size["width"] == 1440:
        assert page.locator(".contents").bounding_box()["y"] < 100, "they stay in sight"


@pytest.mark.parametrize("opened", [("squeeze_ratio", 1440, "light")], indirect=True, ids=str)
def test_commands_are_copied_by_a_button(opened):
    page, *_ = opened
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.mouse.click(*centre(page, 3))
    page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    buttons = page.locator("button.copy")
    wanted = [
        *("export squeeze_ratio --point point3", "explorer sweep squeeze_ratio --epochs", "certify squeezenet"),
        "explorer sweep squeeze_ratio",
    ]
    assert buttons.count() == len(wanted)
    for button, text in zip(buttons.all(), wanted, strict=True):
        button.click()
        page.wait_for_function("text => navigator.clipboard.readText().then(found => found.includes(text))", arg=text)
        assert button.inner_text() == "Copied"
    # A page from a plain http server has no such clipboard.
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.evaluate("document.addEventListener('copy', () => (window.copied = String(getSelection())))")
    buttons.last.click()
    assert page.evaluate("window.copied") == "explorer sweep squeeze_ratio"


@pytest.mark.parametrize("opened", [("squeeze_ratio", 1440, "dark")], indirect=True, ids=str)
def test_print_opens_the_folds_and_closes_them_again(opened):
    page, *_ = opened
    text = page.locator('[aria-label="Runs"]')
    assert not text.is_visible()
    page.emulate_media(media="print")
    assert text.is_visible(), "also without the script"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
    assert not page.locator(".contents").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_the_page_is_read_without_javascript(browser, reports):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(reports["partial"].as_uri())
    assert "This is a partial result" in page.locator(".answer").inner_text()
    assert page.locator("figure svg").first.is_visible()
    assert page.locator("svg.front .mark").count() == 7
    for control in ("form.axes", ".chosen", "#filter", "#rest"):
        assert not page.locator(control).is_visible(), "what only a script could serve"
    page.locator("svg.front .mark").nth(2).click()
    assert page.url.endswith("#point-3"), "a mark leads to its row"
    context.close()


STUDY = [("squeeze_ratio", 1440, "light")]


def rows(page):
    return page.locator('[aria-label="Points"] tbody tr th').all_inner_texts()


def centre(page, number):
    page.locator("svg.front").scroll_into_view_if_needed()
    box = page.locator("svg.front .mark circle").nth(number).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@pytest.mark.parametrize("opened", STUDY, indirect=True, ids=str)
def test_hovering_tells_of_the_nearest_point(opened):
    page, _, _, troubles = opened
    tip = page.locator(".tip")
    assert not tip.is_visible()
    x, y = centre(page, 4)
    page.mouse.move(x + 5, y + 5)
    assert tip.is_visible()
    assert tip.locator("strong").inner_text() == "0.625"
    assert "params 228,546" in tip.inner_text()
    assert page.locator("tr.near").get_attribute("id") == "point-4"
    assert page.locator("svg.front .diamond").count() == 1
    page.mouse.move(*centre(page, 0))
    assert tip.locator("strong").inner_text() == "0.125 (as in SqueezeNet v1.0)"
    page.mouse.move(x, y)
    page.mouse.move(x, y + 150)
    assert not tip.is_visible()
    assert troubles == []


@pytest.mark.parametrize("opened", STUDY, indirect=True, ids=str)
def test_a_chosen_point_shows_all_that_is_known_of_it(opened):
    page, _, _, troubles = opened
    page.mouse.click(*centre(page, 3))
    chosen = page.locator(".chosen")
    assert chosen.locator("h3").inner_text() == "0.5"
    text = chosen.inner_text()
    for words in (
        "183,490",
        "probably on the front of",
        "memory access ",
        "seed 2: ",
        "fire2",
        "export squeeze_ratio --point point3",
    ):
        assert words in text
    assert chosen.locator("svg.curves polyline").count() == 3
    assert page.locator("tr.chosen-row").get_attribute("id") == "point-3"
    assert "export squeeze_ratio --point point3" in chosen.locator("pre").inner_text()
    # A row of the table chooses its point as well.
    page.locator("#point-6 td").first.click()
    assert chosen.locator("h3").inner_text() == "0.875"
    assert troubles == []


@pytest.mark.parametrize("opened", STUDY, indirect=True, ids=str)
def test_the_axes_can_be_changed(opened):
    page, _, _, troubles = opened
    front = page.locator("svg.front")
    before = [centre(page, number) for number in range(8)]
    titles = lambda: [text.inner_html() for text in front.locator(".axis .title").all() if text.is_visible()]  # noqa: E731
    assert titles() == ["Validation accuracy (%)", "FLOPs (multiply-adds, M)"]
    page.select_option("select[name=x]", "activations")
    assert titles() == ["Validation accuracy (%)", "Activations (k)"]
    after = [centre(page, number) for number in range(8)]
    assert [y for _, y in after] == pytest.approx([y for _, y in before], abs=0.5)
    assert front.locator(".stairs").count() > 1
    assert sum(stairs.is_visible() for stairs in front.locator(".stairs").all()) == 1
    page.select_option("select[name=y]", "params")
    assert titles() == ["Params (k)", "Activations (k)"]
    assert not any(stairs.is_visible() for stairs in front.locator(".stairs").all()), "a front is of accuracy"
    assert not front.locator(".bar").first.is_visible()
    # Params rise with activations here.
    places = sorted(centre(page, number) for number in range(8))
    assert [y for _, y in places] == sorted((y for _, y in places), reverse=True)
    assert troubles == []


@pytest.mark.parametrize("opened", STUDY, indirect=True, ids=str)
def test_points_stand_where_their_numbers_say(opened, reports):
    """Places on a linear axis of accuracy are a linear function of the accuracies of the files."""
    page, name, *_ = opened
    accuracies = pd.read_csv(reports[name].parent / "points.csv")["accuracy"]
    heights = np.array([centre(page, number)[1] for number in range(8)])
    slope, start = np.polyfit(accuracies, heights, 1)
    assert slope < 0
    assert heights == pytest.approx(start + slope * accuracies, abs=0.2)
    ticks = page.eval_on_selector_all(
        'svg.front .axis[data-y="accuracy"] text:not(.title)',
        "all => all.map(text => [parseFloat(text.textContent), text.previousElementSibling.getBoundingClientRect().y])",
    )
    for percent, height in ticks:
        assert height == pytest.approx(start + slope * percent / 100, abs=1)


@pytest.mark.parametrize("opened", STUDY, indirect=True, ids=str)
def test_a_drawn_frame_and_a_text_filter_the_table(opened):
    page, _, _, troubles = opened
    (left, top), (right, bottom) = centre(page, 2), centre(page, 4)
    page.mouse.move(left - 12, max(top, bottom) + 12)
    page.mouse.down()
    page.mouse.move((left + right) / 2, (top + bottom) / 2)
    page.mouse.move(right + 12, min(top, bottom) - 12)
    page.mouse.up()
    assert rows(page) == ["0.375", "0.5", "0.625"]
    assert page.locator("#filter [role=status]").inner_text() == "3 of 8 points"
    assert page.locator(".chosen h3").count() == 0, "the click that ends a frame chooses nothing"
    assert page.locator(".brush").is_visible()
    page.select_option("select[name=x]", "params")
    assert not page.locator(".brush").is_visible(), "other points stand there now"
    assert len(rows(page)) == 8
    page.select_option("select[name=x]", "macs")
    page.mouse.move(left - 12, max(top, bottom) + 12)
    page.mouse.down()
    page.mouse.move(right + 12, min(top, bottom) - 12)
    page.mouse.up()
    page.fill("#filter input", "0.62")
    assert rows(page) == ["0.625"]
    page.click("#filter button")
    assert len(rows(page)) == 8
    page.fill("#filter input", "not separated")
    assert 0 < len(rows(page)) < 8
    assert troubles == []


@pytest.mark.parametrize("opened", STUDY, indirect=True, ids=str)
def test_the_table_is_sorted_by_any_column(opened):
    page, _, _, troubles = opened
    page.click("thead button:has-text('params')")
    assert rows(page)[0] == "0.125"
    page.click("thead button:has-text('params')")
    assert rows(page) == ["1.0", "0.875", "0.75", "0.625", "0.5", "0.375", "0.25", "0.125"]
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    page.click("thead button:has-text('accuracy')")
    values = [
        float(text.split()[0]) for text in page.locator('[aria-label="Points"] tbody td:nth-child(2)').all_inner_texts()
    ]
    assert values == sorted(values)
    assert troubles == []


@pytest.mark.parametrize("opened", STUDY, indirect=True, ids=str)
def test_points_are_reached_and_chosen_by_keyboard(opened):
    page, _, _, troubles = opened
    page.focus("select[name=x]")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#point-0", "one stop for all marks"
    assert page.locator(".tip").is_visible()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.locator(".chosen h3").inner_text() == "0.375"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('svg')") is None
    assert troubles == []


@pytest.mark.parametrize("opened", FEW, indirect=True, ids=str)
def test_structure_and_contrast_pass_axe(opened):
    page, *_ = opened
    page.mouse.click(*centre(page, 1))
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_a_hostile_study_runs_nothing(browser, tmp_path):
    record = make_record("bypass", images=50)
    study = record.study.model_copy(update={"title": HOSTILE, "name": HOSTILE, "text": HOSTILE})
    points = record.points.assign(label=[f"{HOSTILE}{number}" for number in range(3)])
    runs = record.runs.copy()
    runs.loc[0, ["state", "reason"]] = ["failed", HOSTILE]
    page = browser.new_page()
    troubles = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    path = write_report(Findings(replace(record, study=study, points=points, runs=runs, command=HOSTILE)), tmp_path)
    page.goto(path.as_uri())
    page.mouse.click(*centre(page, 1))
    assert page.locator(".chosen h3").inner_text() == f"{HOSTILE}1"
    assert page.title().startswith(HOSTILE)
    assert page.locator("img").count() == 0
    assert troubles == []
    page.close()
