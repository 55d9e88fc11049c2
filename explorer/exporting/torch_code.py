"""A torch module as Python that builds it with nothing but torch.

The tree of the built module is walked: torch's own classes are written by their constructor's arguments, which their instances
keep; classes of ours that are only faster, by the class that they name in `plain`; all others by their own source, which is put
before. What is repeated becomes a function, whose parameters are the values that differ between its places.
"""

from __future__ import annotations

import builtins
import inspect
import keyword
import math
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Any, TypeAlias

from torch import nn

from explorer.errors import ExplorerError

WIDTH = 120
MOST_PARAMETERS = 8
"""Of a function for what is repeated: with more, its calls would tell no more than what they stand for."""

STANDARD = {"math": "import math", "OrderedDict": "from collections import OrderedDict"}
CHAIN = '''
def chain(**layers: nn.Module) -> nn.Sequential:
    """Named layers one after another."""
    return nn.Sequential(OrderedDict(layers))
'''
RESERVED = {*STANDARD, "torch", "Tensor", "nn", "functional", "chain", "build", *dir(builtins)}
_SHORT = {"in_channels": "in", "out_channels": "out", "num_features": "features", "kernel_size": "kernel"}

Path: TypeAlias = tuple[str, ...]
Place: TypeAlias = tuple[Path, str]
"""Where an argument stands: the names on the way to its module, and its own."""


@dataclass(frozen=True)
class Argument:
    """An argument of a call: its name, its value and its default as text (None where there is none), and whether it is named there."""

    name: str
    text: str
    default: str | None = None
    named: bool = False

    @property
    def written(self) -> str:
        """How it stands in the call; empty where it is left to its default."""
        if self.text == self.default:
            return ""
        return f"{self.name}={self.text}" if self.named or self.default is not None else self.text


@dataclass(frozen=True)
class Part:
    """A module as code: what is called, with which arguments, and the modules in it by name."""

    called: str
    arguments: tuple[Argument, ...] = ()
    children: tuple[tuple[str, Part], ...] = ()
    in_dict: bool = False  # whether the children go in as one dictionary

    @cached_property
    def size(self) -> int:
        """Number of calls in it."""
        return 1 + sum(child.size for _, child in self.children)

    @cached_property
    def skeleton(self) -> tuple[Any, ...]:
        """All but the values of the arguments: equal for what one function can make."""
        names = tuple(argument.name for argument in self.arguments)
        return self.called, names, tuple((name, child.skeleton) for name, child in self.children)

    def places(self, path: Path = ()) -> Iterator[tuple[Place, Argument]]:
        """The arguments of all calls in it."""
        for argument in self.arguments:
            yield (path, argument.name), argument
        for name, child in self.children:
            yield from child.places((*path, name))

    def walk(self, path: Path = ()) -> Iterator[tuple[Path, Part]]:
        """It and all parts in it, each with the names on the way to it."""
        yield path, self
        for name, child in self.children:
            yield from child.walk((*path, name))

    def filled(self, texts: Mapping[Place, str], path: Path = ()) -> Part:
        """The part with other texts for some of its arguments."""
        return replace(
            self,
            arguments=tuple(
                replace(argument, text=texts.get((path, argument.name), argument.text)) for argument in self.arguments
            ),
            children=tuple((name, child.filled(texts, (*path, name))) for name, child in self.children),
        )

    def replaced(self, skeleton: tuple[Any, ...], calls: Mapping[Part, Part]) -> Part:
        """The part with each part of that skeleton in it replaced by its call."""
        if self.skeleton == skeleton:
            return calls[self]
        return replace(self, children=tuple((name, child.replaced(skeleton, calls)) for name, child in self.children))


@dataclass(frozen=True)
class Function:
    """A function of the code: its name, its parameters with their defaults, and what it returns."""

    name: str
    parameters: tuple[Argument, ...]
    body: Part


