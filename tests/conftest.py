import os
import signal
import tempfile
from pathlib import Path

import pytest

# Like a worker: the same number of threads gives the same results.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Workers of pytest-xdist have a narrow one; tests of narrow terminals set their own.
os.environ.pop("COLUMNS", None)
# A background job of a shell ignores Ctrl-C, and processes that tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Keep data sets of tests apart from the user's, and make them once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    """A folder of images like a user's: 3 classes of 200 that differ in the direction of stripes."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("images") / "stripes"
    x, y = np.meshgrid(np.arange(32), np.arange(32))
    for name, wave in {"across": y, "along": x, "askew": x + y}.items():
        (folder / name).mkdir(parents=True)
        for number in range(200):
            stripes = 128 + 90 * np.sin(wave * 0.9 + rng.uniform(0, 6)) + rng.normal(0, 30, (32, 32))
            image = np.clip(stripes, 0, 255).astype(np.uint8)
            Image.fromarray(image).save(folder / name / f"{number:03}.png")
    return folder


@pytest.fixture(scope="session")
def stripes(image_folder):
    """The same images as a data set."""
    from explorer.data import find_source

    return find_source(str(image_folder)).prepare()


def open_to_all(folder):
    """Let other users read a folder of tests, but leave the system's folder of temporary files as it is."""
    for one in (folder, *folder.parents):
        if Path(tempfile.gettempdir()) in one.parents:
            one.chmod(0o755)
