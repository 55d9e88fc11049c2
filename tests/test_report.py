"""The report's files and what its page says."""

import errno
import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from xml.parsers.expat import ParserCreate

import pandas as pd
import pytest
from records import broken, make_record

from explorer import report
from explorer.errors import ExplorerError
from explorer.study import Range
from explorer.study_files import load_study

STUDIES = ("squeeze_ratio", "pct3x3", "bypass", "delayed_downsampling")
HOSTILE = '<script>alert("1")</script> & $x^{ "quoted" \'also\' --> ]]>'


class Page(HTMLParser):
    """What of a page the tests ask for: the tags with their attributes, and the text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def page_of(record, folder):
    return Page(report.write_report(record, folder).read_text(encoding="utf-8"))


def without_runs(record):
    for point in record.points["point"]:
        record = broken(record, point, tuple(range(record.study.seeds)), "missing", "")
    return record


@pytest.fixture(scope="module")
def record():
    return make_record(images=1000)


@pytest.mark.parametrize("name", STUDIES)
def test_a_report_is_a_page_with_tables_and_figures_beside_it(name, tmp_path):
    page = report.write_report(make_record(name, images=300), tmp_path / "reports" / name)
    assert page == tmp_path / "reports" / name / "report.html"
    figures = {"curve.svg", "front_params.svg", "front_macs.svg", "learning_curves.svg"}
    figures |= {"published.svg"} if load_study(name).plot.published else set()
    tables = {"points.csv", "points.parquet", "runs.csv", "runs.parquet"}
    assert {path.name for path in page.parent.iterdir()} == {"report.html"} | tables | figures
    assert page.stat().st_size < 400_000


def test_the_tables_hold_every_point_and_every_run(record, tmp_path):
    report.write_report(record, tmp_path)
    points, runs = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("points", "runs"))
    assert points["accuracy"].tolist() == pytest.approx(record.runs.groupby("point")["accuracy"].mean().tolist())
    assert runs["accuracy"].tolist() == pytest.approx(record.runs["accuracy"].tolist())
    assert json.loads(runs["accuracies"][0]) == pytest.approx(record.runs["accuracies"][0])
    for name, table in (("points", points), ("runs", runs)):
        stored = pd.read_parquet(tmp_path / f"{name}.parquet")
        assert list(stored.columns) == list(table.columns)
        assert len(stored) == len(table)


def test_the_same_rows_give_the_same_bytes(record):
    first, second = (report.report_files(record) for _ in range(2))
    assert first == second


def test_the_page_says_all_that_it_must(record, tmp_path):
    page = page_of(record, tmp_path)
    assert "squeeze_ratio = 1.0 has the best accuracy of the 8 measured points" in page.text
    assert "All 24 runs are done." in page.text
    assert "The test set was not read." in page.text
    assert "The 1,000 validation images are a sample, and so are the seeds" in page.text
    assert "explorer sweep squeeze_ratio" in page.text
    assert "fingerprint ffffffffffffffff" in page.text
    assert "learning_rate = 0.12" in page.text
    for fact in (*record.versions.values(), *record.machine.values()):
        assert fact in page.text
    assert " ".join(record.study.text.split()) in page.text
    rows = sum(tag == "tr" for tag, _ in page.tags)
    assert rows == (1 + 8) + (1 + 24)


def test_the_page_is_self_contained(record, tmp_path):
    page = page_of(record, tmp_path)
    assert not [tag for tag, _ in page.tags if tag in {"script", "img", "iframe", "object", "embed"}]
    links = [value for _, attrs in page.tags for key, value in attrs.items() if key in {"href", "src", "xlink:href"}]
    assert all(link.startswith(("#", "data:")) for link in links)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "@import" not in html
    assert re.findall(r"url\((?!#)", html) == []


def test_identifiers_are_unique_and_references_resolve(record, tmp_path):
    html = (report.write_report(record, tmp_path)).read_text(encoding="utf-8")
    names = [attrs["id"] for _, attrs in Page(html).tags if "id" in attrs]
    assert len(names) == len(set(names))
    assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', html)) <= set(names)


def test_figures_are_named_for_those_who_do_not_see_them(record, tmp_path):
    figures = [attrs for tag, attrs in page_of(record, tmp_path).tags if tag == "svg"]
    assert len(figures) == 5
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in figures)
    assert not any({"width", "height"} & set(attrs) for attrs in figures)
    for path in tmp_path.glob("*.svg"):
        ParserCreate().Parse(path.read_bytes(), True)


def test_hostile_texts_are_text(record, tmp_path):
    study = record.study.model_copy(
        update={"title": HOSTILE, "name": HOSTILE, "text": f"# {HOSTILE}\n", "data": HOSTILE}
    )
    runs = record.runs.copy()
    runs.loc[0, ["state", "reason"]] = ["failed", HOSTILE]
    hostile = replace(
        record,
        study=study,
        command=HOSTILE,
        versions={HOSTILE: HOSTILE},
        machine={HOSTILE: HOSTILE},
        points=record.points.assign(label=[f"{number} {HOSTILE}" for number in range(8)]),
        runs=runs,
    )
    page = page_of(hostile, tmp_path)
    assert not [tag for tag, _ in page.tags if tag == "script"]
    assert page.text.count('<script>alert("1")</script>') > 40
    assert f"# {HOSTILE}" in page.text
    assert [attrs for _, attrs in page.tags if any(key.startswith("on") for key in attrs)] == []
    assert unescape((tmp_path / "report.html").read_text(encoding="utf-8")).count(HOSTILE) > 10
    for path in tmp_path.glob("*.svg"):
        ParserCreate().Parse(path.read_bytes(), True)


def test_labels_in_any_script(tmp_path):
    record = make_record("bypass", images=50)
    labels = ["\u6f22\u5b57", "\N{LATIN SMALL LETTER SHARP S}\N{RIGHTWARDS ARROW}", "tab\there"]
    page_of(replace(record, points=record.points.assign(label=labels)), tmp_path)
    assert labels[0] in (tmp_path / "curve.svg").read_text(encoding="utf-8")


def test_what_failed_or_is_missing_is_said_in_words(tmp_path):
    record = broken(make_record(images=200), 2, (1,), "failed", "the loss is not finite")
    record = broken(record, 4, (0, 1, 2), "crashed", "the worker died")
    record = broken(record, 6, (0, 1, 2), "missing", "")
    text = page_of(record, tmp_path).text
    assert "This is a partial result: 17 of 24 runs are done (1 failed, 3 crashed, 3 missing)." in text
    assert "best accuracy of the 6 measured points" in text
    assert "partly done: 1 of 3 runs failed: the loss is not finite" in text
    assert "failed: 3 of 3 runs failed: the worker died" in text
    assert text.count("crashed: the worker died") == 3
    assert "Hollow marks miss some seeds." in text


def test_points_that_are_not_trained_have_their_reasons(tmp_path):
    study = load_study("squeeze_ratio")
    limits = {"vary": {"squeeze_ratio": [0.125, 0.126, 0.5, 1.0]}, "constraints": {"params": Range(max=300_000)}}
    text = page_of(make_record(study.model_copy(update=limits), images=200), tmp_path).text
    assert "merged: the same network as 0.125" in text
    assert "over budget: params = 363,714: at most 300,000" in text
    assert "params at most 300,000" in text
    assert "None: every point" not in text
    assert "All 6 runs are done." in text
    assert "best accuracy of the 2 measured points" in text


def test_infeasible_points_have_no_cost(tmp_path):
    study = load_study("delayed_downsampling")
    record = make_record(study.model_copy(update={"vary": {"pools": [(1, 4, 8), (1, 4, 10)]}}), images=100)
    text = page_of(record, tmp_path).text
    assert "1-4-10 \N{EN DASH} \N{EN DASH} infeasible pools: a pool after layer 10" in text


def test_one_seed_is_said_and_tells_no_points_apart(tmp_path):
    text = page_of(make_record(seeds=1, images=1000), tmp_path).text
    assert text.count("One seed: spread between seeds unknown") == 2
    assert "separated" not in text


def test_a_study_without_a_done_run_has_a_report(tmp_path):
    text = page_of(without_runs(make_record(images=100)), tmp_path).text
    assert "No run is done yet, so there is no answer." in text
    assert "0 of 24 runs are done (24 missing)" in text
    assert "95 % intervals" not in text


def test_the_answer_names_what_is_not_separated_from_the_best():
    answer = report.answer(make_record("delayed_downsampling", images=1000)).replace("\N{NO-BREAK SPACE}", " ")
    assert re.search(r"pools = \S+ has the best accuracy of the 7 measured points: [\d.]+ % \(95 % interval", answer)
    assert "with 183 k params and" in answer
    assert "Not separated from it: " in answer
    assert "The least accurate is pools = 1-2-3: " in answer


def test_a_single_point_is_an_answer():
    study = load_study("squeeze_ratio").model_copy(update={"vary": {"squeeze_ratio": [0.5]}})
    assert report.answer(make_record(study, images=100)).startswith("squeeze_ratio = 0.5 is the only measured point: ")


def test_at_equal_cost_the_caption_says_so(tmp_path):
    text = page_of(make_record("delayed_downsampling", images=500), tmp_path).text
    assert "All points cost the same, so the front is the most accurate one: " in text


def test_a_failure_leaves_the_old_report_as_it_was(record, tmp_path, monkeypatch):
    report.write_report(record, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = replace(record, command="another command")

    def full(*_):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(report, "render", full)
    with pytest.raises(OSError, match="no space"):
        report.write_report(other, tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(ExplorerError, match="cannot be written: no space"):
        report.write_report(other, tmp_path)
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    report.write_report(other, tmp_path)
    assert "another command" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_no_figure_is_left_open_and_no_setting_changed(record, tmp_path):
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    before = dict(mpl.rcParams)
    report.write_report(record, tmp_path)
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before
