"""The table of quantities: what each looks like, and that registering one more is all it takes to add it everywhere."""

import ast
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from records import make_record

import explorer
from explorer.__main__ import main
from explorer.analysis import Findings, pareto_front
from explorer.analysis.ranks import cost_ranks
from explorer.errors import ExplorerError
from explorer.networks.quantities import MIB, QUANTITIES, Quantity
from explorer.reporting.study import report_files
from explorer.storage.ledger import Ledger
from explorer.study.files import load_study
from explorer.study.plan import plan

PACKAGE = Path(explorer.__file__).parent
STUDY = """
title = "How wide?"
space = "squeezenet"
preset = "cifar"
[vary]
base_e = [16, 24, 32, 40, 48, 56, 64]
[constraints]
int8_bytes = { max = 300_000 }
[plot]
against = "int8_bytes"
"""


@pytest.fixture
def int8(monkeypatch):
    """A quantity that is registered, and nothing else: the bytes of a model with params of one byte."""
    quantity = Quantity(
        "int8_bytes",
        "int8 size",
        MIB,
        lambda network: network.cost.params,
        front=True,
        main=True,
        ranked=True,
        budget=True,
    )
    monkeypatch.setitem(QUANTITIES, quantity.key, quantity)
    return quantity.key


@pytest.fixture
def study(int8, tmp_path):
    assert int8 in STUDY
    (tmp_path / "widths.toml").write_text(STUDY)
    return load_study(tmp_path / "widths.toml")


def run(capsys, *arguments):
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("key", "largest", "scale", "title"),
    [
        ("params", 363_714, 1e3, "Params (k)"),
        ("params", 1_248_424, 1e6, "Params (M)"),
        ("macs", 818_924_576, 1e6, "FLOPs (multiply-adds, M)"),
        ("macs", 8.1e9, 1e9, "FLOPs (multiply-adds, G)"),
        ("activations", 900, 1, "Activations"),
        ("model_bytes", 5_000_000, 2**20, "Model size (MiB)"),
        ("latency_seconds", 0.1, 1e-3, "Latency (ms)"),
        ("accuracy", 1, 0.01, "Validation accuracy (%)"),
    ],
)
def test_axes(key, largest, scale, title):
    assert QUANTITIES[key].axis(largest) == (scale, title)


def test_columns():
    assert QUANTITIES["macs"].heading == "FLOPs (multiply-adds)"
    assert QUANTITIES["model_bytes"].heading == "model size, MiB"
    assert QUANTITIES["model_bytes"].text(5 * 2**20) == "5.00"
    assert QUANTITIES["params"].text(1_248_424) == "1,248,424"


def test_fronts_follow_the_direction(monkeypatch):
    frame = pd.DataFrame({"speed": [1.0, 2.0, 3.0, 2.5], "accuracy": [0.9, 0.8, 0.7, 0.6]})
    assert pareto_front(frame, "speed").tolist() == [True, False, False, False]
    monkeypatch.setitem(QUANTITIES, "speed", Quantity("speed", "speed", more_is_better=True))
    assert pareto_front(frame, "speed").tolist() == [True, True, True, False]


def test_findings_follow_the_direction(monkeypatch):
    negative = Quantity(
        "spared", "spared params", compute=lambda network: 10**9 - network.cost.params, more_is_better=True, front=True
    )
    monkeypatch.setitem(QUANTITIES, negative.key, negative)
    findings = Findings(make_record("squeeze_ratio", images=200))
    found = findings.points
    assert found["on_spared_front"].tolist() == found["on_params_front"].tolist()
    assert found["spared_front_probability"].tolist() == found["params_front_probability"].tolist()
    assert findings.hypervolume("spared") is None


