"""What the docs state is what reports, certificates and the code state, and the page of the API is current."""

import html
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from explorer.study.files import load_study

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "reports" / "examples"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
REMAKE = """python -m cogapp -r -P -I docs -p "from passages import *" README.md docs/*.md   # or: make docs"""


def test_passages_made_from_reports_certificates_and_docstrings_are_current():
    pages = [str(page.relative_to(ROOT)) for page in PAGES]
    check = ["--check", "--diff", "--verbosity=1", "-P", "-I", "docs", "-p", "from passages import *", *pages]
    found = subprocess.run(
        [sys.executable, "-m", "cogapp", *check], check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert found.returncode == 0, f"remake them with\n{REMAKE}\n{found.stdout}{found.stderr}"


def test_reports_hold_the_claims_that_the_docs_quote():
    quoted = {name for page in PAGES for name in re.findall(r'\[\[\[cog claims\("([^"]+)"\)', page.read_text())}
    assert quoted
    for name in quoted:
        page = html.unescape((EXAMPLES / name / "report.html").read_text())
        for claim in load_study(name.partition("@")[0]).claims:
            assert claim.claim in page


def test_what_the_readme_states_holds_on_another_machine():
    """The differences that it speaks of are several times as wide as their intervals, taken as independent."""
    readme = (ROOT / "README.md").read_text()
    assert "eight SqueezeNets with\nthree seeds" in readme
    study = load_study("squeeze_ratio")
    assert (study.size, study.seeds) == (8, 3)
    assert "several times wider than its interval" in readme
    squeezed = pd.read_parquet(EXAMPLES / "squeeze_ratio@cifar10" / "points.parquet").sort_values("squeeze_ratio")
    assert ratio(squeezed.iloc[-1], squeezed.iloc[0]) > 2
    summary = json.loads((EXAMPLES / "compound_scaling@cifar10" / "summary.json").read_text())
    assert summary["verdicts"][0].startswith("refuted")
    scaled = pd.read_parquet(EXAMPLES / "compound_scaling@cifar10" / "points.parquet")
    scaled = scaled[scaled["macs"] > scaled["macs"].min()]
    alone, together = (scaled[scaled["series"] == name].sort_values("macs") for name in ("resolution only", "compound"))
    # Trained on two kinds of processors, this was 1.3 both times.
    assert max(ratio(*pair) for pair in zip(alone.iloc, together.iloc, strict=True)) > 1.2


def ratio(one, other):
    """A difference of accuracies over half the width of its interval."""
    width = np.hypot(one["high"] - one["low"], other["high"] - other["low"])
    return 2 * (one["accuracy"] - other["accuracy"]) / width


def test_efficientnets_need_longer_runs():
    from explorer.certification.model import shipped_certificates
    from explorer.certification.statistics import rankers

    assert "EfficientNets need longer runs" in (ROOT / "README.md").read_text()
    (certificate,) = (one for one in shipped_certificates() if (one.space, one.data) == ("efficientnet", "cifar10"))
    found = rankers(certificate).set_index(["ranker", "factor"])
    assert found.loc[("accuracy", 4), "kendall_low"] > found.loc[("accuracy", 1), "kendall"]


def test_published_counts_in_the_readme_are_what_describe_counts():
    import explorer

    readme = " ".join((ROOT / "README.md").read_text().split())
    v1_0, b7 = explorer.describe("squeezenet", "v1_0").iloc[-1], explorer.describe("efficientnet", "b7").iloc[-1]
    found = f"SqueezeNet v1.0 has {v1_0['params']:,} params, and EfficientNet B7 has {b7['macs']:,} multiply-adds"
    assert found in readme


def test_the_extras_that_the_docs_name_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for page in (ROOT / "README.md", ROOT / "docs" / "faq.md"):
        assert set(re.findall(r'"\.\[(\w+)\]"', page.read_text())) == extras.keys()


def test_the_citation_file_is_valid():
    """What the schema of version 1.2.0 asks for, and the version that is cited."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited.keys() >= {"cff-version", "message", "title", "authors"}
    assert (cited["cff-version"], cited["type"], cited["license"]) == ("1.2.0", "software", "MIT")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert cited["version"] == project["version"]
    persons = {"family-names", "given-names"}
    for work in (cited, *cited["references"]):
        assert work["title"]
        assert work["type"] in {"software", "article", "conference-paper"}
        assert all(author.keys() in (persons, {"name"}) for author in work["authors"])
    papers = [one["identifiers"][0]["value"] for one in cited["references"]]
    readme = (ROOT / "README.md").read_text()
    assert papers
    assert all(paper in readme for paper in papers)
