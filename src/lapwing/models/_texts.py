"""What the models of texts share."""

from typing import Any

from lapwing.errors import UserError


def check_inputs(options: Any, input_shape: tuple[int, ...]) -> None:
    """Refuse what is no text [L]."""
    if len(input_shape) != 1:
        raise UserError(f"a model of texts needs words in one line, not inputs of the shape {input_shape}.")
