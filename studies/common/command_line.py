"""The command line of a study of strategies: run what is left, or report what there is."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from sparring.support.malloc import keep_freed_memory
from studies.common.jobs import Job, run_all
from studies.common.layout import Layout, Strategy

__all__ = ["RESULTS", "main", "of_committees", "parse_args"]

RESULTS = Path(__file__).parents[2] / "docs" / "results"

S = TypeVar("S", bound=Layout)


def main(
    arguments: argparse.Namespace,
    *,
    study: Callable[[argparse.Namespace], S],
    whole: Callable[[Path], S],
    jobs: Callable[[S], Sequence[Job]],
    report: Callable[[S, Path, bool], str],
) -> int:
    """Run or report; gives the number of jobs that failed.

    Args:
        arguments: Arguments from `parse_args`.
        study: Function that gives the study to run.
        whole: Function that gives the whole study in a folder, for the report.
        jobs: Function that gives all jobs of a study.
        report: Function that writes the report, from study, output folder and `--keep`.
    """
    if arguments.command == "report":
        print(report(whole(arguments.folder), arguments.output, arguments.keep))
        return 0
    chosen = study(arguments)
    return run_all(jobs(chosen), chosen.folder / "claims", wait=arguments.wait, only_list=arguments.list)


def of_committees(
    argv: Sequence[str] | None,
    *,
    name: str,
    description: str | None,
    seeds: Sequence[int],
    jobs: Callable[[argparse.Namespace], Sequence[Job]],
    report: Callable[[Path, Path], str],
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda run: None,
) -> int:
    """Run or report a study of committees that are trained once, without a loop; gives the number of jobs that failed.

    Args:
        argv: Arguments; None for those of the program.
        name: Name of the study and of its folder.
        description: Text of the help.
        seeds: Seeds by default, one committee of each kind for each.
        jobs: Function that gives all jobs, from the options ``folder``, ``seeds`` and those of ``add_arguments``.
        report: Function that writes the report, from the folder of the study and that of the report.
        add_arguments: Function that adds further arguments of `run`.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m studies.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="compute what is missing")
    run.add_argument("--seeds", type=int, nargs="+", default=seeds, help="seeds, one committee of each kind for each")
    add_arguments(run)
    run.add_argument("--wait", type=float, default=0.0, help="minutes to wait for jobs of other processes")
    run.add_argument("--list", action="store_true", help="list what is left to do, and run nothing")
    write = commands.add_parser("report", help="write tables and figures of what has been computed")
    write.add_argument("--output", type=Path, default=RESULTS, help="folder of the report")
    for command in (run, write):
        command.add_argument("--folder", type=Path, default=Path("runs/studies") / name, help="folder of results")
    options = parser.parse_args(argv)
    if options.command == "report":
        print(report(options.folder, options.output))
        return 0
    keep_freed_memory()  # as `sparring` does
    torch.set_num_threads(1)
    found = jobs(options)
    return run_all(found, options.folder / "claims", wait=options.wait, only_list=options.list)


def parse_args(
    argv: Sequence[str] | None,
    *,
    name: str,
    description: str | None,
    strategies: Mapping[str, Strategy],
    tasks: tuple[str, ...],
    store: Path | None,
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda run: None,
) -> argparse.Namespace:
    """Parse the command line; strategies come as a mapping in the order of ``strategies``.

    Args:
        argv: Arguments; None for those of the program.
        name: Name of the study and of its folder.
        description: Text of the help.
        strategies: All strategies by name.
        tasks: Names of all tasks.
        store: Default folder of labels; None for a folder of the study.
        add_arguments: Function that adds further arguments of `run`.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m studies.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/studies") / name, help="folder of runs and results")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="compute what is missing")
    run.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds, one run of each strategy for each")
    run.add_argument("--strategies", nargs="+", choices=strategies, default=list(strategies), help="strategies to run")
    run.add_argument("--tasks", nargs="+", choices=tasks, default=list(tasks), help="kinds of jobs")
    run.add_argument(
        "--store", type=Path, default=store, help=f"folder of labels [default: {store or 'labels, in the folder'}]"
    )
    add_arguments(run)
    run.add_argument("--wait", type=float, default=0.0, help="minutes to wait for jobs of other processes")
    run.add_argument("--list", action="store_true", help="list what is left to do, and run nothing")
    report = commands.add_parser("report", help="write tables and figures of what has been computed")
    report.add_argument("--output", type=Path, default=RESULTS, help="folder of the report")
    report.add_argument(
        "--keep",
        action="store_true",
        help="keep results of the record in OUTPUT that the folder does not have, e.g. those of another machine",
    )
    for command in (run, report):
        command.add_argument("--folder", type=Path, default=argparse.SUPPRESS, help="folder of runs and results")
    arguments = parser.parse_args(argv)
    if arguments.command == "run":
        arguments.seeds, arguments.tasks = tuple(arguments.seeds), tuple(arguments.tasks)
        arguments.strategies = {one: strategies[one] for one in strategies if one in arguments.strategies}
    return arguments
