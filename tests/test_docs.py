"""Documentation that cannot drift: its commands exist, its files are there, its Python runs."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from explorer.study.files import builtin_studies, load_study

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "reports" / "examples"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


def commands():
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words[:3] == ["python", "-m", "explorer"]:
                    yield words[3:]


def test_every_command_is_in_the_readme_and_every_option_exists():
    from typer.main import get_command

    from explorer.commands.cli import application
    from explorer.commands.prices import option_name

    known = get_command(application()).commands
    shown = list(commands())
    assert {words[0] for words in shown} == known.keys()
    for words in shown:
        options = {option for parameter in known[words[0]].params for option in parameter.opts}
        typed = [word.removeprefix("--") for word in words if word.startswith("--")]
        # Options of `fit` may be typed as aliases.
        assert {f"--{option_name(word) if words[0] == 'fit' else word}" for word in typed} <= options, words
        if words[0] == "sweep":
            assert words[1] in builtin_studies() or words[1] in {"mine.toml", "filters.toml", "slopes.toml"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_named_in_a_sentence_exist(page):
    from typer.main import get_command

    from explorer.commands.cli import application

    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    named = re.findall(r"`(?:python -m )?explorer ([a-z]+)\b", prose)
    assert set(named) <= get_command(application()).commands.keys()


def anchors(page):
    """What a link may lead to on a page: its headings, as GitHub writes them."""
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text()
    defined = dict(re.findall(r"^\[([^\]]+)\]: (\S+)$", text, flags=re.MULTILINE))
    assert set(re.findall(r"\]\[([^\]]+)\]", text)) == defined.keys()
    links = [*re.findall(r"\]\(([^)]+)\)", text), *defined.values()]
    for target, _, anchor in (link.partition("#") for link in links):
        if target.startswith("http"):
            continue
        found = page.parent / target if target else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_prose_stops_at_120_columns(page):
    links = re.compile(r"\||!?\[[^\]]+\](: |\()|<!-- ")  # tables, links on lines of their own, calls of cog
    assert [line for line in page.read_text().splitlines() if len(line) > 120 and not links.match(line)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    for name in re.findall(r"`((?:explorer|tests|benchmarks|studies|docs)/[\w./]+)`", page.read_text()):
        assert (ROOT / name).exists(), name


def test_every_example_report_is_in_the_gallery():
    page = (ROOT / "docs" / "gallery.md").read_text()
    names = {path.parent.name for path in EXAMPLES.glob("*/report.html")}
    assert names == set(re.findall(r"reports/examples/([^/]+)/report\.html", page))


def test_the_readme_s_python_runs(monkeypatch):
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    import explorer

    (code,) = blocks(ROOT / "README.md", "python")
    swept = []
    points = pd.read_parquet(EXAMPLES / "squeeze_ratio@cifar10" / "points.parquet")
    monkeypatch.setattr(explorer, "sweep", lambda name: swept.append(name) or points, raising=False)
    with mpl.rc_context({"backend": "agg"}):
        exec(compile(code, "README.md", "exec"), {})  # noqa: S102
        (axes,) = plt.gcf().axes
        assert len([text for text in axes.texts if text.get_text()]) == len(points)
        plt.close("all")
    assert swept == ["squeeze_ratio"]


def test_the_study_file_of_the_docs_is_valid(tmp_path):
    (text,) = [block for block in blocks(ROOT / "docs" / "extending.md", "toml") if "[constraints]" in block]
    (tmp_path / "mine.toml").write_text(text)
    assert load_study(tmp_path / "mine.toml").size == 4


def test_the_form_of_the_docs_gives_its_points(tmp_path, monkeypatch):
    from explorer.study import forms

    form = blocks(ROOT / "docs" / "extending.md", "python")[-1]
    exec(compile(form, "forms.py", "exec", dont_inherit=True), vars_of := dict(vars(forms)))  # noqa: S102
    monkeypatch.setitem(forms.FORMS, "span", vars_of["Span"])
    text = 'title = "t"\nspace = "squeezenet"\npreset = "cifar"\n[span]\nfreq = [1, 4]\n'
    (tmp_path / "mine.toml").write_text(text)
    assert load_study(tmp_path / "mine.toml").form.size == 4


def test_nothing_names_a_machine():
    """Committed reports and documents hold no absolute path of the computer that they were made on."""
    pages = [*PAGES, *EXAMPLES.rglob("*.html"), *EXAMPLES.rglob("*.csv")]
    for page in pages:
        found = re.findall(r"(?<![\w.:/])/(?:home|root|tmp|work|Users|var)/\S+", page.read_text())
        assert not found, (page, found)
