import re
import subprocess
import sys
from dataclasses import replace

import pytest

from explorer.__main__ import main
from explorer.errors import unknown
from explorer.spaces import all_spaces
from explorer.study.files import builtin_studies


def run(capsys, *arguments):
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_describe_is_table_1_of_the_paper(capsys):
    code, out, _ = run(capsys, "describe", "squeezenet", "preset=v1_0")
    assert code == 0
    assert re.search(r"conv1 +7x7/2 96 +109x109x96 +14,208 +167,664,672", out)
    assert re.search(r"fire2 +1x1 16 > \[1x1 64 \| 3x3 64\] +54x54x128 +11,920", out)
    assert re.search(r"total +1x1x1000 +1,248,424 +818,924,576", out)
    assert "model size, MiB: 4.76 (model_bytes = 4,993,696)" in out


def test_describe_says_what_the_space_has_to_say(capsys):
    _, out, _ = run(capsys, "describe", "efficientnet", "preset=cifar", "phi=1")
    assert "alpha * beta^2 * gamma^2 = 1.92; FLOPs relative to the base network: nominal 1.92, actual" in out


def test_describe_takes_metaparameters_of_every_kind(capsys):
    settings = ["preset=cifar", "squeeze_ratio=1", "bypass=complex", "batch_norm=false", "pools=[1,3,5]"]
    code, out, _ = run(capsys, "describe", "squeezenet", *settings, "--depth", "3")
    assert code == 0
    assert "fire2.shortcut.conv" in out
    assert "norm" not in out


def test_describe_shows_fvcore_s_counts_beside_ours(capsys):
    code, out, _ = run(capsys, "describe", "efficientnet", "preset=cifar", "--verify", "--depth", "2")
    assert code == 0
    assert re.search(r"stage2\.others .* 706,944 +23,200 +706,944", out)
    assert re.search(r"total +1x1x10 +46,245 +1,096,680 +41,065 +1,096,680", out)
    assert re.search(r"conv +- +1,096,680 +1,096,680 +0", out)
    assert re.search(r"batch_norm +fvcore counts batch norm; .* 0 +80,000 +80,000", out)
    assert re.search(r"silu +no weights .* 19 +- +- +-", out)
    assert "params: 46,245 ours, 46,245 by torch" in out
    assert "linear layer match" in out


def test_describe_fails_where_fvcore_counts_something_else(capsys, monkeypatch):
    from explorer.networks import verification

    counted = verification.fvcore_count
    wrong = {"conv": 1}
    monkeypatch.setattr(
        verification, "fvcore_count", lambda *what: replace(counted(*what), operators=wrong, modules={"": wrong})
    )
    code, out, _ = run(capsys, "describe", "efficientnet", "preset=cifar", "--verify")
    assert code == 1
    assert "differs: FLOPs: the description has 1,096,680, fvcore counts 1" in out
    assert "linear layer match" not in out


def test_describe_measures(capsys, monkeypatch):
    from explorer.sweeping import timing

    found = [timing.BatchTime(1, 2, 0.0015, 0.00125, 0.0175, 9), timing.BatchTime(64, 2, 0.128, 0.1, 1.5, 8)]
    monkeypatch.setattr(timing, "measure", lambda _, threads: [found[: threads + 1]])
    monkeypatch.setattr("explorer.exporting.inspection.load", lambda: 0.5)
    code, out, _ = run(capsys, "describe", "squeezenet", "preset=cifar", "--latency", "--threads", "1")
    assert code == 0
    assert "warning: this machine is busy (50% of its cores are in use)" in out
    assert re.search(r"1 +2 +1\.500 +1\.250 to 17\.500 +667 +9", out)
    assert re.search(r"64 +2 +128\.000 +100\.000 to 1,500\.000 +500 +8", out)
    assert f"{timing.this_machine()}, channels last, eager, untrained weights" in out


def test_describe_exports(capsys, tmp_path):
    pytest.importorskip("onnxscript")
    onnx, program = tmp_path / "x.onnx", tmp_path / "x.pt2"
    code, out, err = run(capsys, "describe", "squeezenet", "preset=cifar", "--onnx", str(onnx), "--torch", str(program))
    assert (code, err) == (0, "")
    assert f"wrote {onnx}: untrained, initialised with seed 0" in out
    assert f"wrote {program}: untrained, initialised with seed 0" in out
    assert onnx.stat().st_size > 4 * 183_490  # its params
    assert program.stat().st_size > 4 * 183_490


def test_lists(capsys):
    code, out, _ = run(capsys, "spaces")
    assert code == 0
    for space in all_spaces().values():
        assert space.name in out
        for name in space.model_fields:
            assert name in out
    code, out, _ = run(capsys, "studies", "--storage", "none.db")
    assert code == 0
    for name in builtin_studies():
        assert name in out


