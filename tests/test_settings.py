"""The user's settings of matplotlib, pandas, NumPy and Dask change neither a report nor themselves."""

import copy
import io
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import dask
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from records import make_record

from explorer.analysis import Findings
from explorer.drawing import plots
from explorer.exporting.image_sheet import draw_sheet
from explorer.reporting.study import report_files
from explorer.training.crew import crew

HOSTILE = {
    "text.usetex": True,
    "backend": "module://no_such_backend",
    "font.family": "no such font",
    "font.size": 40,
    "savefig.bbox": "tight",
    "savefig.dpi": 30,
    "savefig.facecolor": "red",
    "savefig.format": "jpg",
    "savefig.transparent": True,
    "svg.fonttype": "path",
    "axes.grid": True,
    "axes.xmargin": 0.5,
    "axes.unicode_minus": False,
    "axes.formatter.use_mathtext": True,
    "figure.autolayout": True,
    "figure.dpi": 20,
    "figure.hooks": ["no_such_module:hook"],
    "lines.linestyle": "--",
    "path.sketch": (1, 100, 2),
    "legend.loc": "upper left",
    "interactive": True,
    "timezone": "Asia/Tokyo",
}
MATPLOTLIBRC = "\n".join(
    f"{key}: {value}" for key, value in HOSTILE.items() if key not in {"path.sketch", "figure.hooks"}
)
SCRIPT = """
import sys
from pathlib import Path
from records import make_record
from explorer.analysis import Findings
from explorer.reporting.study import write_report
write_report(Findings(make_record("bypass", images=50)), Path(sys.argv[1]), formats=["pdf", "png"])
import matplotlib
settings = matplotlib.rcParams
started = {name for name in sys.modules if name.startswith("matplotlib.backends._backend_tk")}
print(settings["text.usetex"], settings._get_backend_or_none(), bool(started))
"""


def files():
    return report_files(Findings(make_record("bypass", images=50)), formats=("pdf", "png"))


@pytest.fixture(scope="module")
def expected():
    return files()


def same(found, expected):
    """Whether the files are the same; Parquet may store texts in another way, but the same ones."""
    assert found.keys() == expected.keys()
    for name, content in found.items():
        if name.endswith(".parquet"):
            tables = [
                pd.read_parquet(io.BytesIO(one), engine="pyarrow").astype(object) for one in (content, expected[name])
            ]
            pd.testing.assert_frame_equal(*tables)
        else:
            assert content == expected[name], name


def test_settings_of_matplotlib_do_not_count_and_come_back(expected):
    with mpl.rc_context():
        mpl.rcParams.update({key: value for key, value in HOSTILE.items() if key != "backend"})
        mpl.rcParams._set("backend", HOSTILE["backend"])
        before = mpl.rcParams.copy()
        same(files(), expected)
        assert dict(mpl.rcParams) == dict(before)
    mpl.rcParams._set("backend", "agg")


def test_a_style_of_seaborn_or_matplotlib_does_not_count(expected):
    for name in ("dark_background", "seaborn-v0_8-poster", "grayscale"):
        with mpl.style.context(name):
            same(files(), expected)


def test_a_sheet_of_images_is_the_same_too():
    chosen = {"row": ["right"], "class": ["$cat^{"], "taken_for": [None], "probability": [0.9], "right": [True]}
    pixels = np.zeros((1, 8, 8, 3), dtype=np.uint8)
    draw = lambda: draw_sheet(pd.DataFrame(chosen), pixels, "$x^{")  # noqa: E731
    plain = draw()
    with mpl.rc_context({key: value for key, value in HOSTILE.items() if key != "backend"}):
        assert draw() == plain


def test_the_style_may_be_used_around_a_figure_of_one_s_own():
    with mpl.rc_context({"text.usetex": True}):
        with plots.style():
            assert not mpl.rcParams["text.usetex"]
        assert mpl.rcParams["text.usetex"]


