"""Seeds added round by round: which runs are asked for, what is stored, and that a later command goes on."""

from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import optuna
import pytest
from records import World, changed

from explorer import sweep
from explorer.analysis import Findings
from explorer.analysis.claims import judge
from explorer.reporting.notes import progress, rounds_note
from explorer.reporting.study import report_files
from explorer.storage.ledger import Ledger
from explorer.storage.studies import Provenance
from explorer.study.files import load_study
from explorer.study.plan import plan
from explorer.sweeping.planned import planned_runs
from explorer.sweeping.rounds import Rounds
from explorer.sweeping.sweeping import run_studies
from explorer.training.bits import pack

IMAGES = 2_000


class Trainer:
    """Results of the runs of a study in a ledger: accuracy rises with the ability of the point, by number."""

    def __init__(self, ledger, study, abilities):
        self.ledger = ledger
        self.study = study
        self.points = plan(study, 10)
        self.runs = {place: one.run for place, one in planned_runs(study, self.points, "f" * 64).items()}
        self.world = World(difficulty=1, seed=0.02, pair=0.5)
        self.abilities = abilities
        self.difficulties = self.world.images(np.random.default_rng(0), IMAGES)
        self.trained = []

    def enlist(self, study=None, seeds=2):
        keys = {place: run.key for place, run in self.runs.items() if place[1] < seeds}
        self.ledger.studies.save(study or self.study, "f" * 64, self.points, keys, Provenance("", {}, {}, 10))

    def result(self, run, state="done"):
        self.trained.append(run)
        (point, seed) = next(place for place, other in self.runs.items() if other is run)
        random = np.random.default_rng([point, seed])
        (correct,) = self.world.draw(random, self.abilities.get(point, 0.0), 1, self.difficulties)
        measured = {
            "accuracy": float(correct.mean()),
            "accuracies": [0.1, float(correct.mean())],
            "train_losses": [2.0, 1.0],
            "seconds": 10.0,
            "images_per_second": 2_000.0,
            "peak_memory_bytes": 2**29,
            **pack(correct, np.full(IMAGES, 0.5, np.float32)),
        }
        self.ledger.runs.record(
            {"key": run.key, "network": run.network.digest, "data_fingerprint": "f" * 64, "settings": {}}
            | {"seed": seed, "state": state, "reason": "" if state == "done" else "killed", "host": {"name": "here"}}
            | {"finished": f"2026-01-02T03:04:{len(self.trained) % 60:02d}+00:00"}
            | (measured if state == "done" else {})
        )

    def rounds(self):
        self.enlist()
        return Rounds(self.ledger, self.study, self.runs)

    def train(self, rounds, most=1_000, states=()):
        """Train the runs that are asked for, in order."""
        while most and (job := rounds.take()):
            most -= 1
            (run,) = job
            self.result(run, states[len(self.trained)] if len(self.trained) < len(states) else "done")
            rounds.ended(run)

    def record(self):
        return self.ledger.studies.load(self.study.name)


def seeds_of(record):
    done = record.runs[record.runs["state"] == "done"]
    return done.groupby("point").size().tolist()


CLEAR = {0: 0.0, 1: 0.5, 2: -0.5}  # of `bypass`: none, simple, complex
CLOSE = {0: 0.0, 1: 0.5, 2: 0.505}  # the last two cannot be told apart


@pytest.fixture
def trained(tmp_path):
    """Opens a trainer on a storage of its own."""
    with ExitStack() as opened:

        def open_trainer(study, abilities, name="ledger.db"):
            ledger = Ledger(tmp_path / name, create=True)
            opened.enter_context(ledger.writing())
            return Trainer(ledger, study, abilities)

        yield open_trainer


@pytest.fixture
def bypass():
    return load_study("bypass", seeds=5, until_decided=True)


def test_a_study_stops_once_its_claims_are_decided(trained, bypass):
    trainer = trained(bypass, CLEAR)
    rounds = trainer.rounds()
    assert [run.seed for (run,) in rounds.waiting] == [0, 0, 0, 1, 1, 1]
    assert not rounds.finished
    trainer.train(rounds)
    assert rounds.finished
    assert len(trainer.trained) == 6
    record = trainer.record()
    assert record.runs["state"].value_counts().to_dict() == {"done": 6, "not needed": 9}
    assert record.unfinished == 0
    assert trainer.ledger.studies.progress() == {bypass.name: (6, 6)}
    findings = Findings(record)
    assert [one.verdict for one in judge(findings)] == ["supported", "refuted", "supported"]
    assert findings.points["state"].tolist() == ["done"] * 3
    assert progress(record) == (True, "All 6 runs that were needed are done.")
    assert rounds_note(findings) == (
        "Seeds were added where claims were undecided: 3 of 3 claims decided with 6 of 15 runs (saving about 1 min 30 s"
        " of training on one core). Intervals allow for stopping at any round."
    )
    page = report_files(findings)["report.html"].decode()
    for text in (
        "2 seeds",
        "each interval is computed at 98.0",
        "not needed",
        "3 of 3 claims decided with 6 of 15 runs",
    ):
        assert text in page, text


