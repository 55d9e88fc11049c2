"""Deleting and renaming stored studies."""

import io
import json
from contextlib import closing

import optuna
import pytest
from records import changed
from test_ledger import reading, run_row, save

import explorer
from explorer.__main__ import main
from explorer.errors import ExplorerError
from explorer.storage.ledger import Ledger
from explorer.storage.optuna_view import View
from explorer.storage.runs import Result
from explorer.study.files import load_study


@pytest.fixture
def storage(tmp_path, monkeypatch):
    """Two studies that share the run 0-0; the first has the run 1-1 for itself, and a view."""
    monkeypatch.chdir(tmp_path)
    ledger = Ledger("explorer.db", create=True)
    with ledger.writing():
        first = load_study("squeeze_ratio")
        points = save(ledger, first)
        save(ledger, changed("squeeze_ratio", name="other", vary={"squeeze_ratio": [0.5]}, seeds=1, claims=[]))
        for key in ("0-0", "1-1"):
            ledger.runs.record(run_row(key))
        ledger.tests.record(reading("1-1"))
        with closing(View(ledger, first, points)) as view:
            view.sync({0: (points[0], [Result("done", "", 0.5)])})
    users = optuna.create_study(study_name="mine", storage=view.tables.storage)
    users.add_trial(optuna.trial.create_trial(value=1.0))
    view.tables.close()
    (tmp_path / "reports" / "squeeze_ratio").mkdir(parents=True)
    return tmp_path / "explorer.db"


def views(storage):
    rdb = optuna.storages.RDBStorage(f"sqlite:///{storage}")
    found = {study.study_name: len(rdb.get_all_trials(study._study_id)) for study in rdb.get_all_studies()}
    rdb.remove_session()
    rdb.engine.dispose()
    return found


def test_a_deleted_study_leaves_its_runs(storage, capsys):
    assert main(["delete", "squeeze_ratio", "--yes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "deleted the study squeeze_ratio",
        "kept 2 runs, 1 of them in other studies",
        "kept its report: reports/squeeze_ratio",
    ]
    ledger = Ledger(storage)
    assert ledger.studies.names() == ["other"]
    assert ledger.runs.keys() == ["0-0", "1-1"]
    assert ledger.studies.progress()["other"] == (1, 1)
    assert views(storage) == {"mine": 1}


def test_its_runs_are_deleted_unless_another_study_has_them(storage, capsys):
    assert main(["delete", "squeeze_ratio", "--runs", "--yes", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["deleted_runs"], said["kept_runs"], said["shared_runs"]) == (1, 1, 1)
    ledger = Ledger(storage)
    assert ledger.runs.keys() == ["0-0"]
    assert ledger.tests.find("1-1") is not None, "an image is not tested twice because a run was deleted"
    assert explorer.delete_study("other", runs=True, storage=storage).deleted_runs == 1
    assert ledger.runs.keys() == []
    assert explorer.stored_studies(storage).empty


def test_nothing_is_deleted_without_an_answer(storage, capsys):
    assert main(["delete", "squeeze_ratio"]) == 2
    assert (
        capsys.readouterr().err
        == "explorer: delete squeeze_ratio: cannot ask for confirmation without a terminal; add --yes\n"
    )
    assert Ledger(storage).studies.names() == ["other", "squeeze_ratio"]


@pytest.mark.parametrize(
    ("answer", "left"), [("y\n", ["other"]), ("n\n", ["other", "squeeze_ratio"]), ("", ["other", "squeeze_ratio"])]
)
def test_a_terminal_is_asked(storage, monkeypatch, answer, left):
    asked = io.StringIO(answer)
    asked.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", asked)
    assert main(["delete", "squeeze_ratio"]) == (0 if answer == "y\n" else 1)
    assert Ledger(storage).studies.names() == left


@pytest.mark.parametrize("command", [["delete", "squeze_ratio", "--yes"], ["rename", "squeze_ratio", "new"]])
def test_an_unknown_study_gets_a_hint(storage, capsys, command):
    assert main(command) == 2
    assert "did you mean 'squeeze_ratio'?" in capsys.readouterr().err
    assert Ledger(storage).studies.names() == ["other", "squeeze_ratio"]


def test_a_renamed_study_is_the_same_study(storage, capsys):
    ledger = Ledger(storage)
    before = ledger.studies.load("squeeze_ratio")
    assert main(["rename", "squeeze_ratio", "first try"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "renamed the study squeeze_ratio to first try",
        "kept its report under the old name: reports/squeeze_ratio",
        "to write its report under the new name: explorer report 'first try'",
    ]
    assert ledger.studies.names() == ["first try", "other"]
    after = ledger.studies.load("first try")
    assert after.study == before.study.model_copy(update={"name": "first try"})
    assert after.points.equals(before.points)
    assert after.runs["key"].tolist() == before.runs["key"].tolist()
    assert ledger.tests.find("1-1")["study"] == "first try"
    assert views(storage) == {"first try": 1, "first try: front": 1, "mine": 1}
    # The view is still ours: it goes with the study.
    explorer.delete_study("first try", storage=storage)
    assert views(storage) == {"mine": 1}


def test_a_view_does_not_take_the_name_of_a_study_of_the_user(storage):
    explorer.rename_study("squeeze_ratio", "mine", storage=storage)
    assert views(storage) == {"mine": 1, "mine (explorer)": 1, "mine: front": 1}
    explorer.delete_study("mine", storage=storage)
    assert views(storage) == {"mine": 1}


@pytest.mark.parametrize("name", ["", " ", "a/b", "../a", ".hidden", "-x", "a\nb", "a\\b", "x" * 101, "a: front", "a."])
def test_names_that_no_folder_should_have_are_refused(storage, name):
    with pytest.raises(ExplorerError, match=r"a study's name has 1 to 100 letters.* such as '") as error:
        explorer.rename_study("squeeze_ratio", name, storage=storage)
    hint = str(error.value).rpartition("such as ")[2].strip("'")
    explorer.rename_study("squeeze_ratio", hint, storage=storage)


def test_a_taken_name_is_refused(storage, capsys):
    for taken in ("other", "squeeze_ratio"):
        assert main(["rename", "squeeze_ratio", taken]) == 2
        assert f"'{taken}': the storage already has a study with this name" in capsys.readouterr().err
    assert Ledger(storage).studies.names() == ["other", "squeeze_ratio"]


def test_the_name_of_a_built_in_study_is_refused(storage, capsys):
    for taken in ("bypass", "pct3x3"):
        assert main(["rename", "other", taken]) == 2
        assert f"'{taken}': a built-in study has this name" in capsys.readouterr().err
    assert Ledger(storage).studies.names() == ["other", "squeeze_ratio"]


def test_nothing_is_changed_while_a_sweep_writes(storage):
    ledger = Ledger(storage)
    with ledger.writing():
        with pytest.raises(ExplorerError, match="is writing to it"):
            explorer.delete_study("squeeze_ratio", storage=storage)
        with pytest.raises(ExplorerError, match="is writing to it"):
            explorer.rename_study("squeeze_ratio", "new", storage=storage)
