import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from explorer.__main__ import main
from explorer.analysis.verified import verified_networks
from explorer.machine import load
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

    def quick(networks, threads):
        seen.extend((network.digest, threads) for network in networks)
        return measure(networks, threads, seconds=0.0)

    monkeypatch.setattr(timing, "measure", quick)
    return seen


def test_a_network_is_measured():
    before = torch.get_num_threads()
    ((one, many),) = measure([SMALL], threads=1, batches=(1, 16), seconds=0.05)
    assert (one.batch, many.batch, one.threads) == (1, 16, 1)
    for found in (one, many):
        assert 0 < found.lower_seconds <= found.median_seconds <= found.upper_seconds
        assert found.repeats >= timing.FEWEST
        assert found.images_per_second == found.batch / found.median_seconds
    assert many.median_seconds > one.median_seconds
    assert torch.get_num_threads() == before


def test_rounds_take_turns_so_that_a_change_of_speed_affects_all(monkeypatch):
    """The machine is three times as slow in the second half of the measurement."""
    other = find_space("squeezenet").point("cifar").expand()
    calls = []

    def slower_and_slower(step, _):
        calls.append(step)
        params = sum(parameter.numel() for parameter in step.func.parameters())
        return [params * 1e-9 * (1 if len(calls) <= 22 else 3)]

    monkeypatch.setattr(timing, "_times", slower_and_slower)
    (first,), (second,) = measure([SMALL, other], batches=(1,))
    assert len(calls) == 2 * (1 + timing.ROUNDS)
    assert calls[2:] == calls[:2] * timing.ROUNDS
    assert second.median_seconds / first.median_seconds == pytest.approx(other.cost.params / SMALL.cost.params)
    assert first.upper_seconds == pytest.approx(3 * first.lower_seconds)


def test_slow_batches_have_fewer_rounds(monkeypatch):
    monkeypatch.setattr(timing, "_times", lambda step, _: [0.3] if len(step.args[0]) == 1 else [50.0])
    ((one, many),) = measure([SMALL], batches=(1, 2))
    assert (one.repeats, many.repeats) == (7, timing.FEWEST)


def test_a_busy_machine_gives_a_warning():
    assert busy(0.1) == ""
    assert "62% of its cores are in use" in busy(0.62)


def test_the_load_is_that_of_now():
    """Unlike a load average, which would still contain the training that ended a moment ago."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        busy_now = max(load() for _ in range(3))
        other.kill()
    assert 0 < busy_now <= 1


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
    monkeypatch.setattr("explorer.sweeping.latency.TOGETHER", 1)
    ledger = save(tmp_path / "x.db", small_study())
    code, _, err = run(capsys, "latency", "small", "--storage", str(tmp_path / "x.db"))
    assert code == 130
    assert "stopped; every measured network is stored" in err
    assert len(ledger.latencies.of("small")) == len(BATCHES)


def test_a_busy_machine_is_shown_and_stored(tmp_path, capsys, quickly, monkeypatch):
    monkeypatch.setattr("explorer.sweeping.latency.cores_in_use", lambda: 0.875)
    ledger = save(tmp_path / "x.db", small_study())
    code, out, _ = run(capsys, "latency", "small", "--storage", str(tmp_path / "x.db"))
    assert code == 0
    assert "warning: this machine is busy (88% of its cores are in use)" in out
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