def test_only_points_that_undecided_claims_compare_get_further_seeds(trained, bypass):
    trainer = trained(bypass, CLOSE)
    trainer.train(trainer.rounds())
    record = trainer.record()
    assert seeds_of(record) == [2, 5, 5]
    assert [one.verdict for one in judge(Findings(record))] == ["supported", "supported", "undecided"]
    assert record.runs.loc[record.runs["point"] == 0, "state"].tolist() == ["done"] * 2 + ["not needed"] * 3
    assert "2 of 3 claims decided with 12 of 15 runs" in rounds_note(Findings(record))


def test_a_later_command_goes_on_or_finds_everything_decided(trained, bypass):
    undisturbed = trained(bypass, CLOSE)
    undisturbed.train(undisturbed.rounds())
    expected = undisturbed.record()
    trainer = trained(bypass, CLOSE, "again.db")
    for done in range(1, 12):
        rounds = trainer.rounds()
        trainer.train(rounds, most=1)
        assert len(trainer.trained) == done
        states = trainer.record().runs["state"].value_counts()
        assert states["done"] == done
        assert states["missing"] == 15 - done, "it is not known yet which runs are needed"
    trainer.train(trainer.rounds())
    columns = ["point", "seed", "key", "state", "accuracy"]
    assert trainer.record().runs[columns].equals(expected.runs[columns])
    assert trainer.rounds().finished
    assert len({run.key for run in trainer.trained}) == len(trainer.trained) == 12, "nothing is trained twice"


def test_runs_are_shared_with_the_plain_study(trained, bypass):
    plain = bypass.model_copy(update={"name": "bypass", "until_decided": False})
    trainer = trained(bypass, CLEAR)
    trainer.enlist(plain, seeds=5)
    for run in list(trainer.runs.values()):
        trainer.result(run)
    rounds = trainer.rounds()
    assert rounds.finished
    assert rounds.take() is None
    assert len(rounds.asked) == 6
    assert trainer.record().runs["state"].value_counts().to_dict() == {"done": 6, "not needed": 9}
    whole = trainer.ledger.studies.load("bypass")
    assert whole.runs["state"].eq("done").all()
    assert Findings(whole).accuracies.confidence == 0.95


def test_a_crashed_run_is_asked_for_again_by_the_next_command(trained, bypass):
    trainer = trained(bypass, CLEAR)
    trainer.train(trainer.rounds(), states=["crashed"])
    record = trainer.record()
    assert record.runs["state"].value_counts()["crashed"] == 1
    assert "not needed" not in set(record.runs["state"])
    rounds = trainer.rounds()
    assert [run.seed for (run,) in rounds.waiting] == [0]
    trainer.train(rounds)
    assert rounds.finished


def test_a_failed_run_does_not_stop_the_others(trained, bypass):
    trainer = trained(bypass, CLEAR)
    rounds = trainer.rounds()
    trainer.train(rounds, states=["failed", "failed"])
    assert rounds.finished
    assert trainer.record().unfinished == 2


@pytest.mark.parametrize("seed", [0, 1])
def test_a_claim_about_an_order_may_need_every_point(trained, seed):
    study = load_study("delayed_downsampling", seeds=4, until_decided=True)
    random = np.random.default_rng(seed)
    points = [point.number for point in plan(study, 10)]
    trainer = trained(study, dict(zip(points, random.normal(0.5, 0.3, len(points)), strict=True)))
    trainer.train(trainer.rounds())
    verdict = judge(Findings(trainer.record()))[1].verdict
    assert verdict == "undecided"
    assert set(seeds_of(trainer.record())) == {4}


def test_intervals_are_wider_where_seeds_depend_on_results(trained, bypass):
    trainer = trained(bypass, CLEAR)
    trainer.train(trainer.rounds())
    found = Findings(trainer.record())
    plain = replace(trainer.record(), study=bypass.model_copy(update={"until_decided": False}))
    wide, narrow = found.accuracies.intervals(), Findings(plain).accuracies.intervals()
    assert (wide.low < narrow.low).all()
    assert (wide.high > narrow.high).all()
    assert found.accuracies.difference(1, 0).low < Findings(plain).accuracies.difference(1, 0).low


def test_a_sweep_stops_early_and_shows_its_points_in_optuna(tmp_path, image_folder):

    tiny = {"base_e": 8, "incr_e": 8, "fires": 3, "pools": (1,)}
    study = changed(
        "squeeze_ratio",
        name="stripes",
        data=str(image_folder),
        fixed=tiny,
        vary={"squeeze_ratio": [0.125, 0.25, 0.5]},
        budget={"images": 192, "epochs": 1, "validation": 60},
        recipe={"batch_size": 32, "warmup_images": 64},
        seeds=4,
        claims=[claim.model_dump() for claim in load_study("squeeze_ratio").claims[:1]],
    )
    frame = sweep(study, until_decided=True, storage=tmp_path / "s.db", reports=None)
    record = Ledger(tmp_path / "s.db").studies.load("stripes@until-decided")
    assert record.study.until_decided
    seeds = seeds_of(record)
    assert seeds[0] == seeds[1] >= seeds[2] == 2, "0.125 and 0.25 are compared"
    assert frame.attrs["unfinished"] == 0
    (again,) = run_studies([record.study], storage=tmp_path / "s.db")
    assert again.runs["key"].tolist() == record.runs["key"].tolist()
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 's.db'}")
    trials = optuna.load_study(study_name="stripes@until-decided", storage=storage).get_trials()
    storage.remove_session()
    storage.engine.dispose()
    assert [trial.user_attrs["seeds"] for trial in sorted(trials, key=lambda one: one.user_attrs["point"])] == seeds
