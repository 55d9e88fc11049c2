"""The rooms of the package: imports point downwards only, and reports need neither torch nor Optuna."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import explorer
from explorer.spaces import all_spaces

PACKAGE = Path(explorer.__file__).parent

# From the top; a room imports from rooms below it only. Rooms on one line do not know each other.
FLOORS = [
    ["__main__"],
    ["commands"],
    ["api"],
    ["reporting"],
    ["exporting"],
    ["drawing"],
    ["certification", "searching"],
    ["sweeping"],
    ["analysis"],
    ["storage"],
    ["study"],
    ["training", "pricing"],
    ["spaces", "data", "compression"],
    ["networks"],
    ["files", "machine", "plugins"],
    ["cgroups"],
    ["errors"],
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def room_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path):
    """The rooms that a file imports from."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "explorer":
            homes = [explorer._HOMES.get(alias.name, f"explorer.{alias.name}") for alias in node.names]
            yield from node.module.split(".")[1:2] or [home.split(".")[1] for home in homes]


def test_every_file_is_in_a_room():
    assert {room_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__"} == FLOOR.keys()


def test_rooms_import_downwards_only():
    for path in PACKAGE.rglob("*.py"):
        room = room_of(path)
        for other in imports(path) if room != "__init__" else ():
            assert other == room or FLOOR[other] > FLOOR[room], f"{path.relative_to(PACKAGE)} imports {other}"


def test_families_are_named_in_their_own_files_only():
    """Except in the help texts of commands, which give examples."""
    spaces = all_spaces().values()
    words = {space.name for space in spaces} | {name for space in spaces for name in space.derived if "_" in name}
    for path in PACKAGE.rglob("*.py"):
        if room_of(path) not in {"spaces", "commands"}:
            text = path.read_text().lower()
            assert not [word for word in words if re.search(rf"\b{word}\b", text)], path


FORM_FILES = ("search", "transfer", "compression")


def test_only_forms_know_which_form_a_study_has():
    study = PACKAGE / "study"
    for path in PACKAGE.rglob("*.py"):
        if path.name not in {"form.py", "forms.py"} and path not in {study / f"{name}.py" for name in FORM_FILES}:
            assert not re.search(
                r"\.vary\b|\.form\.(points|simplex|transfer|compression)|isinstance\(.*\b(Grid|Listed|OnSimplex|Transfers|Compressions)",
                path.read_text(),
            ), path


def test_no_room_shadows_a_public_function():
    assert not FLOOR.keys() & set(explorer.__all__)


def test_commands_parse_and_print():
    """Besides the public functions of `explorer`, they import only a few helpers for text and types."""
    words = {
        "explorer.networks.quantities",
        "explorer.spaces.space.label",
        "explorer.spaces.space.read_value",
        "explorer.sweeping.sweeping.Watcher",
        "explorer.searching.searching.SearchWatcher",
        "explorer.searching.searching.FrontSoFar",
        "explorer.reporting.mistakes.reject_mistakes",
        "explorer.training.limits.duration",
    }
    for path in (PACKAGE / "commands").glob("*.py"):
        tree = ast.parse(path.read_text())
        for block in [node for node in ast.walk(tree) if isinstance(node, ast.If)]:
            if getattr(block.test, "id", "") == "TYPE_CHECKING":
                block.body = [ast.Pass()]
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "explorer":
                if node.module == "explorer":
                    assert {alias.name for alias in node.names} <= set(explorer.__all__), path.name
                elif node.module.split(".")[1] not in {"commands", "errors"}:
                    assert {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)} & words, path.name


def test_torch_is_imported_at_the_top_only_where_it_is_the_subject():
    allowed = {
        "trainer",
        "batches",
        "memory",
        "modules",
        "verification",
        "counting",
        "zero_cost",
        "torch_code",
        "bundle",
        "transfer",
        "transferring",
        "constraints",
        "compressing",
        "int8",
        "features",
    }
    for path in PACKAGE.rglob("*.py"):
        heads = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {getattr(node, "module", None) or node.names[0].name for node in heads}
        if any(name.split(".")[0] == "torch" for name in names):
            assert path.stem in allowed


def test_reports_and_pricing_need_no_torch_and_no_optuna():
    code = (
        "import sys\n"
        "import explorer.reporting.study, explorer.drawing.plots, explorer.storage.ledger, explorer.pricing.prices\n"
        "explorer.pricing.prices.describe('squeezenet')\n"
        "heavy = {'torch', 'optuna', 'distributed', 'fvcore'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_only_an_export_can_read_test_images():
    """No other module imports their reader, so training and comparisons cannot use them."""
    for path in PACKAGE.rglob("*.py"):
        if "import explorer.data.held_out" in path.read_text() or "from explorer.data.held_out" in path.read_text():
            assert path.stem in {"bundle", "export"}, path
    code = (
        "import sys\n"
        "import explorer.sweeping.sweeping, explorer.certification.making, explorer.training.trainer\n"
        "import explorer.pricing.fitting, explorer.api.certificates, explorer.api.searches, explorer.api.sweeps\n"
        "assert 'explorer.data.held_out' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