@pytest.mark.parametrize(
    "options",
    [
        ("future.infer_string", False, "mode.string_storage", "python", "mode.chained_assignment", "raise"),
        ("display.float_format", "{:.1f}".format, "display.precision", 1, "display.max_rows", 2),
        ("io.parquet.engine", "fastparquet", "compute.use_bottleneck", False, "mode.sim_interactive", True),
    ],
    ids=["texts", "display", "engines"],
)
def test_options_of_pandas_do_not_count(expected, options):
    with warnings.catch_warnings():
        # Pandas warns of options that will go.
        warnings.simplefilter("ignore")
        with pd.option_context(*options):
            same(files(), expected)


def test_floating_point_errors_of_numpy_do_not_count(expected):
    with np.errstate(all="raise"):
        same(files(), expected)


NOWHERE = dict.fromkeys(("HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), "/proc/nowhere")


@pytest.mark.parametrize(
    ("environment", "settings", "kept"),
    [
        (
            {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
            b"text.usetex: maybe\nno colon\nno.key: 1\n",
            "False ",
        ),
        ({"MPLBACKEND": "nonsense"} | NOWHERE, None, "False None"),
        ({"MPLBACKEND": "tkagg"}, MATPLOTLIBRC.encode(), "True "),
        ({}, "font.family: \u00e9t\u00e9".encode("latin-1"), "False None"),
    ],
    ids=["notebook", "unknown backend and no home", "settings", "no text"],
)
def test_whatever_the_environment_says_the_report_is_the_same(expected, environment, settings, kept, tmp_path):
    if settings is not None:
        (tmp_path / "matplotlibrc").write_bytes(settings)
    root = Path(__file__).parent
    own = {key: value for key, value in os.environ.items() if not key.startswith("MPL")}
    paths = os.pathsep.join([str(root), str(root.parent)])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, tmp_path / "report"],
        cwd=tmp_path,
        env=own | {"PYTHONPATH": paths} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    # What the user set stays set, and nothing starts a graphical backend.
    assert done.stdout.startswith(kept)
    assert done.stdout.split()[-1] == "False"
    folder = tmp_path / "report"
    same({str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}, expected)


def test_the_configuration_of_dask_does_not_count(monkeypatch, tmp_path):
    (tmp_path / "dask.yaml").write_text("distributed: {worker: {preload: [no_such_module]}}")
    monkeypatch.setenv("DASK_CONFIG", str(tmp_path))
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__PRELOAD", "[no_such_module]")
    hostile = {
        "scheduler-address": "tcp://127.0.0.1:1",
        "temporary-directory": "/proc/nowhere",
        "distributed.comm.default-scheme": "ucx",
        "distributed.comm.require-encryption": True,
        "distributed.scheduler.preload": ["no_such_module"],
        "distributed.worker.resources": {"GPU": 2},
    }
    with dask.config.set(hostile):
        before = copy.deepcopy(dask.config.config)
        with crew(1) as members:
            for _ in range(1200):
                members.tend(0.05)
                if members.complete:
                    break
                time.sleep(0.05)
            assert members.submit(members.ready[0], abs, -1, key="abs").result(timeout=60) == 1
        assert dask.config.config == before


CREW = """
import os, time
from explorer.training.crew import crew
before = dict(os.environ)
with crew(1) as members:
    for _ in range(1200):
        members.tend(0.05)
        if members.complete:
            break
        time.sleep(0.05)
    print(members.submit(members.ready[0], abs, -1, key="abs").result(timeout=60), before == dict(os.environ))
"""
BROKEN = b"distributed: {worker: [\n\xff"


@pytest.mark.parametrize(
    ("file", "environment"),
    [
        (".config/dask/dask.yaml", {}),
        ("own/dask.yaml", {"DASK_CONFIG": "own", "DASK_DISTRIBUTED__NANNY__ENVIRON": "{", "DASK_DISTRIBUTED": "[1"}),
    ],
)
def test_unreadable_settings_of_dask_do_not_count(file, environment, tmp_path):
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_bytes(BROKEN)
    own = os.environ | {"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parent.parent)} | environment
    command = [sys.executable, "-W", "error::FutureWarning", "-c", CREW]
    done = subprocess.run(command, cwd=tmp_path, env=own, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 True\n", "")
