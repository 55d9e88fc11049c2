"""Claims about latency: intervals of ratios, verdicts, and the sweep that measures what they compare."""

import math
import re
import sqlite3
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from records import broken, changed, make_record

from explorer import sweep
from explorer.analysis import Findings
from explorer.analysis.claims import judge
from explorer.analysis.latencies import StudyLatencies
from explorer.errors import ExplorerError
from explorer.reporting.answer import answer
from explorer.reporting.notes import evidence, verdict
from explorer.reporting.study import report_files
from explorer.study.files import load_study
from explorer.sweeping import timing
from explorer.sweeping.timing import BatchTime

CONDITIONS = {"processor": "a processor", "torch": "2.13.0", "dtype": "float32", "batch": 1, "threads": 1}


def row(network, times):
    lower, median, upper = np.quantile(times, [0.25, 0.5, 0.75])
    measured = {"median_seconds": median, "lower_seconds": lower, "upper_seconds": upper}
    measured["repeats"] = min(len(times), 20)
    return CONDITIONS | measured | {"network": network, "load": 0.0, "finished": "2026-01-01T00:00:00+00:00"}


def with_latencies(record, seconds, spread=0.02):
    """Findings whose networks have these median seconds by point, and 100 repeats."""
    networks = record.points.set_index("point")["network"]
    scatter = 1 + spread * np.linspace(-1, 1, 101)
    return Findings(record, pd.DataFrame([row(networks[point], value * scatter) for point, value in seconds.items()]))


def about(record, slower, faster):
    claim = {"form": "slower", "claim": "c", "source": "s", "slower": slower, "faster": faster}
    return replace(record, study=changed(record.study, claims=[claim]))


@pytest.fixture
def bypass():
    return about(make_record("bypass", images=500), {"bypass": "complex"}, [{"bypass": "none"}, {"bypass": "simple"}])


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ((1.0, 1.0, 2.0), "supported"),
        ((1.0, 1.9, 2.0), "undecided"),
        ((1.0, 3.0, 2.0), "refuted"),
        ((2.0, 2.0, 2.0), "undecided"),
    ],
)
def test_a_claim_needs_a_difference_beyond_the_margin_in_every_pair(bypass, seconds, expected):
    found = with_latencies(bypass, dict(enumerate(seconds)))
    (one,) = judge(found)
    assert one.verdict == expected
    assert verdict(one, found) == f"{expected} by latency"


def test_the_interval_covers_the_true_ratio_of_medians():
    """Repeats are skewed, as latencies are."""
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        rows = [row(name, scale * (1 + random.gamma(1.5, 0.1, 20))) for name, scale in (("a", 3.0), ("b", 2.0))]
        found = StudyLatencies.of(pd.DataFrame(rows)).ratio("a", "b")
        assert found.low < found.estimate < found.high
        covered += found.low <= 1.5 <= found.high
    assert 925 <= covered <= 990


def test_evidence_gives_ratios_and_conditions(bypass):
    found = with_latencies(bypass, {0: 1.0, 1: 1.0, 2: 2.0})
    (one,) = judge(found)
    text = evidence(one, found)
    assert "complex takes 2.00 (1.9" in text
    assert "times as long as none" in text
    assert text.endswith("(batches of 1 on 1 thread, float32, a processor, torch 2.13.0).")


def test_the_answer_is_about_latency_if_all_claims_are(bypass):
    found = with_latencies(bypass, {0: 1.0, 1: 1.5, 2: 2.0})
    first, second = answer(found)
    assert first.startswith("complex takes 2.00 (")
    assert "times as long as the fastest, bypass = none, at" in first
    assert second.startswith("Of 1 claim about latency, 1 is supported and 0 are refuted (batches of 1 ")
    assert "best accuracy" in answer(Findings(bypass))[0], "not measured"
    assert "best accuracy" in answer(with_latencies(bypass, {0: 1.0}))[0], "nothing to compare"


def test_without_latencies_the_evidence_names_the_command(bypass):
    found = Findings(bypass)
    (one,) = judge(found)
    assert one.verdict == "undecided"
    assert "`python -m explorer latency bypass`" in evidence(one, found)
    assert b"python -m explorer latency bypass" in report_files(found)["report.html"]


