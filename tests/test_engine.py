"""Runs on real worker processes, some of which are killed."""

import os
import signal
import time

from explorer.spaces.squeezenet import SqueezeNet
from explorer.training.engine import ATTEMPTS, cluster, execute
from explorer.training.recipe import Budget, Recipe
from explorer.training.run import Run
from explorer.training.trainer import measure, numerics

RECIPE = Recipe(batch_size=32, warmup_images=64)
BUDGET = Budget(images=128, epochs=2, validation=50)


def run(dataset, ratio=0.5, seed=0, recipe=RECIPE):
    network = SqueezeNet.point(
        "cifar", classes=3, base_e=8, incr_e=8, fires=2, pools=(1,), squeeze_ratio=ratio
    ).expand()
    return Run(network, dataset.fingerprint, recipe, BUDGET, seed, numerics())


def test_the_key_depends_on_everything_that_affects_the_result(stripes):
    base = run(stripes)
    assert base.key == run(stripes).key
    others = [
        run(stripes, ratio=0.25),
        run(stripes, seed=1),
        run(stripes, recipe=RECIPE.model_copy(update={"learning_rate": 0.1})),
        Run(base.network, "other data", RECIPE, BUDGET, 0, base.numerics),
        Run(base.network, base.data_fingerprint, RECIPE, Budget(images=128, epochs=3), 0, base.numerics),
    ]
    assert len({base.key, *(other.key for other in others)}) == 6


def test_workers_measure_the_same_as_one_process(stripes):
    runs = [run(stripes, ratio, seed) for ratio in (0.25, 1.0) for seed in (0, 1)]
    environment = dict(os.environ)
    outcomes = {outcome.run.key: outcome for outcome in execute([(one,) for one in runs], stripes.folder, workers=2)}
    assert dict(os.environ) == environment
    assert [outcomes[one.key].state for one in runs] == ["done"] * 4
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for one in runs:
        alone = measure(one.network, stripes, one.recipe, one.budget, one.seed)
        assert outcomes[one.key].row["accuracies"] == list(alone.accuracies)
        assert outcomes[one.key].row["train_losses"] == list(alone.train_losses)
    torch.set_num_threads(threads)


def test_failures_are_outcomes_and_stop_no_other_run(stripes):
    bad = run(stripes, recipe=RECIPE.model_copy(update={"learning_rate": 1e25, "warmup_images": 0}))
    lost = Run(run(stripes).network, stripes.fingerprint, RECIPE, Budget(images=10**6, epochs=1), 0, numerics())
    good = run(stripes, seed=5)
    outcomes = {outcome.run.key: outcome for outcome in execute([(bad,), (lost,), (good,)], stripes.folder, workers=1)}
    assert outcomes[bad.key].state == "failed"
    assert "not finite" in outcomes[bad.key].row["reason"]
    assert outcomes[lost.key].state == "crashed"
    assert "ExplorerError: budget: images = 1000000" in outcomes[lost.key].row["reason"]
    assert outcomes[good.key].state == "done"


def test_a_killed_worker_costs_its_run_one_attempt(stripes, tmp_path, monkeypatch):
    _shim(monkeypatch, tmp_path, f"_die(Path({str(tmp_path / 'died')!r}))")
    outcomes = list(execute([(run(stripes, seed=seed),) for seed in range(3)], stripes.folder, workers=1))
    assert (tmp_path / "died").exists()
    assert [outcome.state for outcome in outcomes] == ["done"] * 3


def test_a_run_that_kills_every_worker_is_a_crash(stripes, tmp_path, monkeypatch):
    _shim(monkeypatch, tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    (outcome,) = execute([(run(stripes),)], stripes.folder, workers=1)
    assert outcome.state == "crashed"
    assert outcome.row["reason"] == f"its worker died {ATTEMPTS} times (killed, or out of memory)"


def test_a_worker_is_replaced_after_several_networks(stripes, tmp_path, monkeypatch):
    monkeypatch.setattr("explorer.training.engine.MOST_NETWORKS", 1)
    _shim(monkeypatch, tmp_path, f"Path({str(tmp_path / 'pids')!r}).open('a').write(f'{{os.getpid()}}\\n')")
    outcomes = list(execute([(run(stripes, seed=seed),) for seed in range(3)], stripes.folder, workers=1))
    assert [outcome.state for outcome in outcomes] == ["done"] * 3
    pids = (tmp_path / "pids").read_text().split()
    assert len(pids) == len(set(pids)) == 3  # each run once, in its own process


def _shim(monkeypatch, folder, action):
    """Make the workers, which import verification before a run, execute some code first."""
    (folder / "sitecustomize.py").write_text(
        "import os, signal\n"
        "from pathlib import Path\n"
        "import explorer.networks.verification as verification\n"
        "def _die(flag):\n"
        "    if not flag.exists():\n"
        "        flag.touch()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "_verify = verification.verify\n"
        "def verify(network):\n"
        f"    {action}\n"
        "    _verify(network)\n"
        "verification.verify = verify\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_workers_listen_on_this_machine_only_and_ignore_ctrl_c():
    import psutil

    with cluster(1) as client:
        pid = client.submit(os.getpid, pure=False).result()
        listening = {
            connection.laddr.ip
            for process in (psutil.Process(), psutil.Process(pid))
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        os.kill(pid, signal.SIGINT)
        time.sleep(0.3)
        assert client.submit(os.getpid, pure=False).result(timeout=10) == pid
