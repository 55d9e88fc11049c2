"""Commands about networks: list the design spaces, show the layers of a design point."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from explorer.console import console, count, print_table
from explorer.errors import ExplorerError


def spaces() -> int:
    """List the design spaces with their presets and metaparameters."""
    from explorer.space import label
    from explorer.spaces import all_spaces

    screen = console()
    for space in all_spaces().values():
        screen.print(space.name, style="bold", end="")
        screen.print(f": {space.source}; presets: {', '.join(space.presets)}", highlight=False)
        rows = [
            (name, label(field.get("default")), _rule(field), str(field.get("description", "")))
            for name, field in space.model_json_schema()["properties"].items()
        ]
        print_table(screen, ("metaparameter", next(iter(space.presets)), "values", "meaning"), rows)
    return 0


def describe(
    space: Annotated[str, typer.Argument(help="A design space (see `explorer spaces`).")],
    settings: Annotated[list[str] | None, typer.Argument(help="preset=NAME, and metaparameters as key=value.")] = None,
    depth: Annotated[int, typer.Option(min=1, help="Levels of the network that are shown.")] = 1,
) -> int:
    """Show the layers of a design point with their output shapes and exact costs."""
    from explorer.pricing import layer_table
    from explorer.spaces import find_space

    family = find_space(space)
    values = dict(_setting(text) for text in settings or [])
    preset = str(values.pop("preset")) if "preset" in values else None
    network = family.point(preset, **values).expand()
    table = layer_table(network, depth)
    screen = console()
    rows = [
        (str(row.layer), str(row.makes), str(row.output), *map(count, (row.params, row.macs, row.activations)))
        for row in table.itertuples()
    ]
    header = ("layer", "filters", "output", "params", "FLOPs (multiply-adds)", "activations")
    print_table(screen, header, rows, right=4, total=True)
    size = f"{network.cost.model_bytes / 2**20:.2f} MiB ({network.cost.model_bytes:,} bytes as float32)"
    screen.print(f"model size {size}; network {network.digest[:12]}", highlight=False)
    return 0


def _setting(text: str) -> tuple[str, Any]:
    """One `key=value`; the value is read as in a study file, and what is no TOML value is text."""
    import tomllib

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ExplorerError(f"{text!r}: metaparameters are given as key=value, such as squeeze_ratio=0.25")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


def _rule(schema: dict[str, Any]) -> str:
    """The values that a metaparameter takes, from its JSON schema."""
    if "enum" in schema:
        return " | ".join(schema["enum"])
    kind = {"integer": "whole number", "number": "number", "boolean": "yes | no", "array": "list"}[schema["type"]]
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    return " ".join([kind, ", ".join(limits)]).strip()
