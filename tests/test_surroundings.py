"""File names, homes, terminals and scripts that are not as expected: they work, or end in one line."""

import io
import os
import pwd
import subprocess
import sys

import pytest

from explorer.__main__ import main
from explorer.data.dataset import cache_folder
from explorer.errors import ExplorerError
from explorer.files import user_path
from explorer.storage.database import storage_url
from explorer.study.files import load_study

STUDY = """
title = "Tiny?"
space = "squeezenet"
preset = "cifar"
[vary]
squeeze_ratio = [0.25, 0.5]
"""
LATIN = os.fsdecode(b"caf\xe9")
"""A name in Latin-1, as Python reads it in a UTF-8 locale."""


def test_a_byte_order_mark_changes_nothing(tmp_path):
    for name, mark in (("plain", b""), ("marked", b"\xef\xbb\xbf")):
        (tmp_path / f"{name}.toml").write_bytes(mark + STUDY.encode())
    plain, marked = (load_study(tmp_path / f"{name}.toml") for name in ("plain", "marked"))
    assert (plain.digest, plain.text) == (marked.digest, marked.text)


@pytest.mark.parametrize("name", [LATIN, "sp ace", "caf\u00e9 \u4e2d", "a" * 200])
def test_studies_of_any_name_can_be_read(tmp_path, name):
    (tmp_path / f"{name}.toml").write_text(STUDY)
    study = load_study(tmp_path / f"{name}.toml")
    assert study.name == name.replace(LATIN, "caf_")
    assert study.model_dump_json()


@pytest.mark.parametrize(
    "arguments",
    [
        ["sweep", "squeeze_ratio", "--data", LATIN],
        ["studies", "--storage", f"{LATIN}.db"],
        ["dashboard", "--storage", f"{LATIN}.db"],
        ["report", "x", "--storage", f"{LATIN}.db"],
        ["sweep", "a" * 250 + ".toml"],
    ],
)
def test_names_that_cannot_be_stored_are_one_line(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / LATIN).mkdir()
    (tmp_path / ("a" * 250 + ".toml")).write_text(STUDY.replace("[vary]", "seeds = 2\n[vary]"))
    assert main([*arguments, *(["--seeds", "9"] if arguments[0] == "sweep" else [])]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is not valid UTF-8" in said or "File name too long" in said


def test_the_command_on_a_page_is_text():
    from types import SimpleNamespace

    from explorer.commands.console import command_line

    command_line(SimpleNamespace(obj=["sweep", "--reports", LATIN])).encode()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_terminals_that_lack_characters(tmp_path, monkeypatch, encoding):
    screen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(screen, encoding=encoding, write_through=True))
    path = tmp_path / f"\u2192{LATIN}.csv"
    assert main(["price", "squeezenet", "base_e=8..9", "--out", str(path)]) == 0
    assert main(["spaces"]) == 0
    assert main(["price", "squeezenet"]) == 0
    shown = screen.getvalue().decode(encoding)
    assert "written to" in shown
    assert "1,248,424" in shown
    assert path.is_file()


def test_the_home_folder_is_understood_everywhere(tmp_path, monkeypatch, capsys):
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(home))
    (home / "mine.toml").write_text(STUDY)
    assert load_study("~/mine.toml").name == "mine"
    assert storage_url("~/x.db").database == str(home / "x.db")
    assert main(["price", "squeezenet", "--out=~/points.csv"]) == 0
    assert (home / "points.csv").is_file()
    assert main(["studies", "--storage=~/none.db"]) == 0
    for arguments in (
        ["sweep", "squeeze_ratio", "--data=~/none"],
        ["sweep", "squeeze_ratio", "--data=cifar10", "--data-dir=~/none"],
        ["report", "x", "--storage=~/none.db"],
        ["describe", "squeezenet", "--torch=~/none/x.pt2"],
    ):
        assert main(arguments) == 2
    assert str(home / "none") in capsys.readouterr().err
    assert list(work.iterdir()) == []


def test_an_unknown_home_is_one_line(monkeypatch):
    def nobody(_):
        raise KeyError

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(ExplorerError, match="~/x: the home folder is unknown; set HOME"):
        user_path("~/x")
    with pytest.raises(ExplorerError, match="set HOME or XDG_CACHE_HOME"):
        cache_folder()


@pytest.mark.slow
def test_a_script_from_standard_input_trains(tmp_path, image_folder):
    (tmp_path / "tiny.toml").write_text(
        STUDY.replace("[vary]", f'seeds = 1\ndata = "{image_folder}"\n[vary]')
        + "[budget]\nimages = 64\nepochs = 1\nvalidation = 32\n"
    )
    script = 'import explorer\nprint(explorer.sweep("tiny.toml", workers=1)["state"].tolist())\n'
    done = subprocess.run(
        [sys.executable, "-"], input=script, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.splitlines()[-1] == "['done', 'done']", done.stderr
