"""Finding data sets by name."""

import subprocess
import sys
from pathlib import Path

import pytest

from explorer.data import find_source, named_sources
from explorer.errors import ExplorerError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", named_sources())
def test_built_in_names_are_found_without_touching_the_disk(name, tmp_path):
    source = find_source(name)
    assert (source.name, source.class_count) == (name, 10)
    assert list(tmp_path.iterdir()) == []


def test_a_built_in_name_wins_over_a_folder_of_that_name(tmp_path):
    for name in ("proxy/a", "proxy/b"):
        (tmp_path / name).mkdir(parents=True)
    assert find_source("proxy").class_count == 10
    assert find_source("./proxy").class_count == 2


def test_an_unknown_name_gives_the_nearest_one_and_mentions_folders():
    with pytest.raises(ExplorerError, match=r"unknown data set 'cifar-10'; did you mean 'cifar10'\?.*folder"):
        find_source("cifar-10")
    with pytest.raises(ExplorerError, match=r"choose one of: cifar10, proxy.*folder"):
        find_source("some/where")


def test_a_file_is_not_a_data_set(tmp_path):
    (tmp_path / "images.zip").touch()
    with pytest.raises(ExplorerError, match="is a file"):
        find_source("images.zip")


@pytest.mark.parametrize("name", ["proxy", "some/folder"])
def test_a_data_dir_that_is_not_used_is_an_error(name):
    with pytest.raises(ExplorerError, match="--data-dir"):
        find_source(name, Path())


def test_data_sets_do_not_import_torch():
    code = "import sys, explorer.data; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=root).returncode == 0
