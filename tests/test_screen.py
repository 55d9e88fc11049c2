"""What commands print: tables in narrow terminals, JSON, quiet output, help and completion."""

import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import explorer
from explorer.__main__ import main
from explorer.commands.cli import COMMANDS, FIT_EXAMPLE, application

OLD = Path(__file__).parent / "fixtures" / "ledger_v1"
EXAMPLES = [*COMMANDS.values(), FIT_EXAMPLE]

TABLES = [
    "studies",
    "spaces",
    "report squeezes",
    "compare squeezes depths",
    "describe efficientnet preset=cifar --levels 2",
    "price squeezenet preset=cifar base_e=8..10 squeeze_ratio=0.1..0.3..0.05 --columns params,peak_activation_bytes",
    "price squeezenet pools=[[1,4],[1,12]] --infeasible",
    "fit squeezenet preset=cifar --params 200k --macs 4M --sample 2000 --count 2",
]


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """The current folder, with a storage of two studies."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(OLD / "explorer.db", tmp_path / "explorer.db")
    return tmp_path


def printed(capsys, *arguments):
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def on_a_terminal(command, columns, folder):
    """Run a command on a pseudo-terminal of this width and return what it shows."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns), "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "explorer", *shlex.split(command)],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        stdin=theirs,
        env=environment,
        cwd=folder,
    )
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 65_536)
        except OSError:  # the end, on Linux
            break
        if not part:
            break
        parts.append(part)
    os.close(ours)
    process.wait()
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", b"".join(parts).decode()).replace("\r\n", "\n")


def cells(wide):
    """The words of the tables in wide output, without headings of columns that are empty."""
    lines = (line for line in wide.splitlines() if line.startswith("  "))
    return {word for line in lines for word in line.split() if word.strip("\u2500")} - {"reason", "standing"}


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("columns", ["60", "80"])
@pytest.mark.parametrize("command", TABLES)
def test_nothing_is_cut_in_a_narrow_terminal(monkeypatch, capsys, command, columns):
    monkeypatch.delenv("COLUMNS", raising=False)
    wide = printed(capsys, *shlex.split(command))
    monkeypatch.setenv("COLUMNS", columns)
    narrow = printed(capsys, *shlex.split(command))
    assert "\u2026" not in narrow
    assert cells(wide) <= set(narrow.split())
    tables = [line for line in narrow.splitlines() if line.startswith("  ")]
    assert max(map(len, map(str.rstrip, tables)), default=0) <= int(columns)


@pytest.mark.slow
@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("command", TABLES)
def test_nothing_is_cut_on_a_pseudo_terminal(stored, monkeypatch, capsys, command, columns):
    monkeypatch.delenv("COLUMNS", raising=False)
    wide = printed(capsys, *shlex.split(command))
    assert cells(wide) <= set(on_a_terminal(command, columns, stored).split())


@pytest.mark.parametrize("columns", ["20", "40", "100", "300"])
def test_wide_and_long_cells_stay_whole(monkeypatch, capsys, columns):
    from explorer.commands.console import print_table

    monkeypatch.setenv("COLUMNS", columns)
    rows = [
        ["0.9330000001", "a_name_of_very_many_characters_without_any_space", "some words that may be wrapped anywhere"]
    ]
    print_table(("value", "name", "meaning"), [*rows, ["", "", ""]])
    shown = capsys.readouterr().out
    for word in " ".join(rows[0]).split():
        assert word in shown


ONE_LINE_A_ROW = [
    "report squeezes",
    "describe squeezenet preset=cifar",
    "describe squeezenet",
    "price squeezenet preset=cifar base_e=8..10 squeeze_ratio=0.1..0.3..0.05",
    "studies",
]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("command", ONE_LINE_A_ROW)
def test_tables_stay_tables_at_80_columns(monkeypatch, capsys, command):
    monkeypatch.setenv("COLUMNS", "80")
    shown = printed(capsys, *shlex.split(command))
    assert shown.count("\u2500" * 40) >= 1
    assert not re.search(r"^  params +[\d,]+$", shown, flags=re.MULTILINE)  # a line of a block


def test_a_column_without_values_is_left_out(monkeypatch, capsys):
    from explorer.commands.console import print_table

    monkeypatch.setenv("COLUMNS", "80")
    print_table(("point", "reason", "runs", "standing"), [["", "", 3, "-"], ["-", "-", 12, ""]], right=2)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == "  point   runs"
    assert lines[3:5] == ["             3", "  -         12"]


