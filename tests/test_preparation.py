"""A study and its data: small folders are used as they are, and a dry run makes the checks of a sweep."""

import re

import numpy as np
import pytest
from pictures import fill, paint

import explorer
from explorer.__main__ import main
from explorer.data import find_source
from explorer.data.dataset import store
from explorer.machine import torch_threads
from explorer.spaces.squeezenet import SqueezeNet
from explorer.study.files import load_study
from explorer.sweeping import dry_run as planning
from explorer.sweeping import sweeping
from explorer.sweeping.preparation import prepare_study
from explorer.training import engine
from explorer.training.recipe import Budget, Recipe
from explorer.training.trainer import measure


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(planning, "estimate_seconds", lambda runs, workers: len(runs) / workers)


@pytest.mark.parametrize("available", [2, 3, 10, 81, 122, 300, 511, 700, 3_000, 6_700, 9_999])
def test_few_images_are_all_used_and_seen_about_as_many_times_as_the_budget_asks(available):
    study = load_study("squeeze_ratio")
    budget, recipe = (fitted := study.fitted(available, 100)).budget, fitted.recipe
    assert (budget.images, budget.validation) == (available, 100)
    assert budget.seen == pytest.approx(20_000, rel=0.18)
    assert recipe.batch_size == 2 or available // recipe.batch_size >= (4 if recipe.batch_size > 16 else 2)
    assert recipe.batch_size == 128 or available // (2 * recipe.batch_size) < (4 if recipe.batch_size >= 16 else 2)
    assert recipe.learning_rate / recipe.batch_size == pytest.approx(0.12 / 128)
    assert recipe.warmup_images / budget.seen == pytest.approx(4_000 / 20_000, rel=0.2)
    assert fitted.fitted(available, 100) is fitted


def test_the_budget_of_122_images():
    budget, recipe = (fitted := load_study("squeeze_ratio").fitted(122, 40)).budget, fitted.recipe
    assert (budget.images, budget.epochs, recipe.batch_size, recipe.warmup_images) == (122, 164, 16, 4_000)


@pytest.mark.parametrize("name", ["squeeze_ratio", "compound_grid", "squeezenet_grid"])
@pytest.mark.parametrize("available", [10_000, 15_000, 45_000])
def test_built_in_studies_on_built_in_data_stay_as_they_are(name, available):
    study = load_study(name)
    assert study.fitted(available, 5_000) is study


def test_the_warm_up_is_at_most_half_of_what_few_images_allow():
    budget = Budget(images=5_000, epochs=1).fitted(100, 100)
    assert budget.seen == 5_000
    assert Recipe().fitted(budget).warmup_images == 2_500


def pets(tmp_path, cats=90, dogs=90):
    fill(tmp_path / "pets", ("cat",), count=cats)
    fill(tmp_path / "pets", ("dog",), count=dogs)
    return tmp_path / "pets"


def fails(jobs, *_, **__):
    """Runs that take no time."""
    while job := jobs.take():
        for run in job:
            yield engine._outcome(run, {"state": "failed", "reason": "no", "host": {"name": "here"}})


