import os
import signal

import pytest

# Tests measure what one worker would: the same thread count gives the same numbers.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell's background job ignores Ctrl-C, and so would the processes that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Data sets that tests make are kept apart from the user's, and made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    """A folder of 3 classes of 200 images that differ in the direction of their stripes, as users bring one."""
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
