"""The verbs under ``sparring validate``: how good a committee is, measured in several ways."""

import typer

__all__ = ["app"]

app = typer.Typer(
    help="How good a committee is: errors, barriers, stability of dynamics, landscapes, diversity of data.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
