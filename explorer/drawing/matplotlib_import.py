"""Import matplotlib even if the user's settings are unusable. Figures do not depend on them."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from explorer.machine import environment


def import_matplotlib() -> None:
    """Import matplotlib, and ignore the user's settings if they prevent the import.

    Matplotlib reads its settings on import. An unknown `MPLBACKEND` or a `matplotlibrc` that is not text makes the
    import fail. Readable settings stay in effect. Warnings about settings are suppressed.
    """
    if "matplotlib" in sys.modules:
        return
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        import_module("matplotlib")
    except Exception:  # noqa: BLE001 (settings can raise anything)
        for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
            del sys.modules[name]
        with _without_settings():
            import_module("matplotlib")
    finally:
        logger.setLevel(level)


@contextmanager
def _without_settings() -> Iterator[None]:
    """Hide the backend variable and every settings file, including the one in the working folder."""
    here = os.open(".", os.O_RDONLY)
    os.chdir("/")
    try:
        with environment({"MPLBACKEND": None, "MATPLOTLIBRC": os.devnull}):
            yield
    finally:
        os.fchdir(here)
        os.close(here)
