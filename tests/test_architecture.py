"""The layers of the package: imports point downwards only, and reports need neither torch nor Optuna."""

import ast
import subprocess
import sys
from pathlib import Path

import explorer

PACKAGE = Path(explorer.__file__).parent

# From the top; a module imports from lower layers only.
LAYERS = [
    ["__main__"],
    ["cli"],
    ["commands"],
    ["api", "progress", "estimate", "console"],
    ["report", "certifying", "latency"],
    ["sweeping", "dashboard", "fitting", "price_files", "selection", "export"],
    ["drawing", "engine", "publish"],
    ["certification"],
    ["analysis", "ledger", "population"],
    ["certificate"],
    ["record", "plan", "pricing", "training", "verification"],
    ["study_files", "run", "batches", "memory"],
    ["study", "enumeration"],
    ["recipe", "data", "spaces", "claims"],
    ["space"],
    ["network"],
    ["layers"],
    ["simplex", "files"],
    ["arrays", "errors", "machine", "modules", "source_state", "tables"],
]
LEVEL = {name: level for level, layer in enumerate(LAYERS) for name in layer}


def module_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "explorer":
            names = node.module.split(".")[1:2] or [alias.name for alias in node.names]
            yield from names


def test_every_module_has_a_layer():
    modules = {module_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__", "certificates"}
    assert modules == LEVEL.keys()


def test_imports_point_downwards():
    for path in PACKAGE.rglob("*.py"):
        name = module_of(path)
        if name == "__init__":
            continue
        for other in imports(path):
            if other == name:
                continue
            assert LEVEL[other] > LEVEL[name], f"{name} imports {other}"


def test_torch_is_imported_at_the_top_only_where_it_is_the_subject():
    allowed = {"training", "batches", "memory", "modules", "verification", "torch_code", "bundle"}
    for path in PACKAGE.rglob("*.py"):
        heads = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {getattr(node, "module", None) or node.names[0].name for node in heads}
        if any(name.split(".")[0] == "torch" for name in names):
            assert path.stem in allowed


def test_reports_and_pricing_need_no_torch_and_no_optuna():
    code = (
        "import sys\n"
        "import explorer.report.study, explorer.drawing.plots, explorer.ledger, explorer.pricing\n"
        "explorer.pricing.describe('squeezenet')\n"
        "heavy = {'torch', 'optuna', 'distributed', 'fvcore'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_only_an_export_can_read_test_images():
    """Nothing else in the package names their reader, so what trains and compares points cannot come by them."""
    for path in PACKAGE.rglob("*.py"):
        if "test_part" in path.read_text() and path.name not in {"test_part.py", "cifar10.py"}:
            assert path.stem in {"bundle", "exports"}, path
    code = (
        "import sys\n"
        "import explorer.sweeping, explorer.certifying, explorer.training, explorer.fitting, explorer.api\n"
        "assert 'explorer.data.test_part' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
