"""A storage written by an earlier version: nothing is trained again, and its reports say the same."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from explorer.analysis import Findings
from explorer.storage.ledger import Ledger
from explorer.study.files import load_study
from explorer.sweeping import sweeping
from explorer.training import trainer
from explorer.training.run import Numerics

OLD = Path(__file__).parent / "fixtures" / "ledger_v1"
STUDIES = ["squeezes", "depths"]


@pytest.fixture
def storage(tmp_path):
    return shutil.copy(OLD / "explorer.db", tmp_path / "explorer.db")


@pytest.mark.parametrize("name", STUDIES)
def test_a_sweep_trains_nothing(storage, name, monkeypatch):
    def execute(jobs, *_, **__):
        assert jobs.finished
        yield from ()

    # The numerics of the machine that wrote it; with others, runs would be trained again.
    monkeypatch.setattr(trainer, "numerics", lambda: Numerics(2, "2.13.0", "cpu", "bfloat16"))
    monkeypatch.setattr(sweeping, "execute", execute)
    (record,) = sweeping.run_studies([load_study(OLD / f"{name}.toml")], storage=storage)
    assert record.study.name == name
    assert (record.runs["state"] == "done").all()


@pytest.mark.parametrize("name", STUDIES)
def test_reports_say_the_same(storage, name):
    ledger = Ledger(storage)
    findings = Findings(ledger.studies.load(name), ledger.latencies.of(name))
    for table, found in {"points": findings.table, "runs": findings.runs}.items():
        expected = pd.read_csv(OLD / f"{name}.{table}.csv")
        (found_file := Path(storage).with_suffix(f".{table}.csv")).write_text(found.to_csv(index=False))
        pd.testing.assert_frame_equal(pd.read_csv(found_file)[list(expected.columns)], expected, rtol=1e-9)


def test_latencies_and_test_accuracies_are_kept(storage):
    ledger = Ledger(storage)
    assert len(ledger.latencies.of("squeezes")) == 4
    assert ledger.tests.of("squeezes")["accuracy"].tolist() == [0.2166]