@pytest.mark.parametrize("name", [*sorted(get_command(application()).commands), ""])
def test_help_cuts_nothing_at_80_columns(monkeypatch, capsys, name):
    monkeypatch.setenv("COLUMNS", "80")
    shown = printed(capsys, *filter(None, [name]), "--help")
    assert "\u2026" not in shown
    assert "..." not in re.sub(r"(\]|\}|settings|studies)\.\.\.", "", shown)
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("command", TABLES)
def test_json_has_the_raw_numbers(capsys, command):
    found = json.loads(printed(capsys, *shlex.split(command), "--json"))
    assert found["records"]
    assert isinstance(found["units"], dict)
    for record in found["records"]:
        for key in ("params", "macs", "points", "runs"):
            assert isinstance(record.get(key, 0), int | None)
    if "params" in found["records"][0]:
        assert found["units"]["params"] == "params"


@pytest.mark.usefixtures("stored")
def test_json_is_the_frame_that_python_gives(capsys):
    found = json.loads(printed(capsys, "describe", "squeezenet", "preset=v1_0", "--json"))
    assert found["records"][-1]["params"] == found["costs"]["params"] == 1_248_424
    assert found["units"]["macs"] == "multiply-adds"
    found = json.loads(printed(capsys, "report", "squeezes", "--json", "--quiet"))
    made = explorer.report("squeezes")
    assert (found["answer"], found["report"]) == (made.answer, str(made.page))
    assert [row["accuracy"] for row in found["records"]] == made.points["accuracy"].tolist()
    assert found["units"]["low"] == "fraction"


@pytest.mark.usefixtures("stored")
def test_the_answer_comes_first_then_the_table_then_the_path(capsys):
    lines = printed(capsys, "report", "squeezes").splitlines()
    assert lines[0] == explorer.report("squeezes").answer
    assert lines[-1] == "report: reports/squeezes/report.html"
    assert printed(capsys, "report", "squeezes", "--quiet").splitlines() == [lines[0], lines[-1]]
    assert printed(capsys, "price", "squeezenet", "--quiet") == ""


