"""Typed values of YAML files: base models, field types, and error messages that name the key."""

import dataclasses
import difflib
import re
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, TypeVar, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from zsbench.store.errors import suggest

T = TypeVar("T")
WORDS: dict[str, str] = {}  # pattern -> description of allowed values
BOUNDS = ("ge", "gt", "le", "lt")
TERMS = {"a valid ": "", "Input was not ": "a ", "dictionary": "mapping"}  # pydantic's terms -> ours
MISSING = ("missing", "union_tag_not_found")


class EntryError(ValueError):
    """A problem with a key of the mapping being validated; `key` is "" for the mapping itself."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(problem)
        self.key = key


class Strict(BaseModel):
    """A mapping with exactly these keys. Values are not converted, and null means that a key is omitted."""

    model_config = ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=(), defer_build=True
    )
    null_is_a_value: ClassVar[bool] = False

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, dict):
            return value
        if info.context is not None:
            info.context[id(value)] = cls  # for the error message about unknown keys
        return value if cls.null_is_a_value else _entries(value)


class Overrides(BaseModel):
    """A subset of another model's keys; keys that are not given get no default."""

    @model_serializer(mode="wrap")
    def _as_written(self, handler: Any) -> dict[str, Any]:
        fields = type(self).model_fields
        written = {fields[name].alias or name for name in self.model_fields_set}
        return {key: value for key, value in handler(self).items() if key in written}


def absent(description: str, **bounds: Any) -> Any:
    """An optional field that the resolved config omits if it is not given."""
    return Field(default=None, exclude_if=lambda value: value is None, description=description, **bounds)


def fields_of(options: type, optional: bool = False) -> dict[str, Any]:
    """Fields for `pydantic.create_model` from a dataclass with `description` and bounds in the field metadata.

    Args:
        optional: make all fields optional; those without a default get None.
    """
    types, fields = get_type_hints(options, include_extras=True), {}
    for field in dataclasses.fields(options):
        given = {"default": field.default} if field.default is not dataclasses.MISSING else {}
        given |= {"default": None} if optional and not given else {}
        fields[field.name] = (types[field.name], Field(**given, **field.metadata))
    return fields


def pattern(regex: str, words: str, max_length: int | None = None) -> StringConstraints:
    """A string constraint with a description of allowed values for error messages."""
    WORDS[regex] = words
    return StringConstraints(pattern=regex, max_length=max_length)


def _unique(values: list[T]) -> list[T]:
    repeated = next((value for i, value in enumerate(values) if value in values[:i]), None)
    if repeated is not None:
        raise ValueError(f"{repeated!r} is repeated; allowed: unique values")
    return values


def _inside(path: str) -> str:
    """A path that stays inside its folder, or that of an archive member (`a.tar.gz!b.txt`)."""
    parts = [part for piece in path.split("!") for part in PurePosixPath(piece).parts]
    if path.startswith("/") or ".." in parts or "\\" in path:
        raise ValueError(f"{path!r:.80} is outside its folder; allowed: a relative path without ..")
    return path


def _entries(value: Any) -> Any:
    return {key: entry for key, entry in value.items() if entry is not None} if isinstance(value, dict) else value


ID = r"^[a-z0-9]+(-[a-z0-9]+)*$"
Id = Annotated[str, pattern(ID, "lower-case letters, digits and single hyphens", 60)]
Model = Annotated[
    str,
    pattern(
        r"^([a-z0-9]+(-[a-z0-9]+)*|[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*|(\.{1,2}|~)?/.+)$",
        "the id of a source, owner/name on the hub, or a folder starting with ./, ../, ~/ or /",
        300,
    ),
]
Text = Annotated[str, pattern(r"^[^\x00-\x08\x0b-\x1f]*[^\s\x00-\x1f][^\x00-\x08\x0b-\x1f]*$", "visible text", 1000)]
Template = Annotated[str, pattern(r"^[^{}]*\{\}[^{}]*$", "a string with one {} for the label", 200)]
Url = Annotated[str, pattern(r"^https?://[^\x00-\x20]+$", "a URL starting with https://")]
Sha256 = Annotated[str, pattern(r"^[0-9a-f]{64}$", "64 hexadecimal digits")]
Inside = Annotated[Text, AfterValidator(_inside)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Count = Annotated[int, Field(ge=1)]
Unique = Annotated[list[T], Field(json_schema_extra={"uniqueItems": True}), AfterValidator(_unique)]
Some = Annotated[list[T], Field(min_length=1, json_schema_extra={"uniqueItems": True}), AfterValidator(_unique)]
Entries = Annotated[dict[Id, T], BeforeValidator(_entries)]  # an overlay removes an entry with null


def validate(model: type[BaseModel], raw: Any) -> tuple[Any, list[str]]:
    """Validate plain data: an instance, or None and a list of problems, each as "`key`: problem; allowed: ..."."""
    owners: dict[int, type[BaseModel]] = {}
    try:
        return model.model_validate(raw, context=owners), []
    except ValidationError as error:
        problems: dict[str, list[tuple[str, str]]] = {}
        for one in error.errors(include_url=False):
            key, problem, allowed = _explain(one, raw, owners)
            problems.setdefault(key, []).append((problem, allowed))
        return None, [f"`{key}`: {_joined(each)}" for key, each in problems.items()]


def _joined(problems: list[tuple[str, str]]) -> str:
    """One message for a value that matches none of several types."""
    allowed = " or ".join(dict.fromkeys(allowed for _, allowed in problems if allowed))
    return problems[0][0] + (f"; allowed: {allowed}" if allowed else "")


def _explain(error: Any, raw: Any, owners: dict[int, type[BaseModel]]) -> tuple[str, str, str]:
    """(key, problem, allowed values) of a pydantic error."""
    path, value, parent = _path(error["loc"], raw)
    kind, context = error["type"], error.get("ctx", {})
    of_key = error["loc"][-1:] == ("[key]",)
    shown = f"{(error['input'] if of_key else value)!r:.80}"
    if kind in MISSING:
        name = context.get("discriminator", "").strip("'") or error["loc"][-1]
        close = difflib.get_close_matches(str(name), value, n=1) if isinstance(value, dict) else []
        path += [name] if path[-1:] != [name] else []
        problem, allowed = "required" + (f"; {close[0]!r} is not a key" if kind != "missing" and close else ""), ""
    elif kind == "extra_forbidden":
        fields = owners[id(parent)].model_fields
        problem = "unknown key" + suggest(path[-1], [field.alias or name for name, field in fields.items()])
        allowed = ""
    elif kind in ("literal_error", "union_tag_invalid"):
        if kind == "union_tag_invalid":
            path.append(context["discriminator"].strip("'"))
            shown = repr(context["tag"])
        options = re.findall(r"'([^']*)'", context.get("expected", context.get("expected_tags", "")))
        problem, allowed = shown + suggest(shown.strip("'"), options), ""
    elif kind == "string_pattern_mismatch":
        problem, allowed = shown, WORDS.get(context["pattern"], f"a string that matches {context['pattern']}")
    elif kind == "value_error":
        problem, allowed = str(context["error"]), ""
        if isinstance(context["error"], EntryError) and context["error"].key:
            path.append(context["error"].key)
    else:
        words = re.sub(
            r"^\w+ should (be |have )| after validation.*| or instance of.*| or object to.*", "", error["msg"]
        )
        for term, plain in TERMS.items():
            words = words.replace(term, plain)
        problem, allowed = shown, words
    return ".".join(map(str, path)) or "(top level)", problem, allowed


def _path(location: tuple[Any, ...], raw: Any) -> tuple[list[Any], Any, Any]:
    """The keys of a pydantic error location, the value there, and its parent.

    A location also contains names of types that are not keys: union branches, and the kind or family that selects one.
    """
    path: list[Any] = []
    parent, tagged = None, False
    for step in location:
        tag = isinstance(raw, dict) and not tagged and step in (raw.get("family"), raw.get("kind"))
        inside = step in raw if isinstance(raw, dict) else isinstance(raw, list) and isinstance(step, int)
        if inside and not tag:
            path, parent, raw = [*path, step], raw, raw[step]
        tagged = tag
    return path, raw, parent