def code_of(module: nn.Module, opening: str = "", ending: str = "") -> str:
    """Python that defines `build()`, which makes the module anew, untrained, with the same names of weights.

    `opening` (a docstring) stands before the imports and `ending` (more Python) after `build`. Raises `ExplorerError` where a module
    cannot be written, with its place and the reason.
    """
    sources: dict[str, str] = {}
    root = _part(module, "", sources)
    functions = _folded(root, RESERVED | sources.keys() | set(re.findall(r"^(?:def )?(\w+)", ending, re.MULTILINE)))
    pieces = [*sources.values(), *map(_function, functions)]
    if any(part.called == "chain" for function in functions for _, part in function.body.walk()):
        pieces.insert(0, CHAIN)
    if ending:
        pieces.append(ending)
    text = "\n\n\n".join(piece.strip() for piece in pieces)
    return f"{opening.strip()}\n\n{_imports(text)}\n\n\n{text}\n".lstrip()


def _imports(text: str) -> str:
    """The imports that the code needs, as isort orders them."""

    def used(name: str) -> bool:
        return re.search(rf"(?<!\.)\b{name}\b", text) is not None

    standard = [line for name, line in STANDARD.items() if used(name)]
    ours = ["import torch"] if used("torch") else []
    ours.append(f"from torch import {', '.join(name for name in ('Tensor', 'nn') if used(name))}")
    ours += ["from torch.nn import functional"] if used("functional") else []
    return "\n".join([*standard, *([""] if standard else []), *ours])


def _part(module: nn.Module, path: str, sources: dict[str, str]) -> Part:
    """The module as a part; the source of each class that torch does not have is added to `sources`."""
    class_ = getattr(type(module), "plain", type(module))
    children = tuple(
        (name, _part(child, f"{path}.{name}".strip("."), sources)) for name, child in module.named_children()
    )
    if class_ is nn.Sequential:
        if children and not _quoted(children):
            return Part("chain", children=children)
        numbers = [str(place) for place in range(len(children))]
        return Part("nn.Sequential", children=children, in_dict=[name for name, _ in children] != numbers)
    called = class_.__name__
    if getattr(nn, called, None) is class_:
        called = f"nn.{called}"
    elif sources.setdefault(called, source := _source(class_, path)) != source or called in RESERVED:
        raise _unwritable(path, class_, "another class has its name")
    return _call_of(module, class_, called, children, path)


def _source(class_: type[nn.Module], path: str) -> str:
    try:
        return textwrap.dedent(inspect.getsource(class_))
    except (OSError, TypeError):
        raise _unwritable(path, class_, "its source is not there") from None


def _call_of(
    module: nn.Module, class_: type[nn.Module], called: str, children: tuple[tuple[str, Part], ...], path: str
) -> Part:
    """The call of the class that makes the module: each argument is read off the attribute of its name.

    Modules in it are arguments by their own names, or all of them are one dictionary, or the constructor makes them.
    """
    arguments, given, dictionary = [], [], False
    for name, parameter in inspect.signature(class_).parameters.items():
        required = parameter.default is parameter.empty
        if name in {"device", "dtype"} or parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            continue
        if name in dict(children):
            given.append(name)
        elif hasattr(module, name):
            text = _literal(getattr(module, name), parameter.default)
            if text is None:
                raise _unwritable(path, class_, f"its attribute {name!r} is no plain value")
            named = parameter.kind is parameter.KEYWORD_ONLY
            default = None if required else _literal(parameter.default, parameter.default)
            arguments.append(Argument(name, text, default, named))
        elif required:
            if dictionary or not children:
                raise _unwritable(path, class_, f"it keeps no attribute {name!r} of what it was made with")
            dictionary = True
    kept = children if dictionary else tuple((name, child) for name, child in children if name in given)
    return Part(called, tuple(arguments), kept, in_dict=dictionary)


def _literal(value: object, default: object) -> str | None:
    """A value as Python text, None where it is no plain value; a bias stands for whether there is one."""
    if isinstance(default, bool):
        return repr(value is not None and value is not False)
    if isinstance(value, tuple | list):
        texts = [_literal(entry, None) for entry in value]
        if None in texts:
            return None
        return texts[0] if len(set(texts)) == 1 else repr(tuple(value))
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return repr(value) if value is None or isinstance(value, bool | int | float | str) else None


def _unwritable(path: str, class_: type[nn.Module], reason: str) -> ExplorerError:
    return ExplorerError(f"{path or 'the network'}: {class_.__name__} cannot be written as code: {reason}")


