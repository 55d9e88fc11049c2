"""The commands `price` and `fit`: tables, files and error messages."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet
from torch import nn

from explorer.__main__ import main
from explorer.commands.settings import read_settings
from explorer.pricing.prices import price
from explorer.spaces import all_spaces, find_space

GRID = ["preset=cifar", "base_e=8..64..8", "squeeze_ratio=0.1..0.5..0.1", "bypass=[none,simple]"]


def run(capsys, *arguments):
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_price_prints_the_head_and_how_many_more(capsys):
    code, out, _ = run(
        capsys, "price", "squeezenet", *GRID, "--where", "macs < 2e6", "--sort", "-params", "--limit", "3"
    )
    assert code == 0
    assert re.search(r"^80 points: (\d+) kept; [\d.]+ s, [\d,]+ points a second$", out, re.MULTILINE)
    kept = int(re.search(r"(\d+) kept", out)[1])
    assert f"... and {kept - 3} more" in out
    rows = re.findall(r"^ +(\d+) +([\d.]+) +(\w+) +([\d,]+) +([\d,]+)", out, re.MULTILINE)
    params = [int(row[3].replace(",", "")) for row in rows]
    assert len(rows) == 3
    assert params == sorted(params, reverse=True)
    assert all(int(row[4].replace(",", "")) < 2e6 for row in rows)


def test_price_counts_the_infeasible_and_names_the_reason(capsys):
    code, out, _ = run(capsys, "price", "squeezenet", "pools=[[1,4],[1,12]]", "base_e=8..9")
    assert code == 0
    assert (
        "4 points: 2 infeasible (pools: a pool after layer 12, but the last fire module is layer 9: 2), 2 kept" in out
    )
    _, out, _ = run(capsys, "price", "squeezenet", "pools=[[1,4],[1,12]]", "base_e=8..9", "--infeasible")
    assert out.count("a pool after layer 12") == 3


def test_one_point(capsys):
    code, out, _ = run(capsys, "price", "squeezenet", "preset=v1_0")
    assert code == 0
    assert "1 point: 1 kept" in out
    assert "1,248,424" in out


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_files_match_prices_from_python(capsys, tmp_path, suffix):
    path = tmp_path / f"points.{suffix}"
    path.write_text("something older")
    quantities = ["params", "macs", "peak_activation_bytes"]
    options = ["--columns", ",".join(quantities), "--out", str(path)]
    code, out, _ = run(
        capsys, "price", "squeezenet", *GRID, "fires=4", "batch_norm=[true,false]", "pools=[1,3]", *options
    )
    assert code == 0
    assert str(path) in out
    found = pd.read_parquet(path) if suffix == "parquet" else pd.read_csv(path)
    assert len(found) == 160
    assert found["pools"].eq("1-3").all()
    columns = {key: found[key].tolist() for key in ("base_e", "squeeze_ratio", "bypass", "batch_norm")}
    again = price("squeezenet", "cifar", columns, quantities=quantities, fires=4, pools=(1, 3))
    for quantity in quantities:
        assert found[quantity].tolist() == again[quantity].tolist()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    if suffix == "parquet":
        assert parquet.read_schema(path).metadata[b"space"] == b"squeezenet"


def test_infeasible_points_are_written_on_request(capsys, tmp_path):
    path = tmp_path / "points.parquet"
    settings = ["preset=cifar", "fires=1..4", "pools=[1,4]"]
    run(capsys, "price", "squeezenet", *settings, "--out", str(path), "--infeasible")
    found = pd.read_parquet(path)
    assert found["params"].isna().tolist() == [True, True, False, False]
    assert found["infeasible"].tolist()[0] == "pools: a pool after layer 4, but the last fire module is layer 2"
    run(capsys, "price", "squeezenet", *settings, "--out", str(path))
    assert pd.read_parquet(path)["fires"].tolist() == [3, 4]


def test_files_do_not_depend_on_blocks(capsys, tmp_path, monkeypatch):
    from explorer.pricing import enumeration

    whole, parts = tmp_path / "whole.csv", tmp_path / "parts.csv"
    blocks = enumeration.Enumeration.blocks
    options = ["--where", "params < 1e5", "--out"]
    run(capsys, "price", "squeezenet", *GRID, *options, str(whole))
    monkeypatch.setattr(enumeration.Enumeration, "blocks", lambda self: blocks(self, 7))
    run(capsys, "price", "squeezenet", *GRID, *options, str(parts))
    assert whole.read_text() == parts.read_text()


def test_simplex_and_pareto(capsys, tmp_path):
    path = tmp_path / "points.parquet"
    settings = ["efficientnet", "phi=1", "--simplex", "--steps", "8", "--out", str(path)]
    code, out, _ = run(capsys, "price", *settings, "--columns", "params,macs,nominal_ratio")
    assert code == 0
    assert "45 points: 45 kept" in out
    everything = pd.read_parquet(path)
    product = everything["alpha"] * everything["beta"] ** 2 * everything["gamma"] ** 2
    assert np.abs(product / 2 - 1).max() < 1e-12
    assert everything["nominal_ratio"].between(1.99999, 2.00001).all()
    run(capsys, "price", *settings, "--pareto", "depth_scale")
    fronts = pd.read_parquet(path)
    assert 9 <= len(fronts) < 45
    cheapest = everything.merge(fronts[["alpha", "beta", "gamma", "depth_scale"]]).groupby("depth_scale")["macs"].min()
    assert cheapest.tolist() == fronts.groupby("depth_scale")["macs"].min().tolist()


def test_fit_all_fills_a_microcontroller_with_every_space(capsys):
    limits = ["--flash", "40k", "--ram", "20k"]
    assert main(["fit", "all", *limits, "--sample", "2000", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["records"]
    assert {row["space"] for row in found} >= {"squeezenet", "vit", "mobilenet_v2", "shufflenet_v2"}
    fitting = [row for row in found if row["params"] is not None]
    assert len(fitting) > 5
    for row in fitting:
        settings = dict(read_settings(row["point"].split())[1])
        network = find_space(row["space"]).point("cifar", **settings).expand()
        assert (network.cost.params, network.flash_bytes, network.ram_bytes) == (
            row["params"],
            row["flash_bytes"],
            row["ram_bytes"],
        )
        assert network.flash_bytes <= 40_000
        assert network.ram_bytes <= 20_000
    for row in found:
        assert row in fitting or row["point"].startswith("none; the closest has flash_bytes ")
    assert main(["fit", "all", *limits, "--sample", "2000"]) == 0
    assert f"{len(fitting)} of {len(found)} spaces have a point within" in capsys.readouterr().out


@pytest.mark.parametrize("space", all_spaces().values())
def test_int8_sizes_count_a_byte_a_weight(space):
    """Weights are matrices and filters; biases and norms have 4 bytes."""
    network = space.point("cifar" if "cifar" in space.presets else None).expand()
    layers = [module for module in network.build().modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    weights = sum(layer.weight.numel() for layer in layers)
    assert network.flash_bytes == weights + 4 * (network.cost.params - weights)
    assert 4 * network.ram_bytes == network.peak_activation_bytes


def test_fit_shows_the_share_of_each_limit(capsys):
    limits = ["--params", "200k", "--macs", "4M", "--sample", "20000", "--count", "4"]
    code, out, _ = run(capsys, "fit", "squeezenet", "preset=cifar", *limits)
    assert code == 0
    assert "squeezenet: 4 points within params <= 200,000, FLOPs <= 4,000,000" in out
    shares = [float(share) for share in re.findall(r"([\d.]+)%", out)]
    assert len(shares) == 8
    assert all(90 < share <= 100 for share in shares)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("price squeezenet base_e=8...512", "squeezenet: base_e = 8...512: a range is low..high"),
        ("price squeezenet base_e=512..8", "the low end 512 is above the high end 8"),
        ("price squeezenet squeeze_ratio=0.1..0.5", "real numbers need a step"),
        ("price squeezenet squeez_ratio=0.5", "did you mean 'squeeze_ratio'"),
        ("price squeezenet base_e=8 base_e=9", "base_e is given twice"),
        ("price squeezenet base_e=1..1000000 incr_e=0..1000000", "points are too many (at most 1,000,000,000)"),
        ("price squeezenet --where parms<5", "unknown name in --where 'parms'; did you mean 'params'?"),
        ("price squeezenet --where params<", "cannot be read"),
        (
            "price squeezenet --where params<5",
            "squeezenet: no point meets --where 'params<5'; params is 1,248,424",
        ),
        ("price squeezenet input_size=1..4", "none of the 4 points is feasible: conv1.conv: the feature map would"),
        ("price squeezenet --pareto parms", "unknown name in --pareto 'parms'; did you mean 'params'?"),
        ("price squeezenet --sort --limit", "unknown name in --sort"),
        ("price squeezenet --columns parms", "unknown quantity in --columns 'parms'; did you mean 'params'?"),
        ("price squeezenet --simplex", "--simplex: squeezenet has no scaling factors with a fixed product"),
        ("price squeezenet --steps 4", "--steps 4: needs --simplex"),
        ("price efficientnet --simplex", "alpha, beta, gamma have no effect"),
        ("price efficientnet --simplex alpha=1.2", "alpha = 1.2: already set by --simplex"),
        ("price squeezenet --infeasible --sort params", "leave out --pareto and --sort"),
        ("price squeezenet --out points.txt", "points.txt: the file name should end in .parquet or .csv"),
        ("price squeezenet --out no/points.csv", "no/points.csv: cannot be written: folder no does not exist"),
        ("price squeezenet --where params<5 --out points.csv", "no point meets --where 'params<5'"),
        ("price squeezenet --sample 0", "Invalid value for '--sample'"),
        ("fit squeezenet", "at least one limit is needed, such as --params 500k or --macs 20M"),
        ("fit squeezenet --params 5x", "'5x': a limit must be a number above 0, such as 500k, 20M, 1.5G or 5e5"),
        ("fit squeezenet base_e=8..16 --params 10", "no point fits params <= 10; the closest one has params 7"),
        ("fit squeezenet base_e=8..x --params 10", "a range is low..high"),
    ],
)
def test_mistakes_are_one_line_and_leave_no_file(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments.split())
    assert code == 2
    assert message in err
    assert err.startswith("explorer: ")
    assert err.count("\n") == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == []
