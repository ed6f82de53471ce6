"""Closed pydantic models, and their first problem as one sentence."""

import typing
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar

import pydantic
from pydantic import Field

from lapwing.errors import UserError, did_you_mean

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
"""A key of the vocabulary: it becomes part of a path."""

PLAINER = {
    "missing": "must be given",
    **dict.fromkeys(("model_type", "dict_type"), "must be keys with values"),
    **dict.fromkeys(("list_type", "tuple_type", "set_type", "frozen_set_type"), "must be a list"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    **dict.fromkeys(("string_type", "invalid_key"), "must be text"),
    "path_type": "must be a path",
}
"""What pydantic says by type of problem, in words of no programming language."""

Model = TypeVar("Model", bound=pydantic.BaseModel)


class Closed(pydantic.BaseModel):
    """Settings: frozen, unknown keys are errors, infinities and NaN are refused."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def validate(model: type[Model], values: object, where: str) -> Model:
    """`values` as a `model`.

    Raises:
        UserError: names the first problem; misspelt keys come first, because a misspelt
            key also makes the right one missing.
    """
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        problem = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    path = [str(part) for part in problem["loc"]]
    place = ".".join(path)
    if problem["type"] == "extra_forbidden":
        known = _fields_at(model, path[:-1])
        raise UserError(f"{where}: unknown key {place}; {did_you_mean(path[-1], known)}")
    said = problem["msg"].removeprefix("Value error, ").replace("Input should", "must").rstrip(".")
    message = PLAINER.get(problem["type"], said)
    value = problem["input"]
    shown = f" (it is {value!r})" if isinstance(value, str | int | float) else ""
    raise UserError(f"{where}: {place + ': ' if place else ''}{message}{shown}.")


def _fields_at(model: type[pydantic.BaseModel], path: list[str]) -> list[str]:
    """The fields of the model that refused a key: `path` leads from `model` down to it."""
    for part in path:
        field = model.model_fields.get(part)
        inner = next(_models_in(field.annotation), None) if field else None
        model = inner or model
    return list(model.model_fields)


def _models_in(annotation: Any) -> Iterator[type[pydantic.BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)
