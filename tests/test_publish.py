import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from optuna_dashboard import get_note, save_note

from explorer.storage.ledger import Ledger
from explorer.storage.optuna_tables import NoView
from explorer.storage.optuna_view import View, annotate
from explorer.storage.runs import Result
from explorer.study.files import load_study
from explorer.study.model import Range, Study
from explorer.study.plan import plan

optuna.logging.set_verbosity(optuna.logging.WARNING)


def done(*accuracies):
    return [Result("done", "", accuracy) for accuracy in accuracies]


def study(vary, **changes):
    values = {"name": "s@x", "title": "t", "space": "squeezenet", "preset": "cifar", "vary": vary}
    return Study.model_validate(values | changes)


@pytest.fixture
def ledger(tmp_path):
    opened = Ledger(tmp_path / "view.db", create=True)
    with opened.writing():
        yield opened


def shown(ledger, name="s@x"):
    storage = optuna.storages.RDBStorage(ledger.url.render_as_string())
    trials = optuna.load_study(study_name=name, storage=storage).get_trials()
    storage.remove_session()
    storage.engine.dispose()
    return trials


def test_settled_points_are_trials_with_cost_and_spread_as_columns(ledger):
    chosen = study({"squeeze_ratio": [0.25, 0.5]})
    points = plan(chosen, 10)
    view = View(ledger, chosen, points)
    view.sync({0: (points[0], done(0.4, 0.5))})
    view.show([], {1: (points[1], done(0.6, 0.6))})
    view.close()
    first, second = shown(ledger)
    assert first.params == {"squeeze_ratio": 0.25}
    assert first.value == pytest.approx(0.45)
    assert first.user_attrs["spread"] == pytest.approx(0.0707, abs=1e-4)
    assert (second.user_attrs["params"], second.user_attrs["macs"]) == (183_490, 3_283_968)
    assert second.user_attrs["state"] == "done"
    assert (second.user_attrs["accuracy"], second.user_attrs["seeds"]) == (0.6, 2)


def test_a_second_sync_adds_new_points(ledger):
    chosen = study({"squeeze_ratio": [0.25, 0.5]})
    points = plan(chosen, 10)
    for settled in ({0: (points[0], done(0.4))}, {0: (points[0], done(0.4)), 1: (points[1], done(0.5))}):
        view = View(ledger, chosen, points)
        view.sync(settled)
        view.close()
    assert [trial.value for trial in shown(ledger)] == [0.4, 0.5]


def made_by_optuna(trial):
    """The same trial as Optuna creates it, which checks it."""
    times = {"datetime_start", "datetime_complete"}
    made = optuna.trial.create_trial(**{name: part for name, part in vars(trial).items() if name not in times})
    made.datetime_start, made.datetime_complete = trial.datetime_start, trial.datetime_complete
    return made


def test_trials_in_bulk_are_those_that_optuna_stores(ledger):
    chosen = study({"base_e": [8, 16], "pct3x3": [0.25, 0.5], "bypass": ["none", "simple"]})
    points = plan(chosen, 10)
    view = View(ledger, chosen, points)
    ended = {"seconds": 2.5, "accuracies": [0.2, 0.3], "finished": "2026-01-02T03:04:05+00:00"}
    results = [[Result("done", "", 0.1 * (1 + point.number), **ended)] * 2 for point in points]
    view.show(points[:3], {0: (points[0], results[0])})  # the first has ended before it was shown as running
    view.show(points[2:], {number: (points[number], results[number]) for number in (1, 2, 3)})
    view.show([], {point.number: (point, results[point.number]) for point in points[1:]})
    expected = [made_by_optuna(view._finished(point, results[point.number])) for point in points]
    view.close()
    found = shown(ledger)
    assert [trial.number for trial in found] == list(range(len(points)))
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(study_name="expected", storage=storage).add_trials(expected)
    by_point = {trial.user_attrs["point"]: trial for trial in found}
    for trial in optuna.load_study(study_name="expected", storage=storage).get_trials():
        other = by_point[trial.user_attrs["point"]]
        for part in ("state", "values", "params", "distributions", "user_attrs", "intermediate_values"):
            assert getattr(other, part) == getattr(trial, part)
        assert other.datetime_complete == trial.datetime_complete
        assert other.datetime_start is not None


