"""A run that continues from a stored trunk measures the same as from scratch, to the last bit."""

import os
import pickle
import shutil
import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from torch.optim.optimizer import register_optimizer_step_post_hook

from explorer.machine import environment, torch_threads
from explorer.spaces import find_space
from explorer.training.bits import pack
from explorer.training.engine import execute
from explorer.training.performing import perform
from explorer.training.recipe import Budget, Recipe
from explorer.training.run import Run
from explorer.training.trainer import RunFailed, measure, measure_rungs, numerics
from explorer.training.trunks import Trunks, from_bytes, to_bytes, trunk_key

RECIPE = Recipe(batch_size=16, learning_rate=0.02, warmup_images=64)
NETWORKS = {
    "squeezenet": {"dropout": 0.3, "base_e": 8, "incr_e": 8, "fires": 2, "pools": (1,)},
    "efficientnet": {"drop_connect": 0.3},
}
BUDGETS = [Budget(images=104, epochs=epochs, validation=60) for epochs in (1, 2, 4)]  # 6.5 batches


@pytest.fixture(autouse=True)
def one_thread():
    with torch_threads(1):
        yield


def expanded(space="squeezenet"):
    return find_space(space).point("cifar", classes=3, **NETWORKS[space]).expand()


def run(dataset, budget=BUDGETS[0], recipe=RECIPE, seed=3):
    return Run(expanded(), dataset.fingerprint, recipe, budget, seed, numerics())


@contextmanager
def counted_steps():
    """A list with an entry for each step of any optimiser."""
    steps = []
    hook = register_optimizer_step_post_hook(lambda *_: steps.append(1))
    try:
        yield steps
    finally:
        hook.remove()


def same(one, other):
    return (
        one.accuracies == other.accuracies
        and one.train_losses == other.train_losses
        and np.array_equal(one.correct, other.correct)
        and np.array_equal(one.predicted, other.predicted)
        and np.array_equal(one.top_probability, other.top_probability)
    )


@pytest.mark.parametrize(
    ("space", "changes"),
    [
        ("squeezenet", {}),
        ("efficientnet", {}),
        ("squeezenet", {"warmup_images": 200}),  # longer than the first trunk
        ("squeezenet", {"decay_share": 0.0}),  # the trunk is all but the last step
        ("squeezenet", {"decay_share": 1.0}),  # there is no trunk
        ("squeezenet", {"momentum": 0.0}),  # the optimiser has no state
    ],
)
def test_one_budget_at_a_time_measures_the_same_as_all_at_once_and_each_alone(stripes, space, changes):
    network, recipe = expanded(space), RECIPE.model_copy(update=changes)
    together = list(measure_rungs(network, stripes, recipe, BUDGETS, seed=3))
    kept, before = None, None
    for budget, other in zip(BUDGETS, together, strict=True):
        received = []
        with counted_steps() as steps:
            (found,) = measure_rungs(network, stripes, recipe, [budget], 3, start=kept, keep=received.append)
        assert same(found, other)
        assert same(found, measure(network, stripes, recipe, budget, seed=3))
        assert 16 * len(steps) == recipe.images_trained([budget], after=before)
        (kept,), before = received, budget


def test_times_are_those_of_the_whole_run(stripes):
    kept = []
    (short,) = measure_rungs(expanded(), stripes, RECIPE, BUDGETS[:1], 3, keep=kept.append)
    state = from_bytes(trunk_key(run(stripes)), kept[0])
    assert 0 < state["training_seconds"] < state["seconds"] < short.seconds
    slow = to_bytes(trunk_key(run(stripes)), state | {"seconds": 1_000.0, "training_seconds": 900.0})
    (found,) = measure_rungs(expanded(), stripes, RECIPE, BUDGETS[1:2], 3, start=slow)
    assert 1_000 < found.seconds < 1_100
    assert found.images_per_second == pytest.approx(2 * 96 / 900, rel=0.1)


