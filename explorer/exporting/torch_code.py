"""Print a network as Python code that needs only torch.

`Network.source` is a single nested call. Classes that torch lacks are printed before it. Repeated calls become a
function with parameters for the values that differ between them.
"""

from __future__ import annotations

import builtins
import inspect
import keyword
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, repeat
from typing import Any, TypeAlias

from explorer.networks.calls import Call
from explorer.networks.network import Network

WIDTH = 120
FEWEST_CALLS = 3  # minimum number of calls in the body of a function
MOST_PARAMETERS = 8  # with more parameters, a call to a function would be as long as its body
UNNAMED = {"in_channels", "out_channels", "num_features"}  # leading arguments that are clear without names

HEADER = """
from collections import OrderedDict

import torch
from torch import Tensor, nn
"""
RESERVED = {*dir(builtins), *keyword.kwlist, "OrderedDict", "torch", "Tensor", "nn", "build"}

Path: TypeAlias = tuple[str, ...]  # names of arguments, from the outside in
Value: TypeAlias = str | Call
"""An argument of a call: code or another call."""


@dataclass(frozen=True)
class Function:
    """A generated function: its name, its parameters, and the call that it returns."""

    name: str
    parameters: tuple[str, ...]
    body: Call


def code_of(network: Network, opening: str = "", ending: str = "", header: str = HEADER) -> str:
    """Return code that defines `build()`, which makes the untrained network. Weight names match `Network.build`.

    `opening` (a docstring) goes before the imports, and `ending` (more code) goes after `build`. `header` has the
    imports of `HEADER` and any others that `ending` needs.
    """
    sources: dict[str, str] = {}
    root = _code(network.source(), sources)
    defined = re.findall(r"^(?:def )?(\w+)", ending, re.MULTILINE) + re.findall(r"\w+", header)
    functions = _folded(root, RESERVED | sources.keys() | set(defined))
    pieces = [f"{opening}\n{header}", *sources.values(), *map(_definition, functions), ending]
    return "\n\n\n".join(piece.strip() for piece in pieces if piece) + "\n"


def _code(call: Call, sources: dict[str, str]) -> Call:
    """Return the call with values as code, and add the source of classes that torch lacks to `sources`."""
    target = call.target()
    called = target.__name__
    if target.__module__.startswith("torch.nn."):
        called = f"nn.{called}"
    else:
        sources[called] = textwrap.dedent(inspect.getsource(target))
    return _changed(Call(called, call.arguments), repr, lambda inner: _code(inner, sources))


def _changed(call: Call, text: Callable[[Any], str], inner: Callable[[Call], Call]) -> Call:
    """Return the call with its values changed in order: by `inner` if they are calls, otherwise by `text`."""
    values = ((name, inner(each) if isinstance(each, Call) else text(each)) for name, each in call.arguments)
    return Call(call.called, tuple(values))


def _filled(call: Call, texts: Iterator[str]) -> Call:
    """Return the call with all texts replaced in order."""
    return _changed(call, lambda _: next(texts), lambda inner: _filled(inner, texts))


def _replaced(call: Call, calls: Mapping[Call, Call]) -> Call:
    """Return the call with some of the calls in it replaced."""
    return calls.get(call) or _changed(call, str, lambda inner: _replaced(inner, calls))


def _walk(value: Value, path: Path = ()) -> Iterator[tuple[Path, Value]]:
    """Iterate over the value and everything inside it, with paths."""
    yield path, value
    for name, each in value.arguments if isinstance(value, Call) else ():
        yield from _walk(each, (*path, name))


def _folded(root: Call, taken: set[str]) -> list[Function]:
    """Return a function for each repeated call, smallest first, followed by `build`."""
    functions = [Function("build", (), root)]
    refused: set[Call] = set()
    while found := _repeated(functions, refused):
        function, calls = _function(found, taken, {name for function in functions for name in function.parameters})
        if len(function.parameters) > MOST_PARAMETERS:
            refused.add(_skeleton(found[0][1]))
            continue
        taken.add(function.name)
        functions = [function, *(Function(f.name, f.parameters, _replaced(f.body, calls)) for f in functions)]
    return functions


def _repeated(functions: Sequence[Function], refused: set[Call]) -> list[tuple[Path, Call]]:
    """Return all occurrences of the largest repeated call, ignoring its texts; empty if no call repeats."""
    places: dict[Call, list[tuple[Path, Call]]] = {}
    for function in functions:
        for path, value in _walk(function.body):
            # Keep a list of layers as a list.
            if path and isinstance(value, Call) and value.called != "nn.Sequential":
                places.setdefault(_skeleton(value), []).append((path, value))
    sizes = {
        skeleton: sum(isinstance(value, Call) for _, value in _walk(skeleton))
        for skeleton, found in places.items()
        if len(found) > 1 and skeleton not in refused
    }
    largest = max(sizes, key=lambda skeleton: sizes[skeleton], default=None)
    return places[largest] if largest and sizes[largest] >= FEWEST_CALLS else []


