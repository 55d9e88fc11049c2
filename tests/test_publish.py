import optuna
import pytest
from optuna.trial import TrialState

from explorer.storage.database import storage_url
from explorer.storage.optuna_view import View
from explorer.storage.runs import Result
from explorer.study.model import Range, Study
from explorer.study.plan import plan

optuna.logging.set_verbosity(optuna.logging.WARNING)


def done(*accuracies):
    return [Result("done", "", accuracy) for accuracy in accuracies]


def study(vary, **changes):
    values = {"name": "s@x", "title": "t", "space": "squeezenet", "preset": "cifar", "vary": vary}
    return Study.model_validate(values | changes)


@pytest.fixture
def url(tmp_path):
    return storage_url(tmp_path / "view.db")


def shown(url, name="s@x"):
    storage = optuna.storages.RDBStorage(url.render_as_string())
    trials = optuna.load_study(study_name=name, storage=storage).get_trials()
    storage.remove_session()
    storage.engine.dispose()
    return trials


def test_settled_points_are_trials_with_cost_and_spread_as_columns(url):
    chosen = study({"squeeze_ratio": [0.25, 0.5]})
    points = plan(chosen, 10)
    view = View(url, chosen)
    view.sync({0: (points[0], done(0.4, 0.5))})
    view.add(points[1], done(0.6, 0.6))
    view.close()
    first, second = shown(url)
    assert first.params == {"squeeze_ratio": 0.25}
    assert first.value == pytest.approx(0.45)
    assert first.user_attrs["spread"] == pytest.approx(0.0707, abs=1e-4)
    assert (second.user_attrs["params"], second.user_attrs["macs"]) == (183_490, 3_283_968)
    assert second.user_attrs["state"] == "done"
    assert (second.user_attrs["accuracy"], second.user_attrs["seeds"]) == (0.6, 2)


def test_a_second_sync_adds_new_points(url):
    chosen = study({"squeeze_ratio": [0.25, 0.5]})
    points = plan(chosen, 10)
    for settled in ({0: (points[0], done(0.4))}, {0: (points[0], done(0.4)), 1: (points[1], done(0.5))}):
        view = View(url, chosen)
        view.sync(settled)
        view.close()
    assert [trial.value for trial in shown(url)] == [0.4, 0.5]


def test_a_view_that_disagrees_is_replaced(url):
    chosen = study({"squeeze_ratio": [0.25, 0.5]})
    points = plan(chosen, 10)
    for accuracy in (0.4, 0.7):
        view = View(url, chosen)
        view.sync({0: (points[0], done(accuracy))})
        view.close()
    assert [trial.value for trial in shown(url)] == [0.7]


def test_points_without_a_result_fail_with_a_reason(url):
    chosen = study({"pools": [(1, 4, 8), (1, 99), (1,)]}, constraints={"macs": Range(max=3_500_000)})
    points = plan(chosen, 10)
    view = View(url, chosen)
    failed = [Result("failed", "the training loss is not finite in epoch 1", None)] * 2
    view.sync({0: (points[0], failed), 1: (points[1], []), 2: (points[2], [])})
    view.close()
    trials = shown(url)
    assert {trial.state for trial in trials} == {TrialState.FAIL}
    assert [trial.params["pools"] for trial in trials] == ["1-4-8", "1-99", "1"]
    assert "not finite" in trials[0].user_attrs["reason"]
    assert "layer 99" in trials[1].user_attrs["reason"]
    assert "at most 3,500,000" in trials[2].user_attrs["reason"]


def test_kinds_of_metaparameters(url):
    chosen = study({"bypass": ["none", "simple"], "base_e": [8, 16], "batch_norm": [True, False], "pct3x3": [0.5]})
    view = View(url, chosen)
    view.sync({point.number: (point, done(0.5)) for point in plan(chosen, 10)})
    view.close()
    assert shown(url)[1].params == {"bypass": "none", "base_e": 8, "batch_norm": "no", "pct3x3": 0.5}
