"""CPU and memory limits that containers set through control groups, versions 1 and 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MOUNTED = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
"""The groups of this process, one per line: number, controllers of version 1, path."""


def cpu_limit() -> float | None:
    """Return this process's CPU limit in cores, or None if there is no limit."""
    limits = []
    for folder in _folders("cpu"):
        found = _words(folder / "cpu.max") or [
            *_words(folder / "cpu.cfs_quota_us"),
            *_words(folder / "cpu.cfs_period_us"),
        ]
        with suppress(ValueError, ZeroDivisionError):  # "max" or -1 means no limit
            quota, period = map(int, found)
            limits += [quota / period] if quota > 0 else []
    return min(limits, default=None)


def memory_limit() -> int | None:
    """Return this process's memory limit in bytes, or None if there is no limit."""
    limits = []
    for folder in _folders("memory"):
        for word in _words(folder / "memory.max") or _words(folder / "memory.limit_in_bytes"):
            with suppress(ValueError):
                limits.append(int(word))
    return min(limits, default=None)


def _folders(controller: str) -> Iterator[Path]:
    """Yield the folders of this process's groups, up to the root. A container may see only the root."""
    try:
        lines = OWN.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        roots = [MOUNTED / controllers, MOUNTED / controller] if controllers else [MOUNTED, MOUNTED / "unified"]
        for root in filter(Path.is_dir, roots):
            own = root / path.lstrip("/")
            yield from (folder for folder in (own, *own.parents) if folder == root or root in folder.parents)


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return []