def _skeleton(call: Call) -> Call:
    """Return the call without its texts. One function can replace all calls with the same skeleton."""
    return _filled(call, repeat(""))


def _function(
    found: Sequence[tuple[Path, Call]], taken: set[str], parameters: set[str]
) -> tuple[Function, dict[Call, Call]]:
    """Return a function for calls with the same skeleton, and for each of them the call that replaces it."""
    first = found[0][1]
    rows = [[value for _, value in _walk(call) if isinstance(value, str)] for _, call in found]
    paths = [path for path, value in _walk(first) if isinstance(value, str)]
    columns: dict[tuple[str, ...], list[int]] = {}  # texts that differ between calls, and their places
    for place, column in enumerate(zip(*rows, strict=True)):
        # Parameters of different functions are different even if their names are equal.
        if len(set(column)) > 1 or (column[0].isidentifier() and column[0] not in RESERVED):
            columns.setdefault(column, []).append(place)
    names = _parameters([paths[places[0]] for places in columns.values()], taken)
    texts = rows[0].copy()
    for name, places in zip(names, columns.values(), strict=True):
        for place in places:
            texts[place] = name
    function = Function(_name(found, taken | parameters | {*names}), tuple(names), _filled(first, iter(texts)))
    return function, {
        call: Call(function.name, tuple((name, column[row]) for name, column in zip(names, columns, strict=True)))
        for row, (_, call) in enumerate(found)
    }


def _parameters(paths: Sequence[Path], taken: set[str]) -> list[str]:
    """Name each parameter after the argument at its first path, prefixed with a step if several share that name."""
    names: list[str] = []
    for path in paths:
        name = path[-1]
        alike = {step for other in paths if other != path and other[-1] == path[-1] for step in other}
        if alike:
            step = next((step for step in path if step not in alike), "_".join(path[:-1]))
            name = f"{name}_{step}" if step.isdigit() else f"{step}_{name.removesuffix('_channels')}"
        while name in taken or name in names:
            name += "_"
        names.append(name)
    return names


def _name(found: Sequence[tuple[Path, Call]], taken: set[str]) -> str:
    """Name a function after the places where it is used, without numbers, or otherwise after its parts."""
    places = {
        re.sub(r"\d+$", "", next((step for step in reversed(path) if not step.isdigit()), "")) for path, _ in found
    }
    name = places.pop() if len(places) == 1 else "_".join(name for name, _ in found[0][1].arguments)
    name = name if name.isidentifier() else "block"
    while name in taken:
        name += "_"
    return name


def _definition(function: Function) -> str:
    signature = Call(function.name, tuple((str(place), name) for place, name in enumerate(function.parameters)))
    lines = _lines("def ", signature, "", ":")
    if function.name == "build":
        lines = [
            "def build() -> nn.Module:",
            '    """The network without its weights: images (N, C, H, W) to logits (N, classes)."""',
        ]
    return "\n".join([*lines, *_lines("return ", function.body, "    ", "")])


def _lines(before: str, value: Value, indent: str, end: str = ",") -> list[str]:
    """Format a value on one line if it fits, else its texts on few lines, or each argument on its own lines."""
    line = f"{indent}{before}{_inline(value)}{end}"
    if len(line) <= WIDTH or isinstance(value, str):
        return [line]
    inner = indent + "    "
    arguments = list(_arguments(value))
    if all(isinstance(each, str) for _, each in arguments):
        text = ", ".join(name + _inline(each) for name, each in arguments) + ","
        inside = textwrap.wrap(text, WIDTH, initial_indent=inner, subsequent_indent=inner)
    else:
        inside = [line for name, each in arguments for line in _lines(name, each, inner)]
    return [f"{indent}{before}{value.called}(", *inside, f"{indent}){end}"]


def _inline(value: Value) -> str:
    if isinstance(value, str):
        return value
    return f"{value.called}({', '.join(name + _inline(each) for name, each in _arguments(value))})"


def _arguments(call: Call) -> Iterator[tuple[str, Value]]:
    """Return the text before each argument, and the argument. Consecutive equal arguments become a loop."""
    leading = True
    for (name, value), alike in groupby((re.sub(r"^\d+$", "", name), value) for name, value in call.arguments):
        times = len(list(alike))
        leading = leading and (not name or name in UNNAMED)
        yield "" if leading else f"{name}=", value if times == 1 else f"*[{_inline(value)} for _ in range({times})]"
