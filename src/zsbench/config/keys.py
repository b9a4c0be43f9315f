"""Every config key with what it may hold and its default, as Markdown: `docs/configuration-keys.md`."""

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any

from zsbench.reporting.render import EMPTY, words_markdown

TITLES = ("Key", "Allowed", "Default", "Meaning")
HEAD = """# Configuration keys

Generated from the schemas in `workflow/schemas` with `zsbench config-keys > docs/configuration-keys.md`; a test
keeps it current. `<id>` stands for any id of your own (lower-case letters, digits, single hyphens). A dash in the
column Default: the key has none, and where its block needs it, the config must give it. How files override each other
is in [configuration.md](configuration.md), what the switches of GliZNet do in [models/gliznet.md](models/gliznet.md).
"""
WORDS = {"string": "text", "object": "mapping", "array": "list", "boolean": "true or false"}  # of JSON's types
ELSEWHERE = {
    "options": "switches of GliZNet (below)",
    "recipe": "keys of recipe",
}  # definitions with a list of their own
Node = dict[str, Any]


def markdown(schema: Node, presets: Node) -> str:
    """The whole page.

    Args:
        schema: of a config, as read from its YAML file.
        presets: schema of sources, datasets and training sets.
    """
    parts = [HEAD]
    for name in schema["properties"]:
        owner = presets if name in presets["properties"] else schema
        rows = [*_rows(name, owner["properties"][name], owner)]
        parts.append(f"\n## `{name}`\n\n{words_markdown(TITLES, rows)}")
    options = schema["$defs"]["options"]
    rows = [*_rows("", options, schema, _defaults_of_options())]
    about = "Keys of `gliznet.base` and of each entry of `gliznet.variants`."
    parts.append(f"\n## Switches of GliZNet\n\n{about}\n\n{words_markdown(TITLES, rows)}")
    return "".join(parts)


def _defaults_of_options() -> dict[str, str]:
    from gliznet.options import GliZNetOptions

    return {field.name: _word(field.default) for field in dataclasses.fields(GliZNetOptions)}


def _rows(key: str, node: Node, schema: Node, defaults: dict[str, str] | None = None) -> Iterator[list[str]]:
    """A row for a key that holds a value, else the rows of the keys below it."""
    whole, kind = _resolved(node, schema), _name(node)
    below = dict(whole.get("properties", {}))
    if isinstance(whole.get("additionalProperties"), dict) and kind != "rows":
        below["<id>"] = whole["additionalProperties"]
    elsewhere = kind in ELSEWHERE and (kind != "recipe" or "." in key) and key
    if below and not elsewhere:
        for name, child in below.items():
            yield from _rows(f"{key}.{name}" if key else name, child, schema, defaults)
        return
    meaning = "" if kind == "id" and "description" not in node else whole.get("description", "")
    meaning = meaning or _comments().get(key, "")
    default = (defaults or {}).get(key) or (_word(whole["default"]) if "default" in whole else EMPTY)
    yield [key, ELSEWHERE[kind] if elsewhere else _allowed(node, schema), default, meaning.replace("`", "")]


def _name(node: Node) -> str:
    """Name of the definition that a node refers to; "" for none."""
    return next((part["$ref"].rsplit("/", 1)[1] for part in [node, *node.get("allOf", [])] if "$ref" in part), "")


def _resolved(node: Node, schema: Node) -> Node:
    """The node with its reference filled in, its own words first."""
    name = _name(node)
    return _resolved(schema["$defs"][name], schema) | node if name else node


def _allowed(node: Node, schema: Node) -> str:
    """What a value may be, in words."""
    if _name(node) in ("id", "ids"):
        return {"id": "an id", "ids": "list of ids"}[_name(node)]
    node = _resolved(node, schema)
    if "enum" in node:
        return ", ".join(map(_word, node["enum"]))
    kinds = node.get("type", "text")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    words = [WORDS.get(kind, kind) for kind in kinds]
    if "array" in kinds and "items" in node:
        items = "ids" if _name(node["items"]) == "id" else _allowed(node["items"], schema)
        words[kinds.index("array")] = f"list of {items}"
    low, high = node.get("minimum"), node.get("maximum")
    bounds = [f"from {low:,}"] if low is not None else []
    bounds += [f"above {node['exclusiveMinimum']:,}"] if "exclusiveMinimum" in node else []
    bounds += [f"to {high:,}"] if high is not None else []
    bounds += [f"below {node['exclusiveMaximum']:,}"] if "exclusiveMaximum" in node else []
    return " ".join([" or ".join(words), *bounds])


def _word(value: Any) -> str:
    """A value as YAML has it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return ", ".join(map(_word, value))
    return "{}" if value == {} else str(value)


def _comments() -> dict[str, str]:
    """The notes beside the fields of the recipe, and the descriptions of GliZNet's switches."""
    from gliznet.options import GliZNetOptions
    from zsbench.training.recipe import Recipe

    notes = re.findall(r"^    (\w+): [^#\n]*#\s+(.*)$", inspect.getsource(Recipe), re.MULTILINE)
    recipe = {f"recipe.{name}": note for name, note in notes}
    return recipe | {field.name: field.metadata["description"] for field in dataclasses.fields(GliZNetOptions)}
