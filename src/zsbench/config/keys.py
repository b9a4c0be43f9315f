"""Reference of config keys, for editors (`config.schema.json`) and readers (`docs/configuration-keys.md`)."""

import json
from collections.abc import Iterator
from typing import Any

from zsbench.config.model import RunConfig

HEAD = """# Configuration keys

Generated from `zsbench.config.model` with `zsbench config-keys > docs/configuration-keys.md`; a test keeps it current.
`<id>` is an id of your choice (lower-case letters, digits, single hyphens). In the column Default, a dash marks a key
that is required if its block is present; an empty cell marks an optional key, which can be omitted or set to null. How
config files override each other is described in [configuration.md](configuration.md).
"""
KINDS = {"object": "mapping", "array": "list", "boolean": "true or false"}
PLURALS = {"string": "strings", "integer": "integers", "number": "numbers", "mapping": "mappings", "list": "lists"}
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
ELSEWHERE = {"Options": ("gliznet.base", "keys of `gliznet.base`"), "OwnRecipe": ("", "keys of `recipe`")}
Node = dict[str, Any]


def editor_schema() -> str:
    """JSON schema of a config, as text. A file may be an overlay, so no key is required and null is always allowed."""
    schema = _schema()
    for node in _nodes(schema):
        node.pop("required", None)
        for name, entry in node.get("properties", {}).items():
            words = {key: entry.pop(key) for key in ("description", "default") if key in entry}
            node["properties"][name] = _or_null(entry) | words
        if isinstance(node.get("additionalProperties"), dict):
            node["additionalProperties"] = _or_null(node["additionalProperties"])
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _or_null(node: Node) -> Node:
    return node if {"type": "null"} in node.get("anyOf", ()) else {"anyOf": [node, {"type": "null"}]}


def _schema() -> Node:
    """Pydantic's schema, with choices always as `anyOf` and mappings of ids always as `additionalProperties`."""
    schema = RunConfig.model_json_schema(by_alias=True)
    for node in _nodes(schema):
        node.pop("discriminator", None)
        if "oneOf" in node:
            node["anyOf"] = node.pop("oneOf")
        if "patternProperties" in node:
            ((pattern, entry),) = node.pop("patternProperties").items()
            node |= {"propertyNames": {"pattern": pattern}, "additionalProperties": entry}
    return schema


def _nodes(node: Node) -> list[Node]:
    """A schema and all schemas nested in it."""
    below = [*node.get("properties", {}).values(), *node.get("$defs", {}).values(), *node.get("anyOf", ())]
    below += [node[key] for key in ("items", "additionalProperties") if isinstance(node.get(key), dict)]
    below += [*node.get("oneOf", ()), *node.get("patternProperties", {}).values()]
    return [node, *(one for each in below for one in _nodes(each))]


def markdown() -> str:
    """The reference page of config keys."""
    schema, parts = _schema(), [HEAD]
    for name, node in schema["properties"].items():
        about = node.get("description") or _resolved(node, schema).get("description", "")
        rows = [*_rows(name, node, schema, name in schema["required"])]
        parts.append(f"\n## `{name}`\n\n{about}\n\n| Key | Allowed | Default | Meaning |\n|---|---|---|---|\n")
        parts += [f"| {' | '.join(row)} |\n" for row in rows]
    return "".join(parts)


def _rows(key: str, node: Node, schema: Node, required: bool, tag: str = "") -> Iterator[list[str]]:
    """One table row for a key with a value; for a block, the rows of its keys."""
    models = [one for one in _choices(node, schema) if "properties" in one]
    entries = next((one["additionalProperties"] for one in _choices(node, schema) if _holds_models(one, schema)), None)
    at, instead = ELSEWHERE.get(models[0]["title"], (key, "")) if len(models) == 1 else (key, "")
    if entries is not None:
        yield from _rows(f"{key}.<id>", entries, schema, required)
    elif models and at == key:
        shared = set.intersection(*(set(model["properties"]) for model in models))
        for model in models:
            kinds = [one["const"] for one in model["properties"].values() if "const" in one]
            for name, below in model["properties"].items():
                if "const" in below and model is models[0]:
                    kinds_of_all = (one["properties"][name]["const"] for one in models)
                    yield [f"`{key}.{name}`", ", ".join(kinds_of_all), "—", "determines which other keys are available"]
                elif "const" not in below and (name not in shared or model is models[0]):
                    suffix = f" ({kinds[0]})" if name not in shared else tag
                    yield from _rows(f"{key}.{name}", below, schema, name in model.get("required", ()), suffix)
    else:
        default = "—" if required else _word(node["default"]) if node.get("default") is not None else ""
        meaning = node.get("description", "").replace("|", "\\|")
        yield [f"`{key}`{tag}", instead or _allowed(node, schema), default, meaning]


def _choices(node: Node, schema: Node) -> list[Node]:
    """The alternative schemas of a value."""
    node = _resolved(node, schema)
    return [one for choice in node["anyOf"] for one in _choices(choice, schema)] if "anyOf" in node else [node]


def _holds_models(node: Node, schema: Node) -> bool:
    entries = node.get("additionalProperties")
    return isinstance(entries, dict) and any("properties" in one for one in _choices(entries, schema))


def _resolved(node: Node, schema: Node) -> Node:
    return schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node


def _allowed(node: Node, schema: Node, plural: bool = False) -> str:
    """The allowed values, in words."""
    node = _resolved(node, schema)
    if "anyOf" in node:
        choices = dict.fromkeys(_allowed(choice, schema, plural) for choice in node["anyOf"])
        return " or ".join(choice for choice in choices if choice != "null")
    if "enum" in node or "const" in node:
        return ", ".join(map(_word, node.get("enum", [node.get("const")])))
    kind = node.get("type", "any value")
    words = str(KINDS.get(kind, kind))
    words = PLURALS.get(words, words) if plural else words
    if kind == "array":
        words = f"{words} of {_allowed(node.get('items', {}), schema, plural=True)}"
    if kind == "object" and isinstance(node.get("additionalProperties"), dict):
        words = f"{words} of {_allowed(node['additionalProperties'], schema, plural=True)}"
    if {"minimum", "maximum"} <= node.keys():
        return f"{words} from {node['minimum']:,} to {node['maximum']:,}"
    bounds = " and ".join(f"{sign} {node[bound]:,}" for bound, sign in BOUNDS.items() if bound in node)
    return f"{words} {bounds}".strip()


def _word(value: Any) -> str:
    """A value in YAML notation."""
    return ", ".join(map(_word, value)) if isinstance(value, list) else json.dumps(value, ensure_ascii=False).strip('"')
