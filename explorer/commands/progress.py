"""A progress bar for work that counts up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import Progress

from explorer.commands.console import console


@contextmanager
def counting(title: str, least: int = 1) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal for totals of at least `least`. Yields a function that takes (done, total)."""
    screen = console()
    with Progress(console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task(title, visible=False)
        yield lambda done, total: progress.update(task, completed=done, total=total, visible=total >= least)
