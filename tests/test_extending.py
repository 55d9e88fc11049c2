"""The package in docs/extending.md is built, installed and used as it is printed there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "extending.md"
END = "at the end of "


def printed():
    """The files on the page, by name."""
    files = {}
    for text in re.findall(r"```(?:python|toml)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        first, _, rest = text.partition("\n")
        name = first.removeprefix("# ")
        if not re.search(r"\.(py|toml)$", name):
            continue  # shows a part of the explorer, not of the package
        if name.startswith(END):
            files[name.removeprefix(END)] += rest
        else:
            files[name] = rest
    return files


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the files and the environment in which the package is installed."""
    folder = tmp_path_factory.mktemp("my_networks")
    for name, text in printed().items():
        (folder / name).write_text(text, encoding="utf-8")
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), "."], cwd=folder, check=True, capture_output=True)
    path = os.pathsep.join(filter(None, [str(target), str(ROOT), os.environ.get("PYTHONPATH")]))
    return folder, os.environ | {"PYTHONPATH": path, "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}


def run(installed, *arguments, expected=0):
    folder, environment = installed
    command = [sys.executable, "-m", "explorer", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_page_prints_whole_files():
    assert printed().keys() == {"all_cnn.py", "digits.py", "pyproject.toml", "slopes.toml"}
    assert "register(" in printed()["all_cnn.py"]


def test_the_space_is_listed_priced_and_verified(installed):
    assert "all_cnn: Springenberg et al. 2014" in run(installed, "spaces")
    said = run(installed, "describe", "all_cnn", "--verify")
    assert "1,369,738" in said
    assert "params and the FLOPs of every convolution and linear layer match" in said
    run(installed, "describe", "all_cnn", "preset=cifar", "slope=0.2", "--verify")
    assert "int8_bytes" in run(installed, "price", "all_cnn", "width=0.1..1.0..0.1", "--where", "int8_bytes < 500k")


def test_the_space_keeps_the_contracts_of_all_spaces(installed):
    _, environment = installed
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", "-k", "AllCNN"]
    done = subprocess.run(
        [*tests, str(ROOT / "tests" / "test_spaces.py")], cwd=ROOT, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b(9|[1-9][0-9]) passed", done.stdout), done.stdout


@pytest.mark.slow
def test_the_study_is_swept_on_the_data_set_and_exported(installed):
    run(installed, "sweep", "slopes.toml", "--quick")
    said = run(installed, "export", "slopes@quick", "--point", "0.1", "--out", "chosen")
    assert "of 300 images (read now, for the only time)" in said


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("missing_module:Space", "ModuleNotFoundError: No module named 'missing_module'; repair or uninstall"),
        ("json:dumps", "must be a subclass of explorer.spaces.space.Space"),
        ("explorer.spaces.vgg:VGG", "there is another space named 'vgg'; rename one of them"),
    ],
)
def test_a_broken_package_is_named(tmp_path, value, message):
    facts = tmp_path / "broken_nets-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-nets\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[explorer.spaces]\nodd = {value}\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "explorer", "spaces"],
        env=os.environ | {"PYTHONPATH": path}, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert f"explorer: odd of the installed package broken-nets ({value}): " in done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
