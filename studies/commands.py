"""The command line of a study of strategies: run what is left, or report what there is."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from layout import Strategy

__all__ = ["asked"]

RESULTS = Path(__file__).parents[1] / "docs" / "results"


def asked(
    argv: Sequence[str] | None,
    *,
    name: str,
    description: str | None,
    strategies: Mapping[str, Strategy],
    tasks: tuple[str, ...],
    store: Path | None,
    more: Callable[[argparse.ArgumentParser], None] = lambda run: None,
) -> argparse.Namespace:
    """What is asked for; strategies are given by name as they are in ``strategies``, and in their order.

    Args:
        argv: The arguments; None for those of the program.
        name: Of the study, and of its folder.
        description: For people.
        strategies: That there are.
        tasks: Likewise.
        store: Of labels, where none is given.
        more: Adds what only this study can be asked to run.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/studies") / name)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="compute what is not there yet")
    run.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    run.add_argument("--strategies", nargs="+", choices=strategies, default=list(strategies))
    run.add_argument("--tasks", nargs="+", choices=tasks, default=list(tasks))
    run.add_argument(
        "--store", type=Path, default=store, help=f"of labels [default: {store or 'labels, in the folder'}]"
    )
    more(run)
    run.add_argument("--wait", type=float, default=0.0, help="minutes to wait for what other processes compute")
    run.add_argument("--list", action="store_true", help="say what is left to do, and do nothing")
    report = commands.add_parser("report", help="tables and figures of what there is")
    report.add_argument("--output", type=Path, default=RESULTS)
    report.add_argument(
        "--keep",
        action="store_true",
        help="what the record in OUTPUT has and the folder has not, say of another machine",
    )
    for command in (run, report):
        command.add_argument("--folder", type=Path, default=argparse.SUPPRESS)
    found = parser.parse_args(argv)
    if found.command == "run":
        found.seeds, found.tasks = tuple(found.seeds), tuple(found.tasks)
        found.strategies = {one: strategies[one] for one in strategies if one in found.strategies}
    return found