def test_a_view_that_was_left_behind_is_completed(ledger):
    chosen = study({"squeeze_ratio": [0.25, 0.5]})
    points = plan(chosen, 10)
    killed = View(ledger, chosen, points)
    killed.show([points[1]], {})
    (before,) = shown(ledger)
    killed.tables.close()
    view = View(ledger, chosen, points)
    view.sync({point.number: (point, done(0.4)) for point in points})
    view.close()
    found = shown(ledger)
    assert [trial.state for trial in found] == [TrialState.COMPLETE] * 2
    assert found[0]._trial_id == before._trial_id
    assert [trial.user_attrs["point"] for trial in found] == [1, 0]


def test_a_view_that_disagrees_is_replaced(ledger):
    chosen = study({"squeeze_ratio": [0.25, 0.5]})
    points = plan(chosen, 10)
    for accuracy in (0.4, 0.7):
        view = View(ledger, chosen, points)
        view.sync({0: (points[0], done(accuracy))})
        view.close()
    assert [trial.value for trial in shown(ledger)] == [0.7]


def test_points_without_a_result_fail_with_a_reason(ledger):
    chosen = study({"pools": [(1, 4, 8), (1, 99), (1,)]}, constraints={"macs": Range(max=3_500_000)})
    points = plan(chosen, 10)
    view = View(ledger, chosen, points)
    failed = [Result("failed", "the training loss is not finite in epoch 1", None)] * 2
    view.sync({0: (points[0], failed), 1: (points[1], []), 2: (points[2], [])})
    view.close()
    trials = shown(ledger)
    assert {trial.state for trial in trials} == {TrialState.FAIL}
    assert [trial.params["pools"] for trial in trials] == ["1-4-8", "1-99", "1"]
    assert "not finite" in trials[0].user_attrs["reason"]
    assert "layer 99" in trials[1].user_attrs["reason"]
    assert "at most 3,500,000" in trials[2].user_attrs["reason"]


def test_kinds_of_metaparameters(ledger):
    chosen = study({"bypass": ["none", "simple"], "base_e": [8, 16], "batch_norm": [True, False], "pct3x3": [0.5]})
    points = plan(chosen, 10)
    view = View(ledger, chosen, points)
    view.sync({point.number: (point, done(0.5)) for point in points})
    view.close()
    assert shown(ledger)[1].params == {"bypass": "none", "base_e": 8, "batch_norm": "no", "pct3x3": 0.5}


def everything(ledger):
    """All rows of Optuna's tables, by study."""
    storage = optuna.storages.RDBStorage(ledger.url.render_as_string())
    found = {
        summary.study_name: (
            summary.directions,
            summary.user_attrs,
            summary.system_attrs,
            [repr(trial) for trial in storage.get_all_trials(summary._study_id)],
        )
        for summary in storage.get_all_studies()
    }
    storage.remove_session()
    storage.engine.dispose()
    return found


def users_study(ledger, name="s@x", directions=("maximize",), trials=()):
    storage = optuna.storages.RDBStorage(ledger.url.render_as_string())
    made = optuna.create_study(study_name=name, storage=storage, directions=directions)
    made.add_trials(trials)
    storage.remove_session()
    storage.engine.dispose()
    return made


def trial(values, **attributes):
    return optuna.trial.create_trial(values=values, user_attrs=attributes)


LIKE_OURS = {"point": 0, "label": "0.25", "state": "done", "accuracy": 0.4, "seeds": 1}


@pytest.mark.parametrize(
    ("directions", "trials"),
    [
        (["maximize"], [trial([0.4]), trial([0.5])]),
        (["maximize"], []),
        (["minimize"], [trial([0.4])]),
        (["maximize", "minimize", "minimize"], [trial([0.4, 1, 2])]),
        (["maximize"], [trial([0.4], **LIKE_OURS)]),
    ],
    ids=["with trials", "without trials", "another direction", "several objectives", "the same attributes"],
)
def test_a_study_of_the_user_is_never_touched(ledger, caplog, directions, trials):
    for name in ("s@x", "s@x: front", "s@x (explorer)"):
        users_study(ledger, name, directions, trials)
    before = everything(ledger)
    chosen = study({"squeeze_ratio": [0.25, 0.5]})
    points = plan(chosen, 10)
    for accuracy in (0.4, 0.4, 0.7):
        with closing(View(ledger, chosen, points)) as view:
            view.sync({0: (points[0], done(accuracy))})
            view.show([], {1: (points[1], done(0.5))})
        annotate(ledger, chosen.name, "report.html", "a note", {0: "0.3 to 0.5"})
    after = everything(ledger)
    assert {name: after.pop(name) for name in before} == before
    assert after.keys() == {"s@x (explorer 2)", "s@x: front (explorer)"}
    assert [trial.value for trial in shown(ledger, "s@x (explorer 2)")] == [0.7, 0.5]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 6
    assert said[0].endswith("the Optuna study 's@x' does not belong to the explorer; its view is 's@x (explorer 2)'")


