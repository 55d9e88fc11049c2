"""Count the multiply-adds of any torch module with two independent counters, whose totals must agree.

Torch counts the matrix products and convolutions of the exported graph. fvcore counts the operators of a traced one.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn
from torch.utils.flop_counter import flop_registry

from explorer.errors import ExplorerError, unknown
from explorer.files import user_path
from explorer.networks.quantities import units
from explorer.networks.verification import COUNTED, UNKNOWN, Count, fvcore_count, without_products

WHOLE = "(model)"
"""Name of the module itself in tables."""


@dataclass(frozen=True)
class ModuleCount:
    """The cost of a torch module for one example.

    Attributes:
        layers: One row for each module that has parameters or multiply-adds of its own: `layer` (dotted path),
            `module` (its class), `params` and `macs` by torch, and the multiply-adds by `fvcore`.
        params: Number of parameters, each counted once.
        macs: Multiply-adds of convolutions, linear layers and matrix products; None if the counters disagree.
        mismatches: If the totals disagree, a sentence for each module where they do; and one for each operator that
            either of them does not know.
    """

    layers: pd.DataFrame
    params: int
    macs: int | None
    mismatches: tuple[str, ...]


def count(module: nn.Module | str, *inputs: Sequence[int]) -> ModuleCount:
    """Count a torch module with two independent counters.

    Args:
        module: The module, or where to find it: `path/to/file.py:name` or `package.module:name`. The name is a module,
            or a function or class that returns one without arguments.
        inputs: The dimensions of each input without the batch, such as `(3, 224, 224)`.

    Raises:
        ExplorerError: The module does not exist, rejects the inputs, or cannot be exported or traced.
    """
    if isinstance(module, str):
        module = _loaded(module)
    shapes = [tuple(int(side) for side in sides) for sides in inputs]
    was_training = module.training
    try:
        module.eval()
        by_torch, unknown_to_torch = _exported(module, shapes)
        by_fvcore = _traced(module, shapes)
    finally:
        module.train(was_training)
    own = _own(by_fvcore.modules)
    mismatches = [f"{name}: {UNKNOWN}" for name in sorted({*unknown_to_torch, *by_fvcore.unknown})]
    total, total_by_fvcore = (sum(sum(found.values()) for found in side.values()) for side in (by_torch, own))
    apart = [path for path in {**by_torch, **own} if _sum(by_torch, path) != _sum(own, path)]
    if total != total_by_fvcore:
        mismatches += [
            f"{path or WHOLE}: torch counts {_text(by_torch.get(path))}, fvcore {_text(own.get(path))}"
            for path in apart
        ]
    params = sum(parameter.numel() for parameter in module.parameters())
    return ModuleCount(
        layers=_layers(module, by_torch, own),
        params=params,
        macs=None if mismatches else total,
        mismatches=tuple(mismatches),
    )


def _own(modules: Mapping[str, Mapping[str, int]]) -> dict[str, Counter[str]]:
    """Return the counts of each module without its parts, which fvcore includes."""
    whole = {path: _counted(found) for path, found in modules.items()}
    own = {path: Counter(found) for path, found in whole.items()}
    for path, found in whole.items():
        parent = path
        while parent:
            parent = parent.rpartition(".")[0]
            if parent in own:
                own[parent].subtract(found)
                break
    return own


def _layers(
    module: nn.Module, by_torch: Mapping[str, Counter[str]], by_fvcore: Mapping[str, Counter[str]]
) -> pd.DataFrame:
    rows = []
    for path, part in module.named_modules():
        params = sum(parameter.numel() for parameter in part.parameters(recurse=False))
        row = (path or WHOLE, type(part).__name__, params, _sum(by_torch, path), _sum(by_fvcore, path))
        if any(row[2:]):
            rows.append(row)
    frame = pd.DataFrame(rows, columns=["layer", "module", "params", "macs", "fvcore"])
    frame.attrs["units"] = units(map(str, frame.columns))
    return frame


def _sum(side: Mapping[str, Counter[str]], path: str) -> int:
    return sum(side.get(path, Counter()).values())


def _text(found: Counter[str] | None) -> str:
    """Return counts with their operators: `1,024 (bmm)`."""
    parts = [f"{amount:,} ({operator})" for operator, amount in (found or Counter()).items() if amount]
    return " and ".join(parts) or "none"


def _counted(operators: Mapping[str, int]) -> dict[str, int]:
    return {name: amount for name, amount in operators.items() if name in COUNTED}


def _exported(module: nn.Module, shapes: Sequence[tuple[int, ...]]) -> tuple[dict[str, Counter[str]], set[str]]:
    """Return torch's multiply-adds by operator for each module's own operators, and the operators it does not know."""
    try:
        examples = tuple(torch.zeros(1, *shape) for shape in shapes)
        with torch.inference_mode():
            module(*examples)
    except Exception as error:  # noqa: BLE001 (of a foreign module)
        sizes = " and ".join("x".join(map(str, shape)) for shape in shapes)
        raise ExplorerError(f"{type(module).__name__} does not accept an input of {sizes}: {_line(error)}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program: Any = torch.export.export(module, examples, strict=False).run_decompositions()
    except Exception as error:  # noqa: BLE001 (of a foreign module)
        raise ExplorerError(f"{type(module).__name__} cannot be exported: {_line(error)}") from None
    found: dict[str, Counter[str]] = {}
    unknown_to_torch = set()
    for node in program.graph.nodes:
        packet = getattr(node.target, "_overloadpacket", None)
        if node.op != "call_function" or packet is None:
            continue
        name = str(packet).replace(".", "::")
        if packet in flop_registry:
            arguments = torch.utils._pytree.tree_map(_value, (node.args, node.kwargs))  # noqa: SLF001 (no public one)
            flops = flop_registry[packet](*arguments[0], **arguments[1], out_val=node.meta["val"])
            stack = list(node.meta.get("nn_module_stack", {}).values())
            path = stack[-1][0] if stack else ""
            found.setdefault(path, Counter())[name.removeprefix("aten::")] += flops // 2  # torch counts both
        elif not without_products(name):
            unknown_to_torch.add(name)
    return found, unknown_to_torch


def _value(argument: object) -> object:
    return argument.meta["val"] if isinstance(argument, torch.fx.Node) else argument


def _traced(module: nn.Module, shapes: Sequence[tuple[int, ...]]) -> Count:
    """Return fvcore's counts, with the products of attention, which torch's fused operator would hide."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        return fvcore_count(module, *shapes)
    except Exception as error:  # noqa: BLE001 (of a foreign module)
        raise ExplorerError(f"{type(module).__name__} cannot be traced by fvcore: {_line(error)}") from None
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _loaded(target: str) -> nn.Module:
    """Return the module that a target names."""
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise ExplorerError(f"{target}: must be a file or module and a name, such as networks.py:build")
    found = _imported(place)
    if not hasattr(found, name):
        raise unknown(f"name in {place}", name, [each for each in vars(found) if not each.startswith("_")])
    made = getattr(found, name)
    if not isinstance(made, nn.Module) and callable(made):
        made = _called(made, target)
    if not isinstance(made, nn.Module):
        raise ExplorerError(f"{target}: must be or return a torch.nn.Module, not {type(made).__name__}")
    return made


def _called(factory: Callable[[], object], target: str) -> object:
    try:
        return factory()
    except Exception as error:  # noqa: BLE001 (of foreign code)
        raise ExplorerError(f"{target}: {_line(error)}") from None


def _imported(place: str) -> object:
    path = user_path(place)
    if path.suffix == ".py":
        if not path.is_file():
            raise ExplorerError(f"{place} does not exist")
        name = f"_counted_{path.stem}"  # does not hide an installed package
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # The file may import its neighbours, and torch.export looks its classes up.
        sys.path.insert(0, str(Path(path).resolve().parent))
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:  # noqa: BLE001 (of foreign code)
            del sys.modules[name]
            raise ExplorerError(f"{place}: {_line(error)}") from None
        return module
    try:
        return importlib.import_module(place)
    except Exception as error:  # noqa: BLE001 (of foreign code)
        raise ExplorerError(f"{place}: {_line(error)}") from None


def _line(error: Exception) -> str:
    """Return the type and first line of an error."""
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])