@pytest.mark.parametrize(
    ("name", "choices", "nearest"),
    [
        ("0.3", ["0.125", "0.25", "0.375"], "0.25"),  # by spelling, it would be 0.375
        ("9", ["0", "7"], "7"),
        ("1e-1", ["0.125", "1.0"], "0.125"),
        ("simpel", ["none", "simple"], "simple"),
        ("0.3", ["none", "0.35"], "0.35"),
    ],
)
def test_the_hint_is_the_nearest_number_or_spelling(name, choices, nearest):
    assert str(unknown("value", name, choices)) == f"unknown value {name!r}; did you mean {nearest!r}?"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("sweep squeze_ratio", "unknown study 'squeze_ratio'; did you mean 'squeeze_ratio'?"),
        ("sweep nothing.toml", "nothing.toml: cannot be read: No such file or directory"),
        ("sweep squeeze_ratio --data cifar11", "unknown data set 'cifar11'; did you mean 'cifar10'?"),
        ("sweep squeeze_ratio --seeds 0", "seeds = 0: should be greater than or equal to 1"),
        (
            "sweep fire_growth --until-decided",
            "adds seeds until the claims are decided, and this study has none",
        ),
        ("sweep squeeze_ratio --until-decided --quick", "trial runs decide no claims; drop --quick or --until-decided"),
        ("sweep bypass --until-decided --seeds 2", "seeds = 2: --until-decided adds seeds to the first two"),
        ("sweep bypass --until-decided --seeds 900", "up to this number; give --seeds 3 to 50"),
        ("sweep squeeze_ratio --epochs x", "Invalid value for '--epochs'"),
        ("sweep squeeze_ratio --workers 0", "Invalid value for '--workers'"),
        ("sweep squeeze_ratio --data cifar10 --data-dir .", "cifar-10-batches-bin"),
        ("sweep squeeze_ratio --quick --storage no/where.db", "storage no/where.db: the folder no does not exist"),
        ("sweep squeeze_ratio --epoch 3", "No such option: --epoch"),
        ("sweep", "Missing argument"),
        ("swep squeeze_ratio", "No such command 'swep'. Did you mean 'sweep'?"),
        ("report squeeze_ratio --storage none.db", "storage none.db: does not exist"),
        ("dashboard --storage none.db", "storage none.db: does not exist"),
        ("describe squeezenett", "unknown space 'squeezenett'; did you mean 'squeezenet'?"),
        ("describe squeezenet preset=1.0", "unknown preset of squeezenet '1.0'"),
        ("sweep squeeze_ratio --quick --reports /dev/null/x", "/dev/null/x: cannot be written"),
        ("sweep squeeze_ratio --figures pfd", "unknown figure format 'pfd'; did you mean 'pdf'?"),
        ("compare a b --figures png,jpeg", "unknown figure format 'jpeg'; did you mean 'png'?"),
        ("report x --storage sqlite://", "storage sqlite://: in-memory databases are not supported"),
        ("describe squeezenet preset=v1", "unknown preset of squeezenet 'v1'; did you mean 'v1_1'?"),
        ("describe squeezenet squeeze_ratio", "'squeeze_ratio': metaparameters are given as key=value"),
        ("describe squeezenet squeeze_ratio=0", "squeeze_ratio = 0: should be greater than 0"),
        ("describe squeezenet squeez_ratio=0.5", "did you mean 'squeeze_ratio'?"),
        ("describe squeezenet --threads 2", "--threads 2: this option needs --latency"),
        ("describe squeezenet --latency --threads 10000", "threads = 10000: at most "),
        ("describe squeezenet --torch no/x.pt2", "no/x.pt2: cannot be written: folder no does not exist"),
        ("describe squeezenet --torch .", "cannot be written: it is a folder; add a file name"),
        ("describe squeezenet --onnx /dev/null/x", "/dev/null/x: cannot be written"),
        ("latency x --storage none.db", "storage none.db: does not exist"),
        ("latency", "Missing argument"),
        ("describe squeezenet base_e=8 base_e=9", "'base_e=9': base_e is given twice"),
        ("describe squeezenet input_size=8", "pool1: the feature map would shrink below one pixel"),
        ("describe squeezenet pools=[1,12]", "pools: a pool after layer 12, but the last fire module is layer 9"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments.split())
    assert code == 2
    assert message in err
    assert err.startswith("explorer: ")
    assert err.count("\n") == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(capsys):
    from explorer.errors import ExplorerError

    with pytest.raises(ExplorerError):
        main(["describe", "squeezenett", "--debug"])
    assert capsys.readouterr().err == ""


def test_help_names_every_command_and_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from explorer.__main__ import main\n"
        "main(['--help'])\n"
        "heavy = {'torch', 'optuna', 'distributed', 'pandas', 'numpy', 'matplotlib', 'sqlalchemy'}\n"
        "heavy &= sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    for command in ("sweep", "report", "dashboard", "studies", "spaces", "describe", "latency"):
        assert command in shown