def test_points_without_a_latency_leave_a_claim_undecided(bypass):
    found = with_latencies(bypass, {0: 1.0, 2: 2.0})
    (one,) = judge(found)
    assert one.verdict == "undecided"
    assert evidence(one, found).endswith("Not measured: simple.")


def test_latencies_do_not_depend_on_what_was_learnt(bypass):
    lost = with_latencies(broken(bypass, 0, (0, 1, 2)), {0: 1.0, 1: 1.0, 2: 2.0})
    assert judge(lost)[0].verdict == "supported"
    trial = replace(bypass, study=changed(bypass.study, seeds=1, budget={"images": 500, "epochs": 1}))
    assert trial.study.is_trial
    assert judge(with_latencies(trial, {0: 1.0, 1: 1.0, 2: 2.0}))[0].verdict == "supported"


def test_mistakes_name_the_nearest_choice(tmp_path):
    base = load_study("bypass").text.partition("[[claims]]")[0]
    path = tmp_path / "mine.toml"
    claim = '[[claims]]\nclaim = "c"\nsource = "s"\nform = "slower"\nslower = { bypass = "complx" }\n'
    path.write_text(f'{base}\n{claim}faster = {{ bypass = "none" }}\n')
    with pytest.raises(ExplorerError, match="did you mean 'complex'"):
        load_study(path)
    path.write_text(f"{base}\n{claim}")
    with pytest.raises(ExplorerError, match="faster: this key is required"):
        load_study(path)


def test_a_sweep_measures_what_its_claims_compare(tmp_path, image_folder, monkeypatch):
    measured = []

    def quick(networks, threads):
        measured.extend(network.digest for network in networks)
        seconds = [network.cost.macs / 1e9 for network in networks]
        return [[BatchTime(batch, threads, one, 0.99 * one, 1.01 * one, 20) for batch in (1, 64)] for one in seconds]

    monkeypatch.setattr(timing, "measure", quick)
    monkeypatch.chdir(tmp_path)
    study = f"""
title = "Slower"
space = "squeezenet"
preset = "cifar"
data = "{image_folder}"
seeds = 2
[fixed]
base_e = 8
incr_e = 8
fires = 3
pools = [1]
[vary]
squeeze_ratio = [0.125, 1.0]
[budget]
images = 64
epochs = 1
validation = 60
[recipe]
warmup_images = 16
[[claims]]
claim = "c"
source = "s"
form = "slower"
slower = {{ squeeze_ratio = 1.0 }}
faster = {{ squeeze_ratio = 0.125 }}
"""
    (tmp_path / "mine.toml").write_text(study)
    points = sweep("mine.toml", workers=1)
    assert sorted(measured) == sorted(points["network"])
    page = (tmp_path / "reports" / "mine" / "report.html").read_text()
    assert re.search(r"supported\s*<small>\s*by latency", page)
    assert "These are short runs" not in page, "nothing here was claimed about them"
    assert math.isfinite(points["latency_seconds"].sum())
    sweep("mine.toml", workers=1)
    assert len(measured) == 2, "they are stored"
    connection = sqlite3.connect("explorer.db")
    with connection:
        connection.execute("delete from ledger_latencies where network = ?", (measured[0],))
    connection.close()
    sweep("mine.toml", workers=1)
    assert len(measured) == 4, "claims compare networks that were measured in turn"


def test_latencies_from_before_rounds_decide_nothing(bypass):
    """They have thousands of repeats, so their intervals would be far too narrow."""
    networks = bypass.points.set_index("point")["network"]
    times = {0: 1.0, 1: 1.0, 2: 2.0}
    old = [row(networks[point], [0.9 * one, one, 1.1 * one]) | {"repeats": 900} for point, one in times.items()]
    found = Findings(bypass, pd.DataFrame(old))
    assert found.points["latency_seconds"].notna().all(), "but they are shown"
    (one,) = judge(found)
    assert (one.verdict, len(one.missing)) == ("undecided", 3)


def test_a_claim_with_a_selector_that_matches_nothing_is_not_supported(bypass):
    claim = bypass.study.claims[0].model_copy(update={"faster": [{"bypass": "none"}, {"bypass": "gone"}]})
    thinned = replace(bypass, study=bypass.study.model_copy(update={"claims": [claim]}))
    assert judge(with_latencies(thinned, {0: 1.0, 1: 1.0, 2: 2.0}))[0].verdict == "undecided"
