import re
from dataclasses import replace

import pytest
import torch

from explorer.__main__ import main
from explorer.analysis.verified import verified_networks
from explorer.machine import load_average
from explorer.spaces import find_space
from explorer.storage.ledger import Ledger
from explorer.storage.studies import Provenance
from explorer.study.files import load_study
from explorer.study.model import Study
from explorer.study.plan import plan
from explorer.sweeping import timing
from explorer.sweeping.latency import here, stored_rows, unmeasured
from explorer.sweeping.timing import BATCHES, BatchTime, Machine, busy, measure

SMALL = find_space("efficientnet").point("cifar").expand()
MACHINE = Machine("a processor", "2.13.0")
MEASURED = [BatchTime(batch, 1, 0.5, 0.4, 0.6, 7) for batch in BATCHES]


def small_study(**changes):
    values = {
        "name": "small",
        "title": "t",
        "space": "squeezenet",
        "preset": "cifar",
        # 0.501 makes the network of 0.5, and a limit keeps the largest from being trained.
        "vary": {"squeeze_ratio": [0.5, 0.501, 0.25, 1.0], "pools": [(1, 4), (1, 12)]},
        "constraints": {"params": {"max": 250_000}},
    }
    return Study.model_validate(values | changes)


def save(path, study, classes=10):
    ledger = Ledger(path, create=True)
    points = plan(study, classes)
    keys = {(point.number, 0): str(point.number) for point in points if point.state == "planned"}
    with ledger.writing():
        ledger.studies.save(study, "f", points, keys, Provenance("", {}, {}, classes))
    return ledger


@pytest.fixture
def quickly(monkeypatch):
    """Measures with the fewest repeats; the digests of what was measured are noted."""
    seen = []

    def quick(network, threads):
        seen.append((network.digest, threads))
        return measure(network, threads, seconds=0.0)

    monkeypatch.setattr(timing, "measure", quick)
    return seen


def test_a_network_is_measured():
    before = torch.get_num_threads()
    one, many = measure(SMALL, threads=1, batches=(1, 16), seconds=0.05)
    assert (one.batch, many.batch, one.threads) == (1, 16, 1)
    for found in (one, many):
        assert 0 < found.lower_seconds <= found.median_seconds <= found.upper_seconds
        assert found.repeats >= timing.FEWEST
        assert found.images_per_second == found.batch / found.median_seconds
    assert many.median_seconds > one.median_seconds
    assert torch.get_num_threads() == before


def test_repeats_fill_the_time_after_a_warm_up(monkeypatch):
    looks = iter(range(1000))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(looks) / 100)
    (found,) = measure(SMALL, batches=(1,), seconds=0.6)
    # Reading the clock takes 10 ms and happens three times per repeat after the first five.
    assert found.repeats == 22
    assert found.lower_seconds == found.median_seconds == pytest.approx(0.01)


def test_a_busy_machine_gives_a_warning():
    assert busy(0.1) == busy(None) == ""
    assert "load average 1.25 per core" in busy(1.25)


def test_a_system_without_load_average(monkeypatch):
    def untold():
        raise OSError

    assert load_average() >= 0
    monkeypatch.setattr("os.getloadavg", untold)
    assert load_average() is None


def test_measured_networks_are_skipped(tmp_path):
    ledger = save(tmp_path / "x.db", small_study())
    record = ledger.studies.load("small")
    networks = verified_networks(record, record.points.query("state == 'planned'")["point"]).networks.values()
    first, second = networks

    def missing(machine=MACHINE, threads=1):
        return [network.digest for network in unmeasured(here(ledger, record, machine, threads), networks)]

    assert missing() == [first.digest, second.digest]
    with ledger.writing():
        ledger.latencies.record(stored_rows(first, MEASURED, MACHINE, load=0.1))
        ledger.latencies.record(stored_rows(second, MEASURED[:1], MACHINE, load=0.1))
    assert missing() == [second.digest]
    assert len(missing(threads=2)) == 2
    assert len(missing(replace(MACHINE, torch="2.14.0"))) == 2
    assert len(missing(replace(MACHINE, processor="another"))) == 2


def run(capsys, *arguments):
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command_measures_missing_networks_and_shows_all(tmp_path, capsys, quickly):
    ledger = save(tmp_path / "x.db", small_study())
    command = ("latency", "small", "--storage", str(tmp_path / "x.db"))
    code, out, err = run(capsys, *command)
    assert (code, err) == (0, "")
    assert "small: 2 networks to measure, about 9 s" in out
    lines = [line for line in out.splitlines() if re.search(r"1-4 +[\d,]+ +[\d,]+ +[\d,.]+ +[\d,.]+ *$", line)]
    assert [line.split(",")[0].strip() for line in lines] == ["0.25", "0.5"]  # the cheapest first
    assert str(timing.this_machine()) in out
    assert len(quickly) == 2
    stored = ledger.latencies.of("small")
    assert stored["batch"].tolist() == [1, 64] * 2
    assert stored["finished"].str.endswith("+00:00").all()

    assert "0 networks to measure" in run(capsys, *command)[1]
    assert len(quickly) == 2
    assert "2 networks to measure" in run(capsys, *command, "--again")[1]
    assert len(quickly) == 4
    assert len(ledger.latencies.of("small")) == 4


def test_an_interrupted_command_keeps_what_it_measured(tmp_path, capsys, quickly, monkeypatch):
    quick = timing.measure

    def interrupted(*what):
        if quickly:
            raise KeyboardInterrupt
        return quick(*what)

    monkeypatch.setattr(timing, "measure", interrupted)
    ledger = save(tmp_path / "x.db", small_study())
    code, _, err = run(capsys, "latency", "small", "--storage", str(tmp_path / "x.db"))
    assert code == 130
    assert "stopped; every measured network is stored" in err
    assert len(ledger.latencies.of("small")) == len(BATCHES)


def test_a_busy_machine_is_shown_and_stored(tmp_path, capsys, quickly, monkeypatch):
    monkeypatch.setattr("explorer.sweeping.latency.load_average", lambda: 0.875)
    ledger = save(tmp_path / "x.db", small_study())
    code, out, _ = run(capsys, "latency", "small", "--storage", str(tmp_path / "x.db"))
    assert code == 0
    assert "warning: this machine is busy (load average 0.88 per core)" in out
    assert ledger.latencies.of("small")["load"].eq(0.875).all()
    assert quickly


def test_nothing_is_measured_while_a_sweep_runs(tmp_path, capsys, quickly):
    with save(tmp_path / "x.db", load_study("bypass")).writing():
        code, out, err = run(capsys, "latency", "bypass", "--storage", str(tmp_path / "x.db"))
    assert (code, out, quickly) == (2, "", [])
    assert "is writing to it" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["smal"], "'smal'; did you mean 'small'?"),
        (["small", "--threads", "0"], "Invalid value for '--threads'"),
        (["small", "--threads", "10000"], "threads = 10000: at most "),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, arguments, message):
    save(tmp_path / "x.db", small_study())
    code, out, err = run(capsys, "latency", *arguments, "--storage", str(tmp_path / "x.db"))
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
