"""The commands from Python: each function gives what its command prints and writes."""

import ast
import inspect as introspection
import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import explorer
from explorer.__main__ import main
from explorer.certification.model import shipped_certificates
from explorer.commands.cli import COMMANDS
from explorer.commands.prices import fit as fit_command
from explorer.spaces import all_spaces
from explorer.study.plan import plan
from explorer.sweeping import dry_run, sweeping, timing
from explorer.training import trainer
from explorer.training.run import Numerics

OLD = Path(__file__).parent / "fixtures" / "ledger_v1"


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """The current folder, with a storage of two studies with six runs in all."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(OLD / "explorer.db", tmp_path / "explorer.db")
    return tmp_path


def printed(capsys, *arguments):
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def files_in(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_public_names_are_listed_and_described():
    assert set(explorer.__all__) == explorer._HOMES.keys() | {"maps", "plots"}
    assert set(explorer.__all__) == set(dir(explorer))
    assert explorer.__version__ == version("cnn-design-explorer")
    for name in explorer.__all__:
        assert getattr(explorer, name).__doc__, name


@pytest.mark.parametrize("command", [*COMMANDS, fit_command], ids=lambda command: command.__name__)
def test_a_command_is_a_public_function(command):
    nodes = ast.walk(ast.parse(introspection.getsource(command)))
    used = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert used & set(explorer.__all__)


def test_price_space_gives_what_price_gives_and_what_the_command_writes(capsys, tmp_path):
    settings = {"base_e": "8..64..8", "squeeze_ratio": "0.1..0.5..0.1", "bypass": ["none", "simple"], "pools": [1]}
    options = {"where": "macs < 2e6", "sort": "-params"}
    found = explorer.price_space("squeezenet", "cifar", settings, **options)
    columns = {key: found.points[key].tolist() for key in ("base_e", "squeeze_ratio", "bypass")}
    again = explorer.price("squeezenet", "cifar", columns, pools=(1,))
    assert found.points["params"].tolist() == again["params"].tolist() == sorted(again["params"], reverse=True)
    assert (again["macs"] < 2e6).all()
    everything = explorer.price_space("squeezenet", "cifar", settings)
    assert (everything.size, everything.kept) == (80, 80)
    assert found.kept == len(found.points) == (everything.points["macs"] < 2e6).sum()
    assert len(explorer.price_space("squeezenet", "cifar", settings, limit=3).points) == 3

    words = ["base_e=8..64..8", "squeeze_ratio=0.1..0.5..0.1", "bypass=[none,simple]", "pools=[1]", "--sort", "-params"]
    csv = str(tmp_path / "points.csv")
    printed(capsys, "price", "squeezenet", "preset=cifar", *words, "--where", "macs < 2e6", "--out", csv)
    written = pd.read_csv(csv)
    shown = [str(name) for name in found.points]
    pd.testing.assert_frame_equal(written[shown], found.points, check_dtype=False)
    to_file = explorer.price_space("squeezenet", "cifar", settings, **options, out=tmp_path / "again.csv")
    assert (to_file.points, to_file.path) == (None, tmp_path / "again.csv")
    assert to_file.path.read_text() == Path(csv).read_text()


def test_price_space_reports_its_progress():
    seen = []
    explorer.price_space("squeezenet", "cifar", {"base_e": "8..64"}, progress=lambda *numbers: seen.append(numbers))
    assert seen[-1] == (57, 57)


def test_settings_may_be_called_as_the_options_are():
    with pytest.raises(explorer.ExplorerError, match="unknown metaparameter of squeezenet 'count'"):
        explorer.fit("squeezenet", "cifar", {"count": 3}, limits={"params": 1e5})


def test_inspect_gives_the_layers_that_describe_gives_and_the_counts_of_fvcore():
    found = explorer.inspect("efficientnet", "cifar", {"depth": 2.0}, verify=True, levels=2)
    layers = explorer.inspect("efficientnet", "cifar", {"depth": 2.0}, levels=2).layers
    pd.testing.assert_frame_equal(found.layers.drop(columns="fvcore"), layers)
    pd.testing.assert_frame_equal(
        explorer.inspect("efficientnet", "cifar").layers, explorer.describe("efficientnet", "cifar")
    )
    assert found.layers["fvcore"].iloc[-1] == found.layers["macs"].iloc[-1] == found.amounts["macs"]
    assert (found.check.mismatches, found.latencies, found.files) == ((), [], [])


def test_lists(stored, capsys):
    spaces, studies = explorer.list_spaces(), explorer.list_studies()
    assert set(spaces["space"]) == set(all_spaces())
    assert (
        spaces.set_index(["space", "metaparameter"]).loc[("squeezenet", "squeeze_ratio"), "values"]
        == "number > 0, <= 1"
    )
    assert studies.set_index("name").loc["squeeze_ratio", ["points", "runs"]].tolist() == [8, 24]
    found = explorer.stored_studies(stored / "explorer.db")
    assert found["name"].tolist() == ["depths", "squeezes"]
    assert found["done"].tolist() == found["runs"].tolist()
    assert explorer.stored_studies("none.db").empty
    out = printed(capsys, "studies")
    assert "stored in explorer.db" in out
    for row in found.itertuples():
        assert f"{row.done} of {row.runs}" in out


def test_load_study_takes_other_settings(image_folder):
    study = explorer.load_study("squeeze_ratio", data=str(image_folder), seeds=5, epochs=1)
    assert (study.name, study.seeds, study.budget.epochs) == ("squeeze_ratio@stripes-epochs1-seeds5", 5, 1)
    quick = explorer.load_study("squeeze_ratio", data=str(image_folder), quick=True)
    assert (quick.name, quick.seeds) == ("squeeze_ratio@stripes-quick", 1)
    assert quick.budget.images <= 450


def test_report_writes_what_the_command_writes(stored, capsys):
    made = explorer.report("squeezes", reports="here")
    assert made.page == Path("here/squeezes/report.html")
    assert (made.study, made.unfinished) == ("squeezes", 0)
    expected = pd.read_csv(OLD / "squeezes.points.csv")
    np.testing.assert_allclose(made.points["accuracy"].astype(float), expected["accuracy"])
    out = printed(capsys, "report", "squeezes", "--reports", "there")
    assert "report: there/squeezes/report.html" in out
    assert files_in(stored / "here") == files_in(stored / "there")


def test_compare_writes_what_the_command_writes(stored, capsys):
    command = "python -m explorer compare squeezes depths --reports there"
    made = explorer.compare(["squeezes", "depths"], reports="here", command=command)
    out = printed(capsys, *command.split()[3:])
    assert made.statements
    lines = out.splitlines()
    assert lines[: len(made.statements)] == made.statements
    assert lines[-1] == "report: there/squeezes-vs-depths/report.html"
    for name in made.budgets["label"] if made.comparable else ():
        assert name in out
    assert files_in(stored / "here") == files_in(stored / "there")
    written = pd.read_csv(made.page.parent / "budgets.csv").astype({"standing": object}).fillna({"standing": ""})
    pd.testing.assert_frame_equal(written, made.budgets, check_dtype=False)


@pytest.mark.parametrize(
    ("studies", "options", "message"),
    [
        (["squeezes"], {}, "compare squeezes: give two or more different studies"),
        (["squeezes", "depths"], {"against": "parms"}, "unknown cost 'parms'; did you mean 'params'?"),
        (["squeezes", "depths"], {"figures": ["pgn"]}, "unknown figure format 'pgn'; did you mean 'png'?"),
        (["squeezes", "depths"], {"reports": "explorer.db/x"}, "explorer.db/x: cannot be written"),
        (["squeezes", "depths"], {"against": "latency_seconds"}, "depths: not all points have a latency_seconds"),
        (["squeezes", "deps"], {}, "did you mean 'depths'?"),
    ],
)
def test_what_cannot_be_compared(stored, studies, options, message):
    with pytest.raises(explorer.ExplorerError) as error:
        explorer.compare(studies, **options)
    assert message in str(error.value)
    assert not (stored / "reports").exists()


@pytest.mark.usefixtures("stored")
def test_sweep_makes_the_report_of_what_is_stored(monkeypatch):
    # What the machine that wrote the storage computed in, so that nothing is left to train.
    monkeypatch.setattr(trainer, "numerics", lambda: Numerics(2, "2.13.0", "cpu", "bfloat16"))
    monkeypatch.setattr(sweeping, "execute", lambda jobs, *_, **__: (job for job in iter(jobs.take, None)))
    frame = explorer.sweep(OLD / "squeezes.toml", reports="here")
    assert (frame.attrs["study"], frame.attrs["unfinished"]) == ("squeezes", 0)
    assert Path(frame.attrs["report"]).is_file()
    assert frame.attrs["answer"] == explorer.report("squeezes", reports="there").answer
    assert (
        frame.attrs["units"] | {"low": "fraction", "macs": "multiply-adds", "model_bytes": "bytes"}
        == frame.attrs["units"]
    )
    assert list(frame)[:5] == ["point", "squeeze_ratio", "accuracy", "low", "high"]
    shutil.rmtree("here")
    shutil.rmtree("there")
    plain = explorer.sweep(OLD / "squeezes.toml", reports=None)
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["explorer.db", "explorer.db.lock"]
    assert plain["accuracy"].tolist() == frame["accuracy"].tolist()
    assert plain.attrs["units"]["accuracy"] == "fraction"
    with pytest.raises(explorer.ExplorerError, match=r"explorer.db/x: cannot be written"):
        explorer.sweep(OLD / "squeezes.toml", reports="explorer.db/x")


def test_dry_run_counts_what_would_be_trained(monkeypatch):
    monkeypatch.setattr(dry_run, "estimate_seconds", lambda runs, workers: len(runs) / workers)
    found = explorer.dry_run("squeeze_ratio", workers=2)
    points = plan(explorer.load_study("squeeze_ratio"), 10)
    assert found.states == {"planned": 8}
    assert (found.networks, found.runs, found.workers, found.seconds) == (8, 24, 2, 12)
    images = found.study.budget.images * found.study.budget.epochs
    assert found.macs == 3 * 3 * images * sum(point.cost.macs for point in points)
    assert found.points["macs"].tolist() == [point.cost.macs for point in points]


@pytest.mark.usefixtures("stored")
def test_latency_gives_the_times_that_it_stores(monkeypatch):
    def measure(networks, threads):
        return [
            [timing.BatchTime(batch, threads, batch * one.cost.macs / 1e9, 0, 1, 5) for batch in timing.BATCHES]
            for one in networks
        ]

    monkeypatch.setattr(timing, "measure", measure)
    begun, seen = [], []
    found = explorer.latency(
        "squeezes", again=True, begin=lambda *what: begun.append(what), progress=lambda *numbers: seen.append(numbers)
    )
    table = found.networks
    assert table["macs"].tolist() == sorted(table["macs"])
    for batch in timing.BATCHES:
        np.testing.assert_allclose(table[f"batch_{batch}_seconds"], batch * table["macs"].astype(float) / 1e9)
    assert (begun[0][0], seen[-1]) == (len(table), (len(table), len(table)))
    again = explorer.latency("squeezes", begin=lambda *what: begun.append(what))
    assert begun[-1] == (0, 0, "")
    pd.testing.assert_frame_equal(again.networks, table)


def test_certify_writes_the_report_of_its_certificate(tmp_path, monkeypatch):
    shipped = shipped_certificates()[0]
    asked = []
    monkeypatch.setattr("explorer.api.certificates.make_certificate", lambda study, **_: asked.append(study) or shipped)
    made = explorer.certify("squeezenet", budget="500x3", points=8, reports=tmp_path)
    assert (asked[0].budget.images, asked[0].budget.epochs, asked[0].size) == (500, 3, 8)
    assert made.page == tmp_path / shipped.name / "report.html"
    page = made.page.read_text()
    assert made.certificate is shipped
    assert made.statements[0].split("'")[0] in page
    with pytest.raises(explorer.ExplorerError, match="--quick has its own budget"):
        explorer.certify("squeezenet", budget="500x3", quick=True)


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("reports", ["here", None])
def test_plots_draw_what_a_sweep_returns(monkeypatch, reports):
    import matplotlib.pyplot as plt

    monkeypatch.setattr(trainer, "numerics", lambda: Numerics(2, "2.13.0", "cpu", "bfloat16"))
    monkeypatch.setattr(sweeping, "execute", lambda jobs, *_, **__: (job for job in iter(jobs.take, None)))
    frame = explorer.sweep(OLD / "squeezes.toml", reports=reports)
    with explorer.plots.style():
        for draw in (
            explorer.plots.curve,
            explorer.plots.scaling_curves,
            lambda frame, ax: explorer.plots.front(frame, ax, "macs"),
        ):
            ax = plt.figure().subplots()
            draw(frame, ax)
            assert ax.has_data()
    plt.close("all")


def test_a_certificate_is_planned_with_all_its_budgets(monkeypatch):
    asked = []
    monkeypatch.setattr(dry_run, "estimate_seconds", lambda runs, _: asked.append(runs) or 100.0)
    found = explorer.plan_certificate("squeezenet", points=8, workers=2)
    alone = explorer.dry_run(found.study, workers=2)
    assert (found.networks, found.runs, found.factors) == (8, 8 * 2 * 4, (1, 2, 4, 8))
    assert {run.budget.epochs for run in asked[0]} == {8 * run.budget.epochs for run in asked[1]}
    # The budgets share their trunk: 9.75 instead of 15.
    assert found.macs == pytest.approx(9.75 * alone.macs)
    assert found.seconds == pytest.approx(100 * 9.75 / 8)


def test_price_makes_a_grid_of_several_values():
    found = explorer.price("squeezenet", "cifar", base_e=range(8, 20), squeeze_ratio=[0.1, 0.2], bypass="simple")
    assert found["base_e"].tolist() == [base for base in range(8, 20) for _ in range(2)]
    assert found["squeeze_ratio"].tolist() == [0.1, 0.2] * 12
    assert found.attrs["units"]["macs"] == "multiply-adds"
    again = explorer.price("squeezenet", "cifar", found[["base_e", "squeeze_ratio"]], bypass="simple")
    listed = explorer.price(
        "squeezenet", "cifar", found[["base_e", "squeeze_ratio"]].to_dict(orient="records"), bypass="simple"
    )
    ranges = explorer.price("squeezenet", "cifar", base_e="8..19", squeeze_ratio=np.array([0.1, 0.2]), bypass="simple")
    for other in (again, listed, ranges):
        pd.testing.assert_frame_equal(other, found)
    pools = explorer.price("squeezenet", "cifar", pools=[(1,), (1, 3)], base_e=(8, 16), quantities=["FLOPs"])
    assert list(pools) == ["pools", "base_e", "macs", "infeasible"]
    assert len(pools) == 4


@pytest.mark.parametrize("space", ["squeezenet", "efficientnet"])
def test_fit_gives_the_fewest_decimals_of_the_same_networks(space):
    found = explorer.fit(space, "cifar", limits={"Params": "200k", "FLOPs": 4e6}, sample=2000, count=5)
    assert found.attrs["limits"] == {"params": 2e5, "macs": 4e6}
    assert found.attrs["best"] == {key: found[key].iloc[0] for key in found.attrs["best"]}
    family = all_spaces()[space]
    for row in found.to_dict(orient="records"):
        values = {key: row[key] for key in found.attrs["best"]}
        network = family.point("cifar", **values).expand()
        assert (network.cost.params, network.cost.macs) == (row["params"], row["macs"])
        for key, value in values.items():
            decimals = len(str(value).partition(".")[2]) if isinstance(value, float) else 0
            for fewer in range(decimals if value != round(value, 0) else 0):
                low, high, *_ = family.point("cifar").ranges()[key]
                shorter = round(value, fewer)
                if low <= shorter <= high:
                    coarser = family.point("cifar", **values | {key: shorter}).expand()
                    assert coarser.digest != network.digest, (key, value)


def test_metaparameters_named_like_options_can_be_set():
    deep, plain = (explorer.describe("efficientnet", "cifar", levels=2, **more) for more in ({"depth": 2.0}, {}))
    assert deep["params"].iloc[-1] > plain["params"].iloc[-1]
    assert len(plain) > len(explorer.describe("efficientnet", "cifar"))


def test_a_bar_shows_progress_where_someone_sees_it(monkeypatch, capsys):
    from types import SimpleNamespace

    from explorer.sweeping import bar

    monkeypatch.setattr(bar, "is_seen", lambda: True)
    with bar.Bar.following(None, None) as watcher:
        watcher.begin(SimpleNamespace(name="mine"), [None, None], [None], 1)
        watcher.ended(None)
    shown = capsys.readouterr().err
    assert "mine" in shown
    assert "2/3" in shown
    with bar.Bar.following(None, False) as watcher:
        assert watcher is None
    other = object()
    with bar.Bar.following(other, None) as watcher:
        assert watcher is other