def test_several_budgets_may_continue_too(stripes):
    kept = []
    first, *others = measure_rungs(expanded(), stripes, RECIPE, BUDGETS, seed=3)
    (again,) = measure_rungs(expanded(), stripes, RECIPE, BUDGETS[:1], 3, keep=kept.append)
    with counted_steps() as steps:
        continued = list(measure_rungs(expanded(), stripes, RECIPE, BUDGETS[1:], 3, start=kept[0]))
    assert 16 * len(steps) == RECIPE.images_trained(BUDGETS[1:], after=BUDGETS[0])
    assert all(map(same, [again, *continued], [first, *others]))


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    "damage",
    [
        lambda *_: b"",
        lambda trunk, _: trunk[: len(trunk) // 2],
        lambda trunk, _: trunk[:5_000] + bytes([trunk[5_000] ^ 1]) + trunk[5_001:],
        lambda trunk, key: to_bytes("another run", from_bytes(key, trunk) | {"key": "another run"}),
        lambda _, key: to_bytes(key, {"key": None}),
    ],
    ids=["empty", "half", "one bit", "another run", "another format"],
)
def test_a_damaged_or_foreign_trunk_is_trained_again(stripes, tmp_path, damage):
    trunks, key = Trunks(tmp_path), trunk_key(run(stripes))
    (_,) = measure_rungs(expanded(), stripes, RECIPE, BUDGETS[:1], 3, keep=partial(trunks.save, key))
    trunks.save(key, damage(trunks.load(key), key))
    with counted_steps() as steps:
        (found,) = measure_rungs(
            expanded(), stripes, RECIPE, BUDGETS[1:2], 3, start=trunks.load(key), keep=partial(trunks.save, key)
        )
    assert len(steps) == 12
    assert same(found, measure(expanded(), stripes, RECIPE, BUDGETS[1], seed=3))
    assert from_bytes(key, trunks.load(key))["step"] == RECIPE.trunk(12, 16)  # replaced


def test_nothing_is_unpickled(tmp_path):
    trap = tmp_path / "sprung"
    content = to_bytes("key", {"trap": Evil(trap)})
    pickle.loads(pickle.dumps(Evil(trap)))  # noqa: S301 (to see that the trap works)
    trap.rmdir()
    assert from_bytes("key", content) is None
    assert not trap.exists()


def test_a_trunk_that_is_too_long_is_trained_again(stripes):
    kept = []
    (_,) = measure_rungs(expanded(), stripes, RECIPE, BUDGETS[2:], 3, keep=kept.append)
    with counted_steps() as steps:
        (found,) = measure_rungs(expanded(), stripes, RECIPE, BUDGETS[:1], 3, start=kept[0])
    assert len(steps) == 6
    assert 16 * len(steps) == RECIPE.images_trained(BUDGETS[:1], after=BUDGETS[2])
    assert same(found, measure(expanded(), stripes, RECIPE, BUDGETS[0], seed=3))


def test_a_run_that_fails_keeps_no_trunk(stripes):
    kept, recipe = [], RECIPE.model_copy(update={"learning_rate": 1e25, "warmup_images": 0})
    (failed,) = measure_rungs(expanded(), stripes, recipe, BUDGETS[1:2], 3, keep=kept.append)
    assert isinstance(failed, RunFailed)
    assert kept == []


def test_the_key_of_a_trunk_depends_on_everything_but_epochs(stripes):
    base = run(stripes)
    assert trunk_key(base) == trunk_key(run(stripes, budget=BUDGETS[2]))
    others = [
        replace(base, network=expanded("efficientnet")),
        replace(base, data_fingerprint="other"),
        replace(base, numerics=replace(base.numerics, torch="1.0")),
        run(stripes, budget=Budget(images=105, epochs=1, validation=60)),
        run(stripes, budget=Budget(images=104, epochs=1, validation=61)),
        run(stripes, recipe=RECIPE.model_copy(update={"warmup_images": 65})),
        run(stripes, seed=4),
    ]
    keys = {trunk_key(one) for one in (base, *others)}
    with environment({"ONEDNN_MAX_CPU_ISA": "AVX2"}):
        assert len(keys | {trunk_key(base)}) == len(others) + 2