def _folded(root: Part, reserved: set[str]) -> list[Function]:
    """`build` and, before it, functions for what is repeated, each before those that call it."""
    functions = [Function("build", (), root)]
    refused: set[Any] = set()
    while (found := _most_repeated(functions, refused)) is not None:
        parts = [part for _, part in found]
        groups = _groups(parts)
        if len(groups) > MOST_PARAMETERS:
            refused.add(parts[0].skeleton)
            continue
        # A parameter must not hide a function that is called beside it.
        taken = reserved | {function.name for function in functions}
        parameters = _parameters(parts[0], list(groups.values()), taken)
        others = [function.parameters for function in functions]
        hidden = {parameter.name for each in (parameters, *others) for parameter in each}
        function, calls = _template(
            _name([path for path, _ in found], parts[0], taken | hidden), parameters, groups, parts
        )
        functions = [replace(other, body=other.body.replaced(parts[0].skeleton, calls)) for other in functions]
        functions.append(function)
    return _callees_first(functions)


def _template(
    name: str, parameters: Sequence[Argument], groups: Mapping[tuple[str, ...], list[Place]], parts: Sequence[Part]
) -> tuple[Function, dict[Part, Part]]:
    """The function for parts of one skeleton, and the call of it for each of them."""
    texts = {p.name: places for p, places in zip(parameters, groups.values(), strict=True)}
    body = parts[0].filled({place: name for name, places in texts.items() for place in places})
    calls = {
        part: Part(name, _in_order([replace(p, text=held[row]) for p, held in zip(parameters, groups, strict=True)]))
        for row, part in enumerate(parts)
    }
    return Function(name, _in_order(parameters), body), calls


def _most_repeated(functions: Sequence[Function], refused: set[Any]) -> list[tuple[Path, Part]] | None:
    """The places of what is worth most as a function: much in it, at many places."""
    places: dict[Any, list[tuple[Path, Part]]] = {}
    for function in functions:
        for path, part in function.body.walk((function.name,)):
            # A call within a call is short enough, and a list of numbered layers is best read as such.
            if part.size > 2 and part.called != "nn.Sequential" and part is not function.body:  # noqa: PLR2004
                places.setdefault(part.skeleton, []).append((path, part))
    worth = {
        skeleton: (len(found) - 1) * found[0][1].size
        for skeleton, found in places.items()
        if len(found) > 1 and skeleton not in refused
    }
    return places[max(worth, key=lambda skeleton: worth[skeleton])] if worth else None


def _groups(parts: Sequence[Part]) -> dict[tuple[str, ...], list[Place]]:
    """The arguments that differ between parts of one skeleton, those that always hold the same together, by what they hold."""
    rows = [dict(part.places()) for part in parts]
    groups: dict[tuple[str, ...], list[Place]] = {}
    for place in rows[0]:
        texts = tuple(row[place].text for row in rows)
        # The name of a parameter means something else in every function.
        if len(set(texts)) > 1 or (texts[0].isidentifier() and texts[0] not in {"None", "True", "False"}):
            groups.setdefault(texts, []).append(place)
    return groups


def _parameters(part: Part, groups: Sequence[Sequence[Place]], taken: set[str]) -> list[Argument]:
    """A parameter for each group of arguments, called as its first argument is; where others are called so too, with a step of its way."""
    places = dict(part.places())
    firsts = [group[0] for group in groups]
    shared = Counter(argument for _, argument in firsts)
    parameters: list[Argument] = []
    leading = True
    for (path, argument), group in zip(firsts, groups, strict=True):
        name = argument
        if shared[argument] > 1:
            others = [other for other, also in firsts if also == argument and other != path]
            step = next((step for step in path if not any(step in other for other in others)), "_".join(path))
            name = f"{step}_{_SHORT.get(argument, argument)}"
            name = name if name[:1].isalpha() else f"part{name}"
        while name in taken or name in {parameter.name for parameter in parameters}:
            name += "_"
        defaults = {places[place].default for place in group}
        default = defaults.pop() if len(defaults) == 1 else None
        # What is called as torch calls it and comes first needs no name in a call.
        leading = leading and name == argument and default is None
        parameters.append(Argument(name, name, default, named=not leading))
    return parameters


def _in_order(arguments: Sequence[Argument]) -> tuple[Argument, ...]:
    """Those that have defaults come last."""
    return tuple(sorted(arguments, key=lambda argument: argument.default is not None))