def test_quiet_keeps_errors(capsys):
    assert main(["describe", "squeezenett", "--quiet", "--json"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


def test_versions(capsys):
    from importlib.metadata import version

    assert printed(capsys, "--version") == f"explorer {version('cnn-design-explorer')}, torch {version('torch')}\n"


@pytest.mark.parametrize("name", sorted(get_command(application()).commands))
def test_every_help_has_an_example_that_parses(capsys, name):
    shown = " ".join(printed(capsys, name, "-h").split())
    (example,) = (example for example in EXAMPLES if shlex.split(example)[0] == name)
    assert f"Example: explorer {example}" in shown
    words = shlex.split(example)[1:]
    group = get_command(application())
    with group.make_context("explorer", [name, *words]) as context:
        assert group.commands[name].make_context(name, words, parent=context).params


def test_a_shell_completes_studies_spaces_presets_and_metaparameters(monkeypatch, capsys):
    def completed(words):
        monkeypatch.setenv("_EXPLORER_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
        with pytest.raises(SystemExit):
            main([])
        return capsys.readouterr().out.split()

    assert completed("explorer sweep squeeze") == ["squeeze_ratio", "squeezenet_grid"]
    assert completed("explorer describe eff") == ["efficientnet"]
    assert completed("explorer describe squeezenet preset=v") == ["preset=v1_0", "preset=v1_1"]
    assert completed("explorer price squeezenet squ") == ["squeeze_ratio="]


@pytest.mark.parametrize("spelling", ["FLOPs", "flops", "FLOP", "macs", "MACs", "mult-adds", "multiply-adds"])
def test_costs_are_understood_in_every_spelling(capsys, spelling):
    where = f"{spelling} < 1.7M and bypass == 'none'"
    found = json.loads(
        printed(capsys, "price", "squeezenet", "preset=cifar", "base_e=8..12", "--where", where, "--json")
    )
    assert {row["macs"] < 1.7e6 for row in found["records"]} == {True}
    assert found["kept"] < 5
    options = ["--sort", spelling, "--columns", f"{spelling},Params", "--json"]
    found = json.loads(printed(capsys, "price", "squeezenet", "preset=cifar", "base_e=[12,8]", *options))
    assert list(found["records"][0]) == ["base_e", "macs", "params"]
    assert found["records"][0]["base_e"] == 8
    limits = [f"--{spelling}", "4M", "--parameters", "200k", "--sample", "2000", "--json"]
    found = json.loads(printed(capsys, "fit", "squeezenet", "preset=cifar", *limits))
    assert found["limits"] == {"macs": 4e6, "params": 2e5}


@pytest.mark.parametrize(
    "size",
    ["100k", "100K", "100,000", "100KMAC", "100 kFLOPs", "0.1M", "100_000", "1e5", "100 k", "0.1MB", "97.65625Ki"],
)
def test_sizes_are_understood_in_conditions(capsys, size):
    options = ["--where", f"params > {size}", "--json"]
    found = json.loads(printed(capsys, "price", "squeezenet", "preset=cifar", "base_e=1..8", *options))
    assert {row["params"] > 100_000 for row in found["records"]} == {True}
    assert found["kept"] < 8


STUDY = """
title = "Tiny?"
space = "squeezenet"
preset = "cifar"
[vary]
squeeze_ratio = [0.25, 0.5]
[constraints]
FLOPs = { max = "20M" }
[plot]
against = "FLOPs"
"""


def test_studies_understand_them_too(tmp_path):
    (tmp_path / "mine.toml").write_text(STUDY)
    study = explorer.load_study(tmp_path / "mine.toml")
    (tmp_path / "same.toml").write_text(STUDY.replace("FLOPs", "macs").replace('"20M"', "20_000_000"))
    assert study.plot.against == "macs"
    assert study.constraints["macs"].max == 2e7
    assert study.digest == explorer.load_study(tmp_path / "same.toml").digest
    (tmp_path / "bare.toml").write_text(STUDY.replace('"20M"', "20M"))
    with pytest.raises(explorer.ExplorerError, match='write sizes in quotes: "20M"'):
        explorer.load_study(tmp_path / "bare.toml")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("belw = 0.5", "claim 1: unknown key 'belw'; did you mean 'below'? A claim of the form 'falls' has the keys"),
        ("cost = 'params'", "has the keys claim, source, form, over, below, and may have where"),
        ("", "claim 1: below: this key is required; a claim of the form 'falls' has the keys"),
    ],
)
def test_a_claim_with_a_wrong_key_lists_the_keys_of_its_form(tmp_path, key, message):
    claim = f"[[claims]]\nclaim = 'x'\nsource = 'me'\nform = 'falls'\nover = 'squeeze_ratio'\n{key}\n"
    (tmp_path / "mine.toml").write_text(STUDY + claim)
    with pytest.raises(explorer.ExplorerError) as error:
        explorer.load_study(tmp_path / "mine.toml")
    assert message in str(error.value)


RANGES = ["8-64", "8:64", "8,64", "8..64..0", "64..8", "8...64", "8 to 64", "8:64:8", "8,16,64", "8;64", "8-9", "0-8"]


@pytest.mark.parametrize("text", RANGES)
def test_ranges_with_other_signs_get_a_hint_that_works(capsys, text):
    assert main(["price", "squeezenet", "preset=cifar", f"base_e={text}"]) == 2
    said = capsys.readouterr().err
    hints = re.findall(r"base_e=(\S+)", said)
    assert text not in hints
    assert bool(hints) == (text != "0-8")
    for hint in hints:
        printed(capsys, "price", "squeezenet", "preset=cifar", f"base_e={hint}")
    for real in ("0.1-0.5", "0.1:0.5", "0.5..0.1", "0.1..0.5"):
        assert main(["price", "squeezenet", f"squeeze_ratio={real}", "--limit", "1"]) == 2
        (hint,) = re.findall(r"squeeze_ratio=([\d.]+)", capsys.readouterr().err)
        assert main(["price", "squeezenet", f"squeeze_ratio={hint}", "--limit", "1"]) == (
            2 if real == "0.5..0.1" else 0
        )
        capsys.readouterr()


MISTAKES = [
    "describe Squeezenet",
    "describe squeezenet preset=V1_0",
    "describe squeezenet Base_e=8",
    "describe squeezenet bypass=Simple",
    "describe squeezenet bypass=None",
    "price squeezenet preset=cifr",
    "price squeezenet --columns parms",
    "price squeezenet --sort prams",
    "price squeezenet --pareto bypas",
    "price squeezenet --where parms>5",
    "report Squeezes",
    "compare squeezes depth",
    "compare squeezes depths --against param",
    "compare squeezes depths --figures PNGG",
    "report squeezes --figures svgg",
]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("command", MISTAKES)
def test_a_suggestion_works_when_it_is_used(capsys, command):
    assert main(shlex.split(command)) == 2
    said = capsys.readouterr().err
    mistake, hint = re.search(r"unknown .*?'(.*)'; did you mean '(.*)'\?", said).groups()
    assert mistake != hint
    assert main(shlex.split(command.replace(mistake, hint))) == 0


def test_a_value_of_another_kind_is_not_suggested():
    from explorer.errors import unknown

    assert "did you mean '0.5'" not in str(unknown("value of squeeze_ratio", "0.5", ["0.25", "0.5"]))


HINTS = [
    ("price squeezenet bypass=simple,none", "write bypass=[simple,none]"),
    ("price squeezenet squeeze_ratio=0.25,0.5,0.75,1.0", "write squeeze_ratio=[0.25,0.5,0.75,1.0]"),
    ("price squeezenet pools=1,4", "pools=[1,4]"),
    ("price squeezenet bypass=simpl,none", "did you mean 'simple'?"),
    ("describe squeezenet v1_0", "write preset=v1_0"),
    ("describe efficientnet b3", "write preset=b3"),
    ("price squeezenet --where params=<100k", "write <= for =<"),
    ("price squeezenet --where params=>100k", "write >= for =>"),
    ("price squeezenet --where params=5", "write == for equal"),
    ("sweep squeeze_ratio --image 100", "No such option: --image; did you mean '--images'?"),
    ("fit squeezenet --parms 100k", "did you mean '--params'?"),
    ("sweep squeeze_ratio --epoch 3", "did you mean '--epochs'?"),
    ("sweep squeeze_ratio --images many", "images = many: should be a whole number, such as 10000 or 10k"),
    ("sweep squeeze_ratio --images 1.5", "images = 1.5: should be a whole number"),
    ("sweep squeeze_ratio --images -5", "images = -5: should be greater than or equal to 2"),
    ("sweep squeeze_ratio --epochs many", "'--epochs': should be a whole number"),
    ("sweep squeeze_ratio --workers 0", "'--workers': should be greater than or equal to 1"),
    ("price squeezenet --ratio x", "'--ratio': should be a number"),
    ("sweep squeeze_ratio --data cifar11", "did you mean 'cifar10'? Or give the path to a folder"),
    ("sweep squeeze_ratio --data 12345678", "cifar10, proxy; or give the path to a folder"),
    ("fit squeezenet --params 5,00", "'5,00': a limit must be a number above 0"),
]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(("command", "hint"), HINTS)
def test_a_mistake_gets_a_hint_in_one_line(capsys, command, hint):
    assert main(shlex.split(command)) == 2
    said = capsys.readouterr().err
    assert hint in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("text", ["500,000", "500k", "0.5M", "500 kparams", "500000", "500_000", "500Kb", "500 KMACs"])
def test_limits_take_sizes_as_people_write_them(text):
    from explorer.networks.quantities import read_size

    assert read_size(text) == 500_000


@pytest.mark.parametrize("text", ["10k", "10,000", "10000", 10_000, "0.01M", "1e4"])
def test_images_are_a_size_too(text):
    study = explorer.load_study("squeeze_ratio", images=text, seeds=1)
    assert study.budget.images == 10_000


def test_budgets_take_sizes_too():
    from explorer.training.recipe import Budget

    assert Budget.read("10kx3") == Budget.read("10000x3")


def test_fit_takes_limits_as_keywords():
    asked = {"base_e": "8..12", "sample": 1000}
    found = explorer.fit("squeezenet", "cifar", params="110k", FLOPs=2e6, **asked)
    assert found.equals(explorer.fit("squeezenet", "cifar", limits={"params": 110_000, "macs": "2M"}, **asked))


def test_price_names_the_function_that_filters():
    with pytest.raises(explorer.ExplorerError, match=r"no argument 'where'; use explorer.price_space, which has it"):
        explorer.price("squeezenet", where="params < 5e5")


@pytest.mark.usefixtures("stored")
def test_compared_budgets_are_whole_numbers(monkeypatch, capsys):
    from explorer.reporting.comparison import Comparison

    assert "budget" not in printed(capsys, "compare", "squeezes", "depths")  # nothing to compare
    monkeypatch.setattr(Comparison, "tells_nothing", [])
    shown = printed(capsys, "compare", "squeezes", "depths")
    assert re.search(r"^  212,992 ", shown, flags=re.MULTILINE)
    assert not re.search(r"\de\+|^  \d+\.", shown, flags=re.MULTILINE)


def test_sweep_takes_the_settings_of_the_command(monkeypatch):
    from explorer.api import sweeps

    def stop(studies, **_):
        raise KeyboardInterrupt(studies[0])

    monkeypatch.setattr(sweeps, "run_studies", stop)
    settings = {"seeds": 5, "epochs": 3, "images": "2k", "data": "proxy"}
    wanted = explorer.load_study("bypass", **settings)
    for study in ("bypass", explorer.load_study("bypass")):
        with pytest.raises(KeyboardInterrupt) as stopped:
            explorer.sweep(study, **settings, reports=None, progress=False)
        assert stopped.value.args == (wanted,)
