"""The report's files and what its page says."""

import base64
import errno
import hashlib
import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.parsers.expat import ParserCreate

import numpy as np
import pandas as pd
import pytest
from markupsafe import escape
from records import broken, changed, make_record

from explorer.analysis import Findings
from explorer.analysis.claims import judge
from explorer.errors import ExplorerError
from explorer.reporting import study as report
from explorer.reporting import tables as report_tables
from explorer.reporting.answer import answer as sentences_of
from explorer.reporting.answer import more
from explorer.reporting.details import details
from explorer.reporting.index import write_index
from explorer.reporting.methodology import methodology
from explorer.reporting.notes import enlarged_note, evidence, space_note, volume_notes
from explorer.reporting.prose import papers, prose
from explorer.reporting.setting import setting
from explorer.reporting.trust import settled_by
from explorer.reporting.words import amount
from explorer.study.files import load_study
from explorer.study.model import Range
from explorer.training.recipe import Budget

ROOT = Path(__file__).parent.parent
STUDIES = ("squeeze_ratio", "pct3x3", "bypass", "delayed_downsampling")
HOSTILE = '<script>alert("1")</script> & $x^{ "quoted" \'also\' --> ]]>'


class Page(HTMLParser):
    """What of a page the tests ask for: the tags with their attributes, and the text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words, self.inside = [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag):  # noqa: ARG002 (the parser gives it)
        self.inside = ""

    def handle_data(self, data):
        if self.inside not in {"script", "style"}:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def answer_of(record):
    return " ".join(sentences_of(Findings(record)))


def page_of(record, folder):
    return Page(report.write_report(Findings(record), folder).read_text(encoding="utf-8"))


def without_runs(record):
    for point in record.points["point"]:
        record = broken(record, point, tuple(range(record.study.seeds)), "missing", "")
    return record


@pytest.fixture(scope="module")
def record():
    return make_record(images=1000)


@pytest.mark.parametrize("name", STUDIES)
def test_a_report_is_a_page_with_tables_and_figures_beside_it(name, tmp_path):
    page = report.write_report(Findings(make_record(name, images=300)), tmp_path / "reports" / name)
    assert page == tmp_path / "reports" / name / "report.html"
    figures = {path.name for path in (page.parent / "figures").iterdir()}
    assert figures == {"curve.svg", *(["published.svg"] if load_study(name).plot.published else [])}
    tables = {"points.csv", "points.parquet", "runs.csv", "runs.parquet", "summary.json", "figures"}
    assert {path.name for path in page.parent.iterdir()} == {"report.html"} | tables
    assert page.stat().st_size < 400_000


def test_figures_in_other_formats_are_written_on_request_and_none_is_left_of_an_earlier_report(tmp_path):
    findings = Findings(make_record("bypass", images=50))
    for formats in (("pdf", "png"), ("png",), ()):
        report.write_report(findings, tmp_path, formats=formats)
        kinds = {path.suffix[1:] for path in (tmp_path / "figures").iterdir()}
        assert kinds == {"svg", *formats}


def test_the_tables_hold_every_point_and_every_run(record, tmp_path):
    report.write_report(Findings(record), tmp_path)
    points, runs = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("points", "runs"))
    assert points["accuracy"].tolist() == pytest.approx(record.runs.groupby("point")["accuracy"].mean().tolist())
    assert runs["accuracy"].tolist() == pytest.approx(record.runs["accuracy"].tolist())
    assert json.loads(runs["accuracies"][0]) == pytest.approx(record.runs["accuracies"][0])
    for name, table in (("points", points), ("runs", runs)):
        stored = pd.read_parquet(tmp_path / f"{name}.parquet")
        assert list(stored.columns) == list(table.columns)
        assert len(stored) == len(table)


def test_the_same_rows_give_the_same_bytes(record):
    first, second = (report.report_files(Findings(record)) for _ in range(2))
    assert first == second


def test_the_page_says_all_that_it_must(record, tmp_path):
    page = page_of(record, tmp_path)
    assert "squeeze_ratio = 1.0 has the best accuracy of the 8 measured points" in page.text
    assert "24 runs took" in page.text
    assert "core-seconds" in page.text
    assert "Accuracy plateaus at a squeeze ratio of 0.75" in page.text
    assert "has a hypervolume of" in page.text
    assert "All 24 runs are done. 24 runs took" in page.text
    assert "The test set was not read." in page.text
    assert "sample of 1,000 validation images and for the spread between seeds" in page.text
    assert "explorer sweep squeeze_ratio" in page.text
    assert "fingerprint ffffffffffffffff" in page.text
    assert "learning_rate = 0.12" in page.text
    for fact in (*record.versions.values(), *record.machine.values()):
        assert fact in page.text
    assert " ".join(record.study.text.split()) in page.text
    rows = sum(tag == "tr" for tag, _ in page.tags)
    # Points and runs, how costs rank, and the one published choice.
    assert rows == (1 + 8) + (1 + 24) + (1 + 5) + (1 + 1)


def test_the_page_is_self_contained(record, tmp_path):
    page = page_of(record, tmp_path)
    assert not [tag for tag, _ in page.tags if tag in {"img", "iframe", "object", "embed"}]
    assert [attrs["href"] for tag, attrs in page.tags if tag == "link"] == ["data:,"]
    assert not [attrs for tag, attrs in page.tags if tag == "script" and "src" in attrs]
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "@import" not in html
    assert re.findall(r"url\((?!#)", html) == []


def test_identifiers_are_unique_and_references_resolve(record, tmp_path):
    html = (report.write_report(Findings(record), tmp_path)).read_text(encoding="utf-8")
    names = [attrs["id"] for _, attrs in Page(html).tags if "id" in attrs]
    assert len(names) == len(set(names))
    assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', html)) <= set(names)


def test_only_the_report_s_own_script_may_run(record, tmp_path):
    html = report.write_report(Findings(record), tmp_path).read_text(encoding="utf-8")
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    assert policy.startswith("default-src 'none';")
    data, *scripts = re.findall(r"<script([^>]*)>(.*?)</script>", html, re.DOTALL)
    assert 'type="application/json"' in data[0]
    digests = [base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for _, code in scripts]
    assert len(digests) == 2
    assert policy.endswith(" ".join(["script-src", *(f"'sha256-{digest}'" for digest in digests)]))
    assert "unsafe-inline" not in policy.partition("script-src")[2]


def test_the_script_s_data_has_the_seeds_the_layers_and_the_command(record):
    html = report.report_files(Findings(record))["report.html"].decode()
    data = json.loads(re.search(r'id="data">(.*?)</script>', html, re.DOTALL)[1])
    assert data["points"] == list(range(8))
    first = record.runs[record.runs["point"] == 0]
    assert [run[2][-1] for run in data["runs"]["0"]] == pytest.approx(first["accuracy"].tolist(), abs=1e-4)
    rows = [data["layer_rows"][number] for number in data["layers"]["3"]]
    totals = dict(zip(data["layer_columns"], rows[-1], strict=True))
    assert totals["params"] == f"{record.points['params'][3]:,}"
    assert data["command"] == ["python -m explorer export squeeze_ratio --point point", ""]
    assert data["sure"]["params"][0] == 1
    there = replace(record, command="python -m explorer sweep squeeze_ratio --storage 'my runs.db' --data-dir=d")
    html = report.report_files(Findings(there))["report.html"].decode()
    assert "\" --storage 'my runs.db' --data-dir d\"" in html


def test_figures_are_named_for_those_who_do_not_see_them(record, tmp_path):
    figures = [attrs for tag, attrs in page_of(record, tmp_path).tags if tag == "svg"]
    assert len(figures) == 3
    assert all(attrs["role"] in {"img", "group"} and attrs["aria-label"] for attrs in figures)
    assert not any({"width", "height"} & set(attrs) for attrs in figures)
    for path in (tmp_path / "figures").glob("*.svg"):
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
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 3, "the page's own data and scripts"
    assert page.text.count('<script>alert("1")</script>') > 40
    assert f"# {HOSTILE}" in page.text
    assert [attrs for _, attrs in page.tags if any(key.startswith("on") for key in attrs)] == []
    assert unescape((tmp_path / "report.html").read_text(encoding="utf-8")).count(HOSTILE) > 10
    for path in (tmp_path / "figures").glob("*.svg"):
        ParserCreate().Parse(path.read_bytes(), True)


def test_labels_in_any_script(tmp_path):
    record = make_record("bypass", images=50)
    labels = ["\u6f22\u5b57", "\N{LATIN SMALL LETTER SHARP S}\N{RIGHTWARDS ARROW}", "tab\there"]
    page_of(replace(record, points=record.points.assign(label=labels)), tmp_path)
    assert labels[0] in (tmp_path / "figures" / "curve.svg").read_text(encoding="utf-8")


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
    assert "Hollow: some seeds missing." in text


def test_points_that_are_not_trained_have_their_reasons(tmp_path):
    study = load_study("squeeze_ratio")
    limits = {"vary": {"squeeze_ratio": [0.125, 0.126, 0.5, 1.0]}, "constraints": {"params": Range(max=300_000)}}
    text = page_of(make_record(changed(study, **limits), images=200), tmp_path).text
    assert "merged: the same network as 0.125" in text
    assert "over budget: params = 363,714: at most 300,000" in text
    assert "params at most 300,000" in text
    assert "All 6 runs are done." in text
    assert "best accuracy of the 2 measured points" in text


def test_infeasible_points_have_no_cost(tmp_path):
    study = load_study("delayed_downsampling")
    record = make_record(changed(study, vary={"pools": [(1, 4, 8), (1, 4, 10)]}), images=100)
    text = page_of(record, tmp_path).text
    assert re.search("1-4-10 (\N{EN DASH} )+infeasible: pools: a pool after layer 10", text)


def test_one_seed_is_said_and_tells_no_points_apart(tmp_path):
    text = page_of(make_record(seeds=1, images=1000), tmp_path).text
    assert text.lower().count("with one seed, the spread between seeds is unknown") == 2
    assert "not separated" not in text
    assert "undecided" in text
    assert not re.search(r"(supported|refuted) Accuracy", text)


def test_a_study_without_a_done_run_has_a_report(tmp_path):
    text = page_of(without_runs(make_record(images=100)), tmp_path).text
    assert "No runs have finished yet." in text
    assert "0 of 24 runs are done (24 missing)" in text
    assert "validation images and for" not in text


def test_the_answer_names_what_is_not_separated_from_the_best():
    answer = answer_of(make_record("delayed_downsampling", images=1000)).replace("\N{NO-BREAK SPACE}", " ")
    assert re.search(r"pools = \S+ has the best accuracy of the 7 measured points: [\d.]+ % \(95 % interval", answer)
    assert "with 183 k params and" in answer
    assert answer.endswith(" The runs cannot tell it from 2-5-9."), "no saving: its loss may be large"
    assert answer.count(". ") == 1, "two sentences"
    assert more(Findings(make_record("delayed_downsampling", images=1000))) == []


def test_the_answer_of_a_trial_run_says_so():
    trial = changed("squeeze_ratio", budget={"images": 256, "epochs": 1})
    assert answer_of(make_record(trial, images=100, seeds=1)) == (
        "Trial run: one seed and one epoch of 256 images; its accuracies mean nothing."
    )
    assert "best accuracy" in answer_of(make_record(trial, images=100, seeds=3))


def with_accuracies(record, accuracies):
    """The record with such an accuracy at each point; the same images are right where these are the same."""

    def measure(run):
        images = len(run["correct"])
        # Seeds differ a little, so that their spread is known.
        share = accuracies.get(run["point"], 0.3) + 0.004 * (run["seed"] - 1)
        bits = np.arange(images) < round(share * images)
        return run | {"correct": bits, "accuracy": float(bits.mean())}

    runs = [measure(run) for run in record.runs.to_dict(orient="records")]
    return replace(record, runs=pd.DataFrame(runs))


def plain(text):
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.fixture(scope="module")
def triangle():
    return make_record("compound_grid", images=1000)


@pytest.fixture(scope="module")
def scaled():
    return make_record("compound_scaling", images=1000)


def numbered(record):
    return dict(zip(record.points["label"], record.points["point"], strict=True))


def test_the_answer_of_a_triangle_names_shares_and_corners(triangle):
    points = numbered(triangle)
    record = with_accuracies(triangle, {points["40-20-40"]: 0.6, points["0-100-0"]: 0.6, points["100-0-0"]: 0.2})
    answer = plain(answer_of(record))
    # Of two that are equal, the first one is the best.
    assert answer.startswith(
        "40 % of the doubling to depth, 20 % to width, 40 % to resolution (alpha = 1.31951, beta = 1.07177, "
        "gamma = 1.1487) has the best accuracy of the 21 measured points: 60.0 % (95 % interval "
    )
    corners = "of the corners, depth only and resolution only are separated and width only is not separated."
    assert answer.endswith(f" The runs cannot tell it from 0-100-0; {corners}")
    assert answer.count(". ") == 1


def test_a_corner_that_is_best_is_not_compared_with_itself(triangle):
    answer = plain(answer_of(with_accuracies(triangle, {numbered(triangle)["0-0-100"]: 0.5})))
    assert answer.startswith("100 % of the doubling to resolution (alpha = 1.0, ")
    assert answer.endswith(" It is separated from every other point.")


def test_many_points_that_are_not_separated_are_counted(triangle):
    answer = plain(answer_of(with_accuracies(triangle, {0: 0.2})))
    assert " The runs cannot tell it from 19 of the 20 others; of the corners, " in answer


def test_the_answer_of_series_compares_at_equal_costs(scaled):
    points = numbered(scaled)
    resolution, width = points["resolution 28"], points["width 1.45"]
    depth, _, largest = (point for label, point in points.items() if label.startswith("depth") and label != "depth 1.0")
    better = {points["phi 0.75"]: 0.5, resolution: 0.5, width: 0.4, depth: 0.5, largest: 0.7, points["phi 1.825"]: 0.6}
    findings = Findings(with_accuracies(scaled, better))
    first, last = map(plain, sentences_of(findings))
    parts = [first, *map(plain, more(findings)), last]
    assert parts[0].startswith("Depth only at depth 4.4 has the best accuracy of the 13 measured points: 70.0 % (95 %")
    assert len(parts) == 4
    costs = scaled.points.set_index("point")["macs"]
    group = sorted(costs[[points["phi 0.75"], resolution, width, depth]] / 1e6)
    assert parts[1].startswith(f"At {group[0]:.2f} to {group[-1]:.2f} M FLOPs, ")
    assert "the best accuracy (50.0 %), separated from width only, but the runs cannot tell it from " in parts[1]
    known = r"At .* M FLOPs, (.*) has the best accuracy \(30\.0 %\), but the runs cannot tell it from (.*)\."
    found = re.fullmatch(known, parts[2])
    assert {found[1], *re.split(", | or ", found[2])} == set(scaled.points["series"])
    best = r"depth only has the best accuracy \(70\.0 %\), separated from compound, (width|resolution) only and "
    assert re.search(best, parts[3])


def test_a_saving_is_claimed_only_where_the_loss_is_shown_to_be_small():
    """The same images are right, so that the interval of a difference is half a point wide, or a few of 100 images."""
    rise = {0: 0.3, 1: 0.36, 2: 0.4, 3: 0.43, 4: 0.44, 5: 0.4585, 6: 0.461, 7: 0.462}
    answer = plain(answer_of(with_accuracies(make_record("squeeze_ratio", images=5000), rise)))
    assert answer.endswith(" 0.875 saves 12 % of the model size and loses at most 1 point (95 %).")
    answer = plain(answer_of(with_accuracies(make_record("squeeze_ratio", images=100), rise)))
    assert "saves" not in answer
    assert answer.endswith(" The runs cannot tell it from 0.5, 0.625, 0.75 or 0.875; 0.5 is the cheapest of these.")
    steep = with_accuracies(make_record("squeeze_ratio", images=2000), {point: 0.3 + 0.03 * point for point in rise})
    assert answer_of(steep).endswith(" It is separated from every other point.")


@pytest.mark.parametrize(("changes", "epochs"), [({}, 8), ({"images": 500, "epochs": 1}, 16), ({"images": 9000}, 8)])
def test_advice_to_train_longer_reaches_beyond_the_warm_up(changes, epochs):
    study = load_study("bypass").override(**changes)
    record = with_accuracies(make_record(study, images=1000), dict.fromkeys(range(3), 0.1))
    assert plain(sentences_of(Findings(record))[1]) == f"Train longer: `--epochs {epochs}`."
    longer = study.override(epochs=epochs)
    assert not longer.recipe.warms_up_too_long(longer.budget)


def test_advice_to_train_longer_drops_quick():
    study = load_study("bypass").override(images=900).renamed(["quick"])
    record = with_accuracies(make_record(study, images=1000), dict.fromkeys(range(3), 0.1))
    assert plain(sentences_of(Findings(record))[1]) == "Train longer: drop `--quick`."
    record = replace(record, command="python -m explorer sweep bypass --quick --epochs 2")
    assert "`python -m explorer sweep bypass` shows" in settled_by(record, None)[0]


@pytest.mark.parametrize("share", [0.1, 0.12, 0.14])
def test_near_guessing_the_answer_says_that_nothing_was_learnt(share):
    """All points at 10 to 14 % of ten classes."""
    record = with_accuracies(make_record("bypass", images=1000), {0: 0.1, 1: share, 2: 0.11})
    findings = Findings(record)
    first, advice = map(plain, sentences_of(findings))
    assert first.startswith("No network has learnt anything yet: the best, bypass = ")
    assert first.endswith("%), and always naming the largest class has 10.0 %.")
    assert advice == "Train longer: `--epochs 8`."
    assert more(findings) == []
    assert set(findings.points["standing"]) == {""}
    assert {(one.verdict, one.reason) for one in judge(findings)} == {
        ("undecided", "No network has learnt anything yet.")
    }
    assert volume_notes(findings) == []
    assert details(findings).tables == {}
    better = with_accuracies(make_record("bypass", images=1000), {0: 0.1, 1: 0.3, 2: 0.11})
    assert "has the best accuracy" in answer_of(better)
    near = "2 of the 3 measured points are not clearly better than guessing (10.0 %): none; complex."
    assert near in list(map(plain, more(Findings(better))))


def test_guessing_is_what_the_record_says(monkeypatch):
    """95 % is next to nothing where the largest class has 94 %, and 60 % is much for two equal classes."""
    record = with_accuracies(make_record("bypass", images=5000), {0: 0.94, 1: 0.945, 2: 0.935})
    assert "has the best accuracy" in answer_of(record)
    monkeypatch.setattr(type(record), "guess", 0.94)
    assert "largest class has 94.0 %" in plain(answer_of(record))
    monkeypatch.setattr(type(record), "guess", 0.5)
    low = with_accuracies(record, {0: 0.6, 1: 0.5, 2: 0.5})
    assert "has the best accuracy" in answer_of(low)
    assert "learnt" in answer_of(with_accuracies(record, {0: 0.52, 1: 0.5, 2: 0.5}))


def test_one_validation_image_tells_nothing():
    record = with_accuracies(make_record("bypass", images=1), {0: 1.1, 1: 1.1, 2: 1.1})
    first, advice = map(plain, sentences_of(Findings(record)))
    assert first.startswith("No network is clearly better than guessing: the best, bypass = none, has 100.0 % (2.5 to ")
    assert advice.startswith("More than 1 validation image, more seeds or longer runs would tell")


def test_an_easy_folder_has_honest_intervals_and_no_verdicts():
    """27 validation images, all right with all of three seeds."""
    record = with_accuracies(make_record("bypass", images=27), {0: 1.1, 1: 1.1, 2: 1.1})
    findings = Findings(record)
    assert plain(sentences_of(findings)[0]).count("100.0 % (95 % interval 87.2 to 100.0 %)") == 1
    assert sentences_of(findings)[1] == "The runs cannot tell it from simple or complex."
    assert {one.verdict for one in judge(findings)} == {"undecided"}
    assert evidence(judge(findings)[0], findings) == "simple minus none: +0.0 (\N{MINUS SIGN}10.0 to +10.0) points."


@pytest.mark.parametrize(
    ("cost", "ends", "text"),
    [
        ("params", (999_600,), "1.00 M params"),
        ("params", (950, 5e6), "950 params to 5.00 M params"),
        ("macs", (6.4e6, 6.52e6), "6.40 to 6.52 M FLOPs"),
        ("macs", (1.2e12,), "1,200 G FLOPs"),
        ("memory_access_bytes", (3072 * 2**20,), "3,072 MiB of memory access"),
        ("latency_seconds", (0.00125,), "1.25 ms of latency"),
    ],
)
def test_amounts_in_sentences(cost, ends, text):
    assert plain(amount(cost, *ends)) == text


def test_the_network_that_series_share_is_named_as_such(scaled):
    answer = plain(answer_of(with_accuracies(scaled, {0: 0.9})))
    assert answer.startswith("The network that 4 series share (depth 1.0) has the best accuracy")


def test_compound_is_named_by_its_phi(scaled):
    answer = answer_of(with_accuracies(scaled, {numbered(scaled)["phi 1.2"]: 0.9}))
    assert answer.startswith("Compound at phi 1.2 has the best accuracy")
    assert "compound has the best" in answer, "the second sentence is about the costs of the best point"


def test_one_seed_compares_no_series():
    answer = answer_of(make_record("compound_scaling", images=200, seeds=1))
    assert answer.endswith("so no points are separated.")


def table_of(page, name):
    """The rows of a table as lists of texts, its head first."""
    rows = re.findall(
        r"<tr[^>]*>(.*?)</tr>", page[page.index(f'aria-label="{name}"') :].partition("</table>")[0], re.DOTALL
    )
    return [[unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]


def test_tables_show_series_and_nominal_beside_actual(scaled, tmp_path):
    html = report.write_report(Findings(scaled), tmp_path).read_text(encoding="utf-8")
    head, *rows = table_of(html, "Points")
    head = [re.sub("<[^>]+>", "", name) for name in head]
    derived = ["depth scale", "width scale", "pixels", "nominal ratio", "actual ratio"]
    assert head[:10] == ["series", "depth", "width", "resolution", "phi", *derived]
    none = "\N{EN DASH}"
    point = scaled.points.iloc[13]
    assert rows[13][:10] == [
        "compound",
        none,
        none,
        none,
        "0.75",
        "1.15",
        "1.07",
        "22",
        "1.63",
        f"{point['actual_ratio']:.2f}",
    ]
    assert rows[9][:5] == ["resolution only", none, none, "28", none]
    assert [row[0] for row in rows if row[-1] == "merged: the same network as depth 1.0"] == [
        *("width only", "resolution only", "compound")
    ]
    head, *rows = table_of(html, "Runs")
    assert head[:2] == ["series", "point"]
    assert rows[0][:2] == ["depth only", "depth 1.0"]
    stored = pd.read_csv(tmp_path / "points.csv")
    wanted = {
        "series",
        "depth_scale",
        "width_scale",
        "pixels",
        "nominal_ratio",
        "actual_ratio",
        "input_pixels",
        "image_pixels",
    }
    assert wanted <= set(stored)
    assert "nan" not in html.replace("nanny", "").lower().split("study file")[0]


def test_at_another_phi_it_is_not_the_doubling(triangle):
    twice = triangle.study.model_copy(update={"fixed": {"phi": 2.0}})
    answer = plain(answer_of(make_record(twice, images=100)))
    assert "of the factor of 4 to " in answer
    assert "doubling" not in answer


def test_a_note_says_how_far_nominal_and_actual_ratio_are_apart(triangle, tmp_path):
    apart = (triangle.points["actual_ratio"] / triangle.points["nominal_ratio"]).tolist()
    actual = triangle.points["actual_ratio"]
    note = f"The networks cost {actual.min():.2f} to {actual.max():.2f} times the multiply-adds of the base network"
    median = sorted(apart)[10]
    share = (
        f"{min(apart):.2f} to {max(apart):.2f} times what the scaling calls for (nominal ratio; median {median:.2f})."
    )
    text = page_of(triangle, tmp_path).text
    assert note in text
    assert share in text
    assert "alpha, beta, gamma: 21 points with alpha * beta^2 * gamma^2 = 2" in text
    assert space_note(make_record(images=5)) == ""


def test_a_note_says_where_images_are_only_enlarged(scaled, tmp_path):
    sizes = pd.array([32] * len(scaled.points), dtype="Int64")
    known = replace(scaled, points=scaled.points.assign(image_pixels=sizes))
    note = enlarged_note(known)
    assert "32 pixels" in note
    assert note.endswith(": resolution 40 (40 pixels).")
    assert note in page_of(known, tmp_path).text
    assert enlarged_note(scaled) == "", "the size of the images is not known"


def test_a_map_of_a_partial_result_is_drawn(tmp_path):
    record = without_runs(make_record("compound_grid", images=50))
    assert "No runs have finished yet." in page_of(record, tmp_path).text
    record = without_runs(make_record("squeezenet_grid", images=50))
    assert "Lines of equal params" in page_of(record, tmp_path).text


def test_a_single_point_is_an_answer():
    study = changed("squeeze_ratio", vary={"squeeze_ratio": [0.5]})
    assert answer_of(make_record(study, images=100)).startswith("squeeze_ratio = 0.5 is the only measured point: ")


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_failure_leaves_the_old_report_as_it_was(record, tmp_path, monkeypatch):
    report.write_report(Findings(record), tmp_path)
    before = contents(tmp_path)
    other = replace(record, command="another command")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(report, "render", full)
    with pytest.raises(OSError, match="no space"):
        report.write_report(Findings(other), tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(ExplorerError, match="cannot be written: no space"):
        report.write_report(Findings(other), tmp_path)
    monkeypatch.undo()
    assert contents(tmp_path) == before
    report.write_report(Findings(other), tmp_path)
    assert "another command" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_limits_of_ratios_are_not_rounded_to_whole_numbers(triangle):
    limits = {"actual_ratio": Range(min=1.9, max=2.25), "params": Range(max=120_000)}
    limited = replace(triangle, study=triangle.study.model_copy(update={"constraints": limits}))
    shown = report_tables.how_measured(Findings(limited))["Limits"]
    assert shown == "actual_ratio at least 1.9; actual_ratio at most 2.25; params at most 120,000"


def test_the_line_below_the_title_has_data_budget_seeds_and_guess_level(record, tmp_path):
    text = page_of(record, tmp_path).text.replace("\N{NO-BREAK SPACE}", " ")
    times = "10,000 images \N{MULTIPLICATION SIGN} 2 epochs"
    assert (
        f"study squeeze_ratio · 8 points on proxy · {times} · 3 seeds · guessing: 10.0 % · measured 2026-01-02" in text
    )
    there = replace(record, study=record.study.model_copy(update={"data": "/home/me/photos/", "seeds": 1}))
    assert setting(Findings(there))[1::2] == ["8 points on photos", "1 seed", "measured 2026-01-02"]


def test_the_page_of_a_trial_run_has_a_banner_and_neither_fronts_nor_statistics(tmp_path):
    study = load_study("squeeze_ratio")
    trial = study.model_copy(update={"budget": Budget(images=500, epochs=1, validation=100)})
    page = page_of(make_record(trial, images=100, seeds=1), tmp_path)
    (banner,) = [attrs for _, attrs in page.tags if attrs.get("class") == "trial"]
    assert banner["role"] == "note"
    assert "Trial run: one seed and one epoch of 500 images; its accuracies mean nothing." in page.text
    shown = page.text.partition("How it was measured")[0].lower()
    for word in ("front", "interval", "separated", "undecided", "supported", "best", "\N{PLUS-MINUS SIGN}"):
        assert word not in shown
    assert json.loads((tmp_path / "summary.json").read_text())["verdicts"] == []


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("Tan and Le 2019, arXiv:1905.11946v5, table 7", {"https://arxiv.org/abs/1905.11946v5": "arXiv:1905.11946v5"}),
        ("(arXiv:1602.07360).", {"https://arxiv.org/abs/1602.07360": "arXiv:1602.07360"}),
        ("arxiv: cs/0112017v1", {"https://arxiv.org/abs/cs/0112017v1": "arxiv: cs/0112017v1"}),
        ("doi:10.1109/5.771073.", {"https://doi.org/10.1109/5.771073": "doi:10.1109/5.771073"}),
        (
            "see https://example.org/a?b=1&c=2), p. 3",
            {"https://example.org/a?b=1&c=2": "https://example.org/a?b=1&c=2"},
        ),
        ("my guess, 1602.07360 people; javascript:alert(1); file:///etc/passwd", {}),
    ],
)
def test_sources_are_links(text, links):
    page = Page(str(prose(text)))
    assert [attrs["href"] for tag, attrs in page.tags if tag == "a"] == list(links)
    assert "".join(page.words) == text
    for shown in links.values():
        assert f">{escape(shown)}</a>" in prose(text)
    assert papers([text, text]).keys() == links.keys()


def test_papers_are_named_once_with_their_citation():
    sources = ["Tan and Le 2019, arXiv:1905.11946v5, table 7", "A (B 2020, arXiv:1905.11946v5) and C, arXiv:1602.07360"]
    assert papers(sources) == {
        "https://arxiv.org/abs/1905.11946v5": "Tan and Le 2019, arXiv:1905.11946v5",
        "https://arxiv.org/abs/1602.07360": "and C, arXiv:1602.07360",
    }


def test_commands_in_sentences_are_code():
    assert prose("`explorer certify <x>` makes one") == "<code>explorer certify &lt;x&gt;</code> makes one"


def test_numbers_below_zero_have_a_minus_sign(record, tmp_path):
    page = report.write_report(Findings(record), tmp_path).read_text(encoding="utf-8")
    prose_of_page = re.sub(r"<(pre|script|style|svg)\b.*?</\1>", "", page, flags=re.DOTALL)
    assert re.search("[\\s(]\N{MINUS SIGN}\\d", prose_of_page)
    assert not re.search(r"[\s(>]-\d", prose_of_page)


def test_every_link_of_a_page_leads_somewhere(record, tmp_path):
    report.write_report(Findings(record), tmp_path / record.study.name, formats=("pdf",))
    index = write_index(tmp_path)
    for file in (index, tmp_path / "methodology.html", tmp_path / record.study.name / "report.html"):
        page = Page(file.read_text(encoding="utf-8"))
        names = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
        links = [attrs["href"] for tag, attrs in page.tags if tag == "a" and "href" in attrs]
        assert links
        for link in links:
            if link.startswith("#"):
                assert link[1:] in names
            elif not link.startswith("https://"):
                assert (file.parent / unquote(link)).is_file(), link
    linked = {attrs.get("href") for _, attrs in page.tags}
    assert {"points.csv", "runs.parquet", "figures/curve.pdf", "https://arxiv.org/abs/1602.07360v4"} <= linked


def test_the_methodology_is_the_page_of_the_documentation():
    page = Page(methodology().decode())
    text = (ROOT / "docs" / "methodology.md").read_text(encoding="utf-8")
    headings = [line.lstrip("# ") for line in text.splitlines() if line.startswith("## ")]
    assert headings
    assert all(heading in page.text for heading in headings)
    assert not [tag for tag, _ in page.tags if tag == "img"]


def test_templates_keep_to_the_width_of_the_code():
    files = [path for path in (ROOT / "explorer" / "templates").iterdir() if path.is_file()]
    assert len(files) > 8
    for path in files:
        assert all(len(line) <= 120 for line in path.read_text(encoding="utf-8").splitlines()), path.name