def _name(paths: Sequence[Path], part: Part, taken: set[str]) -> str:
    """A name for a function: what all its places are called but for numbers, else what is in it."""

    def common(level: int) -> str:
        names = {re.sub(r"\d+$", "", path[level]) if len(path) >= -level else "" for path in paths}
        return names.pop() if len(names) == 1 else ""

    level = -1 if common(-1) else -2
    # Above what is called the same everywhere, as in stage1.first and stage2.first.
    numbered = all(len(path) > -level and path[level - 1][-1:].isdigit() for path in paths)
    place = "_".join(filter(None, [common(level - 1) if numbered else "", common(level)])) if common(level) else ""
    inside = "_".join(name for name, _ in part.children)
    choices = [place, inside, "block", *(f"block_{number}" for number in range(2, len(taken) + 3))]
    return next(c for c in choices if c.isidentifier() and not keyword.iskeyword(c) and c not in taken)


def _callees_first(functions: Sequence[Function]) -> list[Function]:
    by_name = {function.name: function for function in functions}
    order: dict[str, Function] = {}

    def add(function: Function) -> None:
        for _, part in function.body.walk():
            if part.called in by_name and part.called not in order:
                add(by_name[part.called])
        order[function.name] = function

    add(by_name["build"])
    return list(order.values())


def _function(function: Function) -> str:
    parameters = ", ".join(p.name if p.default is None else f"{p.name}={p.default}" for p in function.parameters)
    lines = [f"def {function.name}({parameters}):"]
    if function.name == "build":
        lines = [
            "def build() -> nn.Module:",
            '    """The network, not yet with its weights: images (N, C, H, W) to logits (N, classes)."""',
        ]
    return "\n".join([*lines, *_lines("return ", function.body, "    ", "")])


def _lines(prefix: str, part: Part, indent: str, comma: str = ",") -> list[str]:
    """A call as lines: one where it fits, else one for all its arguments and one or more for each module in it."""
    line = f"{indent}{prefix}{_inline(part)}{comma}"
    if len(line) <= WIDTH:
        return [line]
    inner = indent + "    "
    opening, closing = _brackets(part)
    lines = [f"{indent}{prefix}{opening}"]
    arguments = _written(part)
    joined = f"{inner}{', '.join(arguments)}{',' if part.children else ''}"
    if arguments:
        lines += [joined] if len(joined) <= WIDTH else [f"{inner}{argument}," for argument in arguments]
    for before, child, times in _inside(part):
        lines += [f"{inner}{_often(child, times)},"] if times > 1 else _lines(before, child, inner)
    return [*lines, f"{indent}{closing}{comma}"]


def _inline(part: Part) -> str:
    opening, closing = _brackets(part)
    inside = [_often(child, times) if times > 1 else before + _inline(child) for before, child, times in _inside(part)]
    return opening + ", ".join([*_written(part), *inside]) + closing


def _often(part: Part, times: int) -> str:
    return f"*[{_inline(part)} for _ in range({times})]"


def _written(part: Part) -> list[str]:
    """The arguments as they stand before the modules in the call; behind a dictionary of modules they have names."""
    return [] if part.in_dict else [text for argument in part.arguments if (text := argument.written)]


def _brackets(part: Part) -> tuple[str, str]:
    """How a call begins and ends."""
    if not part.in_dict:
        return f"{part.called}(", ")"
    opening, closing = ("{", "}") if _quoted(part.children) else ("", "")
    behind = [f", {argument.name}={argument.text}" for argument in part.arguments if argument.written]
    return f"{part.called}(OrderedDict({opening}", f"{closing}){''.join(behind)})"


def _inside(part: Part) -> Iterator[tuple[str, Part, int]]:
    """What stands before each module in a call, the module, and how often it stands there in a row."""
    if part.called == "nn.Sequential" and not part.in_dict:
        for child, alike in groupby(child for _, child in part.children):
            yield "", child, len(list(alike))
        return
    quoted = part.in_dict and _quoted(part.children)
    for name, child in part.children:
        yield f"{name!r}: " if quoted else f"{name}=", child, 1


def _quoted(children: Sequence[tuple[str, Part]]) -> bool:
    """Whether their names cannot be names of arguments."""
    return any(not name.isidentifier() or keyword.iskeyword(name) for name, _ in children)