def printed(capsys, *arguments):
    code = main([*map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_dry_run_shows_what_a_small_folder_is_trained_with(tmp_path, capsys):
    code, out, _ = printed(capsys, "sweep", "squeeze_ratio", "--data", pets(tmp_path), "--dry-run")
    assert code == 0
    assert "162 images: 81 for training, 81 for validation; budget 81 x 247" in out
    assert "classes: cat 41 + 40, dog 40 + 41" in out or "classes: cat 40 + 41, dog 41 + 40" in out
    assert re.search(r"81 training images, fewer than the 10,000 of the budget, so each is seen 247 times", out)


def test_images_that_are_seen_one_time_are_seen_once(tmp_path):
    study = load_study("squeeze_ratio", data=str(pets(tmp_path)), seeds=1)
    study = study.model_copy(update={"budget": Budget(images=100, epochs=1)})
    note = prepare_study(study).notes[0]
    assert "so each is seen once, in batches" in note


def test_control_characters_in_the_names_of_classes_are_escaped(tmp_path, capsys):
    fill(tmp_path / "pets", ("c\na\x1b[31mt", "dog\u2028"), count=20)
    code, out, _ = printed(capsys, "sweep", "squeeze_ratio", "--data", tmp_path / "pets", "--dry-run")
    assert code == 0
    assert r"classes: c\na\x1b[31mt " in out
    assert r", dog\u2028 " in out
    code, _, err = printed(capsys, "sweep", "squeeze_ratio", "--data", tmp_path / "pe\x1bts", "--dry-run")
    assert code == 2
    assert r"pe\x1bts" in err
    assert "\x1b" not in err


def test_a_sweep_notes_what_a_dry_run_shows_and_stores_the_counts(tmp_path, monkeypatch):
    folder = pets(tmp_path, cats=190, dogs=20)
    (folder / "cat" / "x.heic").touch()
    study = load_study("squeeze_ratio", data=str(folder), seeds=1)
    noted, trained = [], []

    class Watcher(sweeping.Watcher):
        def note(self, text):
            noted.append(text)

        def begin(self, _study, runs, *_):
            trained.extend(runs)

    monkeypatch.setattr(sweeping, "execute", fails)
    (record,) = sweeping.run_studies([study], watcher=Watcher())
    found = explorer.dry_run(study)
    assert noted == list(found.notes)
    assert noted[0] == "1 file ignored (.heic 1)"
    assert noted[1].startswith("the classes differ in size")
    assert (record.study.recipe, record.study.budget) == (found.study.recipe, found.study.budget)
    assert {run.budget for run in trained} == {found.study.budget}
    assert record.class_counts == found.counts
    assert record.guess == max(found.counts.validation) / sum(found.counts.validation) > 0.89


def test_growing_budgets_stay_multiples(tmp_path, monkeypatch):
    study = load_study("squeeze_ratio", data=str(pets(tmp_path, cats=100, dogs=100)), seeds=1)
    studies = [study.model_copy(update={"budget": study.budget.times(n)}).renamed([f"x{n}"]) for n in (1, 2, 4, 8)]
    monkeypatch.setattr(sweeping, "execute", fails)
    records = sweeping.run_studies(studies)
    budgets = [record.study.budget for record in records]
    assert budgets == [budgets[0].times(n) for n in (1, 2, 4, 8)]
    assert len({record.study.recipe for record in records}) == 1


def test_a_warm_up_that_takes_most_of_the_images_is_noted(tmp_path):
    fill(tmp_path / "many", count=700)
    noted = prepare_study(load_study("squeeze_ratio", data=str(tmp_path / "many"), images=500)).notes
    (note,) = noted
    assert note.startswith("the learning rate rises over the first 4,000 images, but a run sees only 1,000; give more")
    assert not prepare_study(load_study("squeeze_ratio", data=str(tmp_path / "many"), images=500, epochs=16)).notes


def test_quick_fits_few_images_too(tmp_path):
    study = load_study("squeeze_ratio", data=str(pets(tmp_path)), quick=True)
    assert (study.budget.images, study.budget.epochs, study.recipe.batch_size) == (81, 12, 16)
    assert study.name == "squeeze_ratio@pets-quick"
    assert study.is_trial


def test_few_images_are_learnt_from(stripes):
    """62 images: with the recipe for 10,000, the learning rate would still rise when the run ends."""
    few = np.concatenate([np.flatnonzero(stripes.labels == label)[:41] for label in range(3)])
    blocks = [(stripes.images[few], stripes.labels[few])]
    dataset = store("few", "few", stripes.classes, (len(few), stripes.size), blocks, stratified=True)
    budget = Budget(images=3_000, epochs=1).fitted(len(dataset.split().train), len(dataset.split().validation))
    network = SqueezeNet.point("cifar", classes=3, base_e=8, incr_e=8, stem_width=8, fires=3, pools=(1,)).expand()
    with torch_threads(1):
        measured = measure(network, dataset, Recipe().fitted(budget), budget, seed=0)
    assert (budget.images, budget.epochs, len(measured.correct)) == (62, 48, 61)
    assert measured.accuracy > 0.6  # three classes: guessing has a third


def test_damaged_images_are_not_trained_on(tmp_path):
    study = load_study("squeeze_ratio", data=str(pets(tmp_path)))
    expected = prepare_study(study)
    path = expected.dataset.folder / "images.npy"
    content = bytearray(path.read_bytes())
    content[5_000] ^= 1
    path.write_bytes(content)
    found = prepare_study(study)
    assert found.notes[0].startswith("the stored copy of pets was damaged and has been rebuilt from its source")
    assert found.notes[1:] == expected.notes
    assert found.dataset.fingerprint == expected.dataset.fingerprint
    assert np.array_equal(found.dataset.images, find_source(study.data).prepare().images)
    assert prepare_study(study).notes == expected.notes


def broken(tmp_path):
    (tmp_path / "pets" / "cat" / "000.png").write_bytes(b"no image")


def unreadable_class(tmp_path):
    (tmp_path / "pets" / "eel").mkdir()


def too_few(tmp_path):
    for path in (tmp_path / "pets").glob("*/*"):
        if path.stem != "000":
            path.unlink()


def held_out_among_classes(tmp_path):
    paint(tmp_path / "pets" / "test" / "x.png")


@pytest.mark.parametrize("spoil", [broken, unreadable_class, too_few, held_out_among_classes])
@pytest.mark.parametrize("command", [("sweep", "squeeze_ratio"), ("certify", "squeezenet", "--points", "4")])
def test_a_dry_run_refuses_the_data_that_the_run_refuses(tmp_path, capsys, spoil, command):
    spoil((pets(tmp_path), tmp_path)[1])
    options = (*command, "--data", tmp_path / "pets")
    wet, dry = printed(capsys, *options), printed(capsys, *options, "--dry-run")
    assert (dry[0], dry[2]) == (wet[0], wet[2])
    assert wet[0] == 2
    assert wet[2].count("\n") == 1


@pytest.mark.parametrize(
    "options",
    [
        ("--figures", "pgn"),
        ("--reports", "file/reports"),
        ("--storage", "file"),
        ("--storage", "no/where.db"),
        ("--data", "nowhere"),
        ("--data-dir", "somewhere"),
        ("--epochs", "0"),
    ],
)
def test_a_dry_run_refuses_the_options_that_the_run_refuses(tmp_path, capsys, options):
    (tmp_path / "file").write_text("text")
    options = ("sweep", "squeeze_ratio", "--data", pets(tmp_path), *options)
    wet, dry = printed(capsys, *options), printed(capsys, *options, "--dry-run")
    assert (dry[0], dry[2]) == (wet[0], wet[2])
    assert wet[0] == 2
