import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))

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


class Server:
    """A PostgreSQL server that tests may stop and start."""

    def __init__(self, url, control):
        self.url, self.control = url, control

    def restart(self):
        """As after a crash: sessions break off, and the log is replayed."""
        self.control("-m", "immediate", "restart")

    def stop(self):
        self.control("-m", "immediate", "stop")

    def start(self):
        self.control("start")


@pytest.fixture
def server(tmp_path):
    """A PostgreSQL server of the test's own."""
    if not BINARIES:
        pytest.skip("needs a PostgreSQL server (Debian's postgresql)")
    pytest.importorskip("psycopg", reason="needs the extra `postgresql`")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = tmp_path / "data"
    as_root = os.geteuid() == 0  # initdb refuses to run as root
    if as_root:
        open_to_all(tmp_path)
        shutil.chown(tmp_path, "postgres")

    def run(*arguments):
        user = ["runuser", "-u", "postgres", "--"] if as_root else []
        subprocess.run([*user, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL, cwd=tmp_path)

    run(BINARIES[-1] / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
    options = f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories='' -c fsync=off"

    def control(*arguments):
        run(BINARIES[-1] / "pg_ctl", "-D", data, "-w", "-l", tmp_path / "log", "-o", options, *arguments)

    control("start")
    try:
        yield Server(f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres", control)
    finally:
        if (data / "postmaster.pid").exists():
            control("-m", "immediate", "stop")
