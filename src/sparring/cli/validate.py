"""The verbs under ``sparring validate``: one for each validation."""

from collections.abc import Callable
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from sparring.validation import registry

__all__ = ["app"]


FORMER_NAMES = {"stability": "survival"}
"""Verbs that had another name; the former one still works."""


class ValidationGroup(TyperGroup):
    """The verbs of all validations; each is built when it is needed."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - Typer brings its own copy of Click, or does not
        """Names of the verbs."""
        return [name for name in registry.names() if name not in registry.BUILT_IN or registry.find(name).command]

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | None:  # noqa: ANN401
        """The verb of a name, None if there is none."""
        cmd_name = FORMER_NAMES.get(cmd_name, cmd_name)
        if cmd_name not in self.list_commands(ctx):
            return None
        try:
            function = registry.find(cmd_name).command
        except ValueError as error:
            function = _failing(error)
        return None if function is None else _verb(cmd_name, function)


def _verb(name: str, function: Callable[..., None]) -> TyperCommand:
    verb = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    verb.command(name)(function)
    return cast("TyperCommand", typer.main.get_command(verb))


def _failing(error: ValueError) -> Callable[[], None]:
    """A verb that reports why its validation cannot be loaded; others still work."""

    def fail() -> None:
        raise error

    fail.__doc__ = str(error)
    return fail


app = typer.Typer(
    cls=ValidationGroup,
    help="Quality of a committee: errors, barriers, survival, crystals, holes, landscapes, diversity of data.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
