"""Import matplotlib whatever the user's settings are: figures do not depend on them."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module


def import_matplotlib() -> None:
    """Import matplotlib; where the user's settings prevent that, import it without them.

    Matplotlib reads its settings when it is imported, and an unknown `MPLBACKEND` or a `matplotlibrc` that is not
    text ends the import. Settings that it can read stay the user's. Its warnings about them are left out.
    """
    if "matplotlib" in sys.modules:
        return
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        import_module("matplotlib")
    except Exception:  # noqa: BLE001 (whatever its settings lead to)
        for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
            del sys.modules[name]
        with _without_settings():
            import_module("matplotlib")
    finally:
        logger.setLevel(level)


@contextmanager
def _without_settings() -> Iterator[None]:
    """Hide the variable that names a backend and every settings file, also the one of the working folder."""
    names = ("MPLBACKEND", "MATPLOTLIBRC")
    before = {name: os.environ[name] for name in names if name in os.environ}
    here = os.open(".", os.O_RDONLY)
    os.environ.pop("MPLBACKEND", None)
    os.environ["MATPLOTLIBRC"] = os.devnull
    os.chdir("/")
    try:
        yield
    finally:
        os.fchdir(here)
        os.close(here)
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)