def test_it_is_priced(int8, capsys):
    frame = explorer.price("squeezenet", "cifar", quantities=["params", int8], base_e=[16, 32, 64])
    assert frame[int8].tolist() == frame["params"].tolist()
    options = ["--columns", int8, "--where", f"{int8} < 3e5", "--sort", f"-{int8}"]
    out = run(capsys, "price", "squeezenet", "preset=cifar", "base_e=[16,32,64]", *options)
    kept = sorted((params for params in frame["params"] if params < 3e5), reverse=True)
    assert 0 < len(kept) < len(frame)
    assert [int(number.replace(",", "")) for number in re.findall(r"^ +\d+ +([\d,]+) *$", out, re.MULTILINE)] == kept


def test_it_is_described(int8, capsys):
    out = run(capsys, "describe", "squeezenet", "preset=v1_0")
    assert f"int8 size, MiB: 1.19 ({int8} = 1,248,424)" in out


def test_it_is_a_budget(int8, capsys):
    settings = {"sample": 2000, "count": 3}
    found = explorer.fit("squeezenet", "cifar", limits={int8: 100_000}, **settings)
    assert found[int8].between(80_000, 100_000).all()
    out = run(capsys, "fit", "squeezenet", "preset=cifar", "--int8-bytes", "100k", "--sample", "2000", "--count", "3")
    assert f"{found[int8].iloc[0]:,}" in out
    assert "--int8-bytes" in run(capsys, "fit", "--help")


def test_a_study_is_limited_by_it_and_drawn_against_it(study):
    states = {point.metaparameters["base_e"]: (point.state, point.reason) for point in plan(study, 10)}
    assert states[16][0] == "planned"
    assert re.fullmatch(r"int8_bytes = [\d,]+: at most 300,000", states[64][1])
    assert study.plot.against == "int8_bytes"


def test_it_is_in_a_report(study):
    study = study.model_copy(update={"constraints": {}})
    findings = Findings(make_record(study, images=200))
    files = report_files(findings)
    page = files["report.html"].decode()
    for text in (
        '<option value="int8_bytes">Int8 size (MiB)</option>',
        'class="stairs" data-x="int8_bytes"',
        "int8 size, MiB",
        "front of int8 size",
        "Accuracy against int8 size",
        "MiB of int8 size",
    ):
        assert text in page, text
    assert findings.points["on_int8_bytes_front"].any()
    assert "int8_bytes" in set(cost_ranks(findings.measured)["cost"])
    assert findings.record.metaparameters == ["base_e"]


def test_a_study_stored_without_it_is_reported_without_it(int8, tmp_path):
    old = Path(__file__).parent / "fixtures" / "ledger_v1" / "explorer.db"
    findings = Findings(Ledger(shutil.copy(old, tmp_path / "explorer.db")).studies.load("squeezes"))
    assert int8 not in findings.costs
    assert "int8 size" not in report_files(findings)["report.html"].decode()


@pytest.mark.parametrize("cost", ["parms", "latency_seconds"])
def test_a_study_is_drawn_against_a_computed_cost(tmp_path, cost):
    (tmp_path / "widths.toml").write_text(STUDY.replace("int8_bytes", "params", 1).replace("int8_bytes", cost))
    message = "did you mean 'params'" if cost == "parms" else "choose one of: activations, flash_bytes, macs, "
    with pytest.raises(ExplorerError, match=f"widths.toml: against = {cost}: unknown cost '{cost}'; .*{message}"):
        load_study(tmp_path / "widths.toml")


def texts():
    """The texts of the package but for docstrings, and its templates, each with its file."""
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        expressions = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in expressions:
                yield path, node.value
    for path in PACKAGE.glob("templates/*.j2"):
        yield path, path.read_text()


def test_titles_and_units_are_only_in_the_table():
    named = {text for one in QUANTITIES.values() for text in (one.heading, one.axis()[1]) if " " in text}
    pattern = re.compile("|".join([*map(re.escape, sorted(named)), r"\bMiB\b", r"\bms\b"]))
    # The memory of a process is not a quantity.
    allowed = {("tables.py", "peak memory, MiB"), ("notes.py", " MiB of memory.")}
    found = {(path.name, text) for path, text in texts() if pattern.search(text)}
    assert {one for one in found if one[0] != "quantities.py"} == allowed