def test_a_view_of_an_earlier_version_is_replaced(tmp_path):
    old = Path(__file__).parent / "fixtures" / "ledger_v1"
    ledger = Ledger(shutil.copy(old / "explorer.db", tmp_path / "old.db"))
    chosen = load_study(old / "squeezes.toml")
    points = plan(chosen, 10)
    before = everything(ledger)
    with ledger.writing(), closing(View(ledger, chosen, points)) as view:
        view.sync({0: (points[0], done(0.4))})
    after = everything(ledger)
    assert after.keys() == {"squeezes", "squeezes: front", "depths"}
    assert after["depths"] == before["depths"]
    assert [trial.value for trial in shown(ledger, "squeezes")] == [0.4]


def test_a_view_of_an_earlier_version_to_which_the_user_added_a_trial_is_kept(tmp_path):
    old = Path(__file__).parent / "fixtures" / "ledger_v1"
    ledger = Ledger(shutil.copy(old / "explorer.db", tmp_path / "old.db"))
    chosen = load_study(old / "squeezes.toml")
    storage = optuna.storages.RDBStorage(ledger.url.render_as_string())
    optuna.load_study(study_name="squeezes", storage=storage).add_trial(trial([0.9]))
    storage.remove_session()
    storage.engine.dispose()
    before = everything(ledger)
    with ledger.writing():
        View(ledger, chosen, plan(chosen, 10)).close()
    after = everything(ledger)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"squeezes (explorer)", "squeezes: front"}


def test_a_view_to_which_the_user_added_trials_is_theirs(ledger):
    chosen = study({"squeeze_ratio": [0.25, 0.5]})
    points = plan(chosen, 10)
    with closing(View(ledger, chosen, points)) as view:
        view.sync({0: (points[0], done(0.4))})
        view.trials.study.add_trial(trial([0.9]))
    before = everything(ledger)["s@x"][3]
    for accuracy in (0.5, 0.6):
        with closing(View(ledger, chosen, points)) as view:
            view.sync({0: (points[0], done(accuracy))})
    assert everything(ledger)["s@x"][3] == before
    assert [one.value for one in shown(ledger, "s@x (explorer)")] == [0.6]


