"""A report, a latency or an export never passes off a network that today's code makes for one that was trained."""

import json
from dataclasses import replace

import pytest

from explorer.__main__ import main
from explorer.analysis import Findings
from explorer.analysis.verified import verified_networks
from explorer.errors import ExplorerError, Infeasible
from explorer.exporting.retraining import retraining_task
from explorer.networks.arrays import uniform
from explorer.reporting.front_data import front_data
from explorer.reporting.front_view import FrontView
from explorer.reporting.study import report_files
from explorer.spaces import find_space
from explorer.storage.ledger import Ledger
from explorer.storage.studies import Provenance
from explorer.study.files import load_study
from explorer.study.plan import plan
from explorer.sweeping import timing
from explorer.sweeping.timing import BatchTime
from tests.records import changed, make_record
from tests.test_ledger import run_row

NOTE = "The code has changed: {} networks no longer match the trained ones; "


def stale(record, *numbers):
    """The record as an earlier version may have stored it, with other networks at some points."""
    points = record.points.copy()
    points.loc[points["point"].isin(numbers), "network"] = "0" * 64
    return replace(record, points=points)


def script(record):
    """The data of a page's script."""
    return json.loads(front_data(FrontView(Findings(record))))


def text(record):
    return report_files(Findings(record))["report.html"].decode()


@pytest.mark.parametrize("study", ["squeeze_ratio", "compound_grid", "squeezenet_grid"])
def test_networks_are_verified_by_their_digests(study):
    record = make_record(study)
    planned = record.points.query("state == 'planned'").set_index("point")["network"]
    verified = verified_networks(record, planned.index)
    assert {number: network.digest for number, network in verified.networks.items()} == planned.to_dict()
    assert verified.unchanged
    assert verified.note("nothing") == ""


@pytest.mark.parametrize("classes", [5, 7])
def test_the_stored_number_of_classes_is_used(classes):
    study = load_study("squeeze_ratio")
    digests = {point.number: point.network.digest for point in plan(study, classes)}
    record = make_record(study)
    record = replace(record, classes=classes, points=record.points.assign(network=list(digests.values())))
    networks = verified_networks(record, digests).networks
    assert {network.trace.output.channels for network in networks.values()} == {classes}
    assert len(networks) == len(digests)


def test_what_code_of_today_makes_otherwise_is_left_out(monkeypatch):
    record, space = make_record("squeeze_ratio"), find_space("squeezenet")
    ratios, expand = record.points.set_index("point")["squeeze_ratio"], space.expand

    def other(point):
        if uniform(point.squeeze_ratio == 1):
            raise Infeasible("too wide")
        return expand(point.model_copy(update={"stem_width": 40}) if uniform(point.squeeze_ratio < 0.3) else point)

    monkeypatch.setattr(space, "expand", other)
    verified = verified_networks(record, ratios.index)
    assert verified.networks.keys() == set(ratios.index[(ratios >= 0.3) & (ratios < 1)])
    others = f"{len(ratios) - len(verified.networks)} of {len(ratios)}"
    assert verified.note("x") == NOTE.format(others) + "x."


def test_a_page_holds_no_layers_of_other_networks():
    record = make_record("squeeze_ratio")
    assert script(record)["layers"].keys() == set("01234567")
    assert script(record)["layers_left_out"] == ""
    data = script(stale(record, 2, 5))
    assert data["layers"].keys() == set("013467")
    assert data["layers_left_out"].startswith(NOTE.format("2 of 8"))


def test_a_report_compares_nothing_with_networks_that_were_not_trained():
    html = text(stale(make_record("squeezenet_grid"), 0))
    assert NOTE.format("1 of 25") in html
    for absent in ("Published choices", "Lines of equal params", "Diamond"):
        assert absent not in html


def test_a_report_needs_no_code_of_today(monkeypatch):
    """As when a preset or a metaparameter has another name now."""
    record = make_record("squeeze_ratio")

    def gone(*_, **__):
        raise ExplorerError("unknown preset")

    monkeypatch.setattr(find_space("squeezenet"), "point", gone)
    assert NOTE.format("8 of 8") in text(record)


def test_of_many_points_all_are_compared():
    findings = Findings(make_record("squeezenet_grid"))
    assert sorted(findings.foremost) == sorted(findings.measured["point"]) == sorted(findings.verified.networks)
    last = findings.foremost[-1]
    verified = Findings(stale(make_record("squeezenet_grid"), last)).verified
    assert verified.networks.keys() == set(findings.foremost[:-1])
    assert verified.note("x") == NOTE.format(f"1 of {len(findings.foremost)}") + "x."


def stored(tmp_path, *numbers):
    """A storage with a study whose networks are other ones at some points."""
    study = changed("squeeze_ratio", seeds=1)
    ledger = Ledger(tmp_path / "x.db", create=True)
    points = plan(study, 10)
    with ledger.writing():
        ledger.studies.save(
            study, "f", points, {(p.number, 0): f"{p.number}" for p in points}, Provenance("", {}, {}, 10)
        )
        for point in points:
            ledger.runs.record(run_row(f"{point.number}"))
        old = stale(ledger.studies.load(study.name), *numbers).points["network"]
        with ledger.engine.begin() as connection:
            rows = connection.exec_driver_sql("select points from ledger_studies").scalar_one()
            rows = [row | {"network": network} for row, network in zip(json.loads(rows), old, strict=True)]
            connection.exec_driver_sql("update ledger_studies set points = ?", (json.dumps(rows),))
    return ledger, study


def test_only_networks_that_were_trained_are_measured(tmp_path, capsys, monkeypatch):
    ledger, study = stored(tmp_path, 0, 3)
    times = [BatchTime(batch, 1, 0.5, 0.4, 0.6, 7) for batch in (1, 64)]
    monkeypatch.setattr(timing, "measure", lambda networks, _: [times for _ in networks])
    assert main(["latency", study.name, "--storage", str(tmp_path / "x.db")]) == 0
    out = capsys.readouterr().out
    assert NOTE.format("2 of 8") + "they are not measured." in " ".join(out.split())
    measured = set(ledger.latencies.of(study.name)["network"])
    points = ledger.studies.load(study.name).points.set_index("point")["network"]
    assert measured == set(points.drop([0, 3]))


def test_without_a_network_that_was_trained_nothing_is_measured(tmp_path, capsys):
    _, study = stored(tmp_path, *range(8))
    assert main(["latency", study.name, "--storage", str(tmp_path / "x.db")]) == 2
    assert NOTE.format("8 of 8") in capsys.readouterr().err


def test_another_network_is_not_exported(tmp_path):
    ledger, study = stored(tmp_path, 0)
    with pytest.raises(ExplorerError, match="builds a different network from the one that was trained"):
        retraining_task(ledger, ledger.studies.load(study.name), 0, 0)