@pytest.mark.slow
def test_a_worker_continues_from_the_trunk_of_a_killed_one(stripes, tmp_path, monkeypatch):
    """The first worker trains one budget, and is killed in the next one, after it stored the longer trunk."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "if 'explorer.training.worker' in sys.orig_argv:\n"
        "    from explorer.training.trunks import Trunks, from_bytes\n"
        "    load, save = Trunks.load, Trunks.save\n"
        "    def logged(self, key):\n"
        "        found = load(self, key)\n"
        f"        with Path({str(tmp_path)!r}, 'steps').open('a') as file:\n"
        "            print(found and from_bytes(key, found)['step'], file=file)\n"
        "        return found\n"
        "    def deadly(self, key, trunk):\n"
        "        save(self, key, trunk)\n"
        f"        if not Path({str(tmp_path)!r}, 'first').exists():\n"
        f"            Path({str(tmp_path)!r}, 'first').touch()\n"
        f"        elif not Path({str(tmp_path)!r}, 'killed').exists():\n"
        f"            Path({str(tmp_path)!r}, 'killed').touch()\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "    Trunks.load, Trunks.save = logged, deadly\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])))
    runs = [run(stripes, budget) for budget in BUDGETS[:2]]
    keep = partial(perform, trunks=Trunks(tmp_path / "trunks"))
    for outcome in execute([(one,) for one in runs], stripes.folder, workers=1, call=keep):
        alone = measure(outcome.run.network, stripes, RECIPE, outcome.run.budget, outcome.run.seed)
        assert outcome.row["accuracies"] == list(alone.accuracies)
        assert outcome.row["train_losses"] == list(alone.train_losses)
        assert outcome.row | pack(alone.correct, alone.top_probability) == outcome.row
    assert (tmp_path / "killed").exists()
    first, second = (RECIPE.trunk(6 * epochs, 16) for epochs in (1, 2))
    assert (tmp_path / "steps").read_text().split() == ["None", str(first), str(second)]


def stored(trunks):
    return {path.name for path in trunks.folder.iterdir()}


def aged(trunks):
    """Store three trunks, the first of which was left behind by a killed writer."""
    for number, name in enumerate([".writing-a", "b", "c"]):
        trunks.save(name, bytes(100))
        os.utime(trunks.folder / name, (number, number))


def test_the_oldest_trunks_make_room(tmp_path):
    trunks = Trunks(tmp_path / "new" / "folder", most_bytes=350)
    aged(trunks)
    trunks.save("d", bytes(50))
    assert stored(trunks) == {".writing-a", "b", "c", "d"}
    trunks.save("e", bytes(150))
    assert stored(trunks) == {"c", "d", "e"}
    trunks.save("f", bytes(351))  # larger than all may be
    assert stored(trunks) == {"c", "d", "e"}
    assert trunks.load("b") is None
    assert trunks.load("e") == bytes(150)


def test_trunks_leave_half_of_the_disk_free(tmp_path, monkeypatch):
    trunks = Trunks(tmp_path)
    aged(trunks)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))  # and 300 are used
    trunks.save("d", bytes(50))
    assert stored(trunks) == {"c", "d"}


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").touch()
    trunks = Trunks(tmp_path / "file" / "trunks")
    trunks.save("a", b"trunk")
    assert trunks.load("a") is None


def test_workers_may_store_the_same_trunk_at_once(tmp_path):
    trunks = Trunks(tmp_path, most_bytes=500_000)
    content = to_bytes("a", {"values": list(range(10_000))})
    trunks.save("a", content)
    savers = [threading.Thread(target=lambda: [trunks.save("a", content) for _ in range(20)]) for _ in range(4)]
    for saver in savers:
        saver.start()
    while any(saver.is_alive() for saver in savers):
        found = trunks.load("a")
        assert found is None or found == content  # evicted for a moment, but never partial
    assert {path.name for path in tmp_path.iterdir()} <= {"a"}


def test_growing_budgets_cost_what_their_branches_and_the_longest_trunk_cost():
    recipe = Recipe(batch_size=10)
    rungs = [Budget(images=1_000, epochs=epochs) for epochs in (1, 2, 4, 8)]
    assert recipe.images_trained(rungs) == 9_750
    assert recipe.images_trained(rungs[:1]) == 1_000
    # 2 - 0.75, 4 - 1.5 and 8 - 3 epochs
    steps = [recipe.images_trained([rung], after=before) for before, rung in pairwise(rungs)]
    assert steps == [1_250, 2_500, 5_000]
    assert recipe.images_trained(rungs[:1]) + sum(steps) == 9_750
    assert recipe.images_trained(rungs[2:], after=rungs[0]) == 9_750 - 1_000 - 500
    assert recipe.images_trained(rungs[:1], after=rungs[3]) == 1_000
    assert recipe.images_trained(rungs[3:], after=rungs[3]) == 2_000  # only the branch