@pytest.mark.parametrize(
    ("statements", "table"),
    [
        (["create table studies (title text)"], "studies"),
        (["create table alembic_version (version_num text)", "insert into alembic_version values ('a1')"], "alembic"),
        (["create table version_info (x integer)"], "version_info"),
        (["create view trials as select 1"], "trials"),
    ],
)
def test_tables_of_other_programs_are_never_touched(ledger, statements, table):
    with closing(sqlite3.connect(ledger.url.database)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
        before = list(connection.iterdump())
        chosen = study({"squeeze_ratio": [0.25, 0.5]})
        with pytest.raises(NoView, match=rf"its table {table}\w* does not belong to Optuna$"):
            View(ledger, chosen, plan(chosen, 10))
        assert list(connection.iterdump()) == before


def test_tables_of_another_optuna_are_refused(ledger):
    chosen = study({"squeeze_ratio": [0.25, 0.5]})
    View(ledger, chosen, plan(chosen, 10)).close()
    with closing(sqlite3.connect(ledger.url.database)) as connection, connection:
        connection.execute("update alembic_version set version_num = 'v99.0.0.a'")
    with pytest.raises(NoView, match="Optuna cannot read it: The runtime optuna version") as error:
        View(ledger, chosen, plan(chosen, 10))
    assert "\n" not in str(error.value)


def test_a_point_runs_then_finishes_with_values_per_epoch_and_real_times(ledger):
    chosen = study({"squeeze_ratio": [0.25, 0.5]})
    points = plan(chosen, 10)
    runs = [
        Result("done", "", 0.5, 60.0, [0.2, 0.5], "2026-01-01T12:01:00+00:00"),
        Result("done", "", 0.7, 90.0, [0.4, 0.7], "2026-01-01T12:05:00+00:00"),
    ]
    with closing(View(ledger, chosen, points)) as view:
        view.sync({0: (points[0], runs)})
        view.show([points[1]], {})
        view.show([points[1]], {})
        assert [one.state for one in shown(ledger)] == [TrialState.COMPLETE, TrialState.RUNNING]
        view.show([], {1: (points[1], runs)})
        view.show([], {1: (points[1], runs)})
        view.show([points[1]], {})
    first, second = shown(ledger)
    for one in (first, second):
        assert one.state == TrialState.COMPLETE
        assert one.intermediate_values == pytest.approx({1: 0.3, 2: 0.6})
        assert one.user_attrs["training_seconds"] == 150
    assert first.duration == timedelta(minutes=5)
    assert first.datetime_start.astimezone(UTC) == datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
    assert timedelta() <= datetime.now() - second.datetime_start < timedelta(minutes=2)  # noqa: DTZ005 (as in Optuna)


def test_the_front_has_the_costs_as_objectives(ledger):
    chosen = study({"squeeze_ratio": [0.25, 0.2501, 0.5], "pools": [(1, 4, 8), (1, 99)]})
    points = plan(chosen, 10)
    assert {point.state for point in points} == {"planned", "merged", "infeasible"}
    with closing(View(ledger, chosen, points)) as view:
        view.sync({point.number: (point, done(0.5) if point.network else []) for point in points})
    storage = optuna.storages.RDBStorage(ledger.url.render_as_string())
    front = optuna.load_study(study_name="s@x: front", storage=storage)
    assert [direction.name for direction in front.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    assert front.metric_names == ["accuracy", "params", "macs"]
    own = [point for point in points if point.state == "planned"]
    assert [one.values for one in front.trials] == [[0.5, one.cost.params, one.cost.macs] for one in own]
    assert [one.number for one in front.best_trials] == [0]
    storage.remove_session()
    storage.engine.dispose()


def test_points_that_were_running_when_a_sweep_ended_wait(ledger):
    chosen = study({"squeeze_ratio": [0.25, 0.5]})
    points = plan(chosen, 10)
    with closing(View(ledger, chosen, points)) as view:
        view.sync({})
        view.show([points[0]], {})
    assert [one.state for one in shown(ledger)] == [TrialState.WAITING]
    with closing(View(ledger, chosen, points)) as view:
        view.sync({1: (points[1], done(0.5))})
        view.show([points[0]], {})
        assert [one.state for one in shown(ledger)] == [TrialState.RUNNING, TrialState.COMPLETE]
        view.show([], {0: (points[0], done(0.4))})
    assert [one.value for one in shown(ledger)] == [0.4, 0.5]


def test_a_report_adds_intervals_a_note_and_its_path(ledger):
    chosen = study({"squeeze_ratio": [0.25, 0.5]})
    points = plan(chosen, 10)
    settled = {point.number: (point, done(0.4)) for point in points}
    for intervals in ({0: "30 to 50 %", 1: "35 to 45 %"}, {0: "31 to 49 %", 1: "35 to 45 %"}):
        with closing(View(ledger, chosen, points)) as view:
            view.sync(settled)
        annotate(ledger, chosen.name, "/reports/s/report.html", "the answer", intervals)
    for name in ("s@x", "s@x: front"):
        trials = shown(ledger, name)
        assert [one.user_attrs["interval"] for one in trials] == list(intervals.values())
        assert len({one._trial_id for one in trials}) == 2
    storage = optuna.storages.RDBStorage(ledger.url.render_as_string())
    found = optuna.load_study(study_name="s@x", storage=storage)
    assert found.user_attrs["report"] == "/reports/s/report.html"
    assert get_note(found) == "the answer"
    save_note(found, "my own note")
    annotate(ledger, chosen.name, "/elsewhere/report.html", "another answer", {})
    found = optuna.load_study(study_name="s@x", storage=storage)
    assert get_note(found) == "my own note"
    assert found.user_attrs["report"] == "/elsewhere/report.html"
    storage.remove_session()
    storage.engine.dispose()
