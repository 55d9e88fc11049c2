"""Cores and memory, as the machine and containers limit them."""

import os

import pytest

from explorer import cgroups, machine
from explorer.errors import ExplorerError
from explorer.sweeping import resources
from explorer.sweeping.resources import Resources


@pytest.fixture
def group(tmp_path, monkeypatch):
    """Write the files of control groups, and the groups of this process."""
    monkeypatch.setattr(cgroups, "MOUNTED", tmp_path)
    monkeypatch.setattr(cgroups, "OWN", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)

    def write(own, **files):
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000", 8),
        ("150000 100000", 2),
        ("20000 100000", 1),
        ("400000 100000", 4),
        ("9000000 100000", 8),
        ("", 8),
    ],
)
def test_cores_of_a_container(group, quota, cores):
    group("0::/\n", cpu_dot_max=quota)
    assert machine.cores() == cores


def test_the_smallest_limit_on_the_way_up_counts(group):
    group(
        "0::/box/inner\n",
        box__cpu_dot_max="300000 100000",
        box__inner__cpu_dot_max="max 100000",
        box__inner__memory_dot_max="3000000000",
        box__memory_dot_max="2000000000",
        memory_dot_max="max",
    )
    assert machine.cores() == 3
    assert machine.memory() == 2_000_000_000


def test_groups_of_version_1(group):
    group(
        "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n",  # a container sees its own group as the root
        cpu__cpu_dot_cfs_quota_us="250000",
        cpu__cpu_dot_cfs_period_us="100000",
        memory__memory_dot_limit_in_bytes="1000000000",
    )
    assert machine.cores() == 3
    assert machine.memory() == 1_000_000_000
    group("4:cpu,cpuacct:/\n", cpu__cpu_dot_cfs_quota_us="-1")
    assert machine.cores() == 8


def test_without_control_groups(group):
    group("")
    assert machine.cores() == 8
    assert machine.memory() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(("gib", "workers"), [(None, 8), (64, 8), (4.6, 4), (2, 1), (1, 1)])
def test_as_many_workers_as_memory_holds(group, monkeypatch, gib, workers):
    group("0::/\n", cpu_dot_max="max 100000")
    monkeypatch.setattr(resources, "memory", lambda: None if gib is None else int(gib * 2**30))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert Resources().count() == workers


@pytest.mark.parametrize(
    ("asked", "per_gpu", "workers"), [(None, None, 2), (None, 3, 6), (1, 3, 1)], ids=["default", "shared", "asked"]
)
def test_workers_of_two_gpus(group, monkeypatch, asked, per_gpu, workers):
    group("0::/\n", cpu_dot_max="max 100000")
    monkeypatch.setattr(resources, "gpus", lambda: 2)
    assert Resources(asked, per_gpu).count() == workers


def test_workers_per_gpu_need_a_gpu(monkeypatch):
    monkeypatch.setattr(resources, "gpus", lambda: 0)
    with pytest.raises(ExplorerError, match="workers per GPU = 2: torch finds no GPU on this machine; give --workers"):
        Resources(None, 2).count()


@pytest.mark.parametrize(
    ("gib", "asked", "message"),
    [
        (0.5, None, r"memory limit 0.50 GiB: training with 1 worker needs about 1.5 GiB$"),
        (2, 16, r"memory limit 2.00 GiB: training with 16 workers needs about 16.5 GiB; give --workers 1$"),
    ],
)
def test_too_little_memory_is_one_line(group, monkeypatch, gib, asked, message):
    group("0::/\n", cpu_dot_max="max 100000")
    monkeypatch.setattr(resources, "memory", lambda: int(gib * 2**30))
    with pytest.raises(ExplorerError, match=message):
        Resources(asked).count()
