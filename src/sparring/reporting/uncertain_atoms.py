"""Table of the atoms of which a committee was uncertain."""

from sparring.runs.uncertain_atoms import UncertainAtoms
from sparring.support.tables import Column, Table

__all__ = ["uncertain_atoms_table", "uncertain_atoms_words"]


def uncertain_atoms_table(found: UncertainAtoms) -> Table:
    """A row for each element, the most uncertain one first.

    Args:
        found: Uncertain atoms.
    """
    what, *more = uncertain_atoms_words(found)
    return Table(
        columns=(
            Column(title="element", left=True),
            Column(title="mean", format="{:.3g}"),
            Column(title="largest", format="{:.3g}"),
        ),
        rows=tuple((symbol, found.mean[symbol], found.largest[symbol]) for symbol in found.mean),
        caption=(f"where it is uncertain: {what}", *more),
    )


def uncertain_atoms_words(found: UncertainAtoms) -> tuple[str, ...]:
    """Description of the numbers, and the most uncertain atom where there is one."""
    n = found.n_structures
    structures = f"the {n} structures" if n > 1 else "the structure"
    what = f"σ of the forces on atoms in {structures} selected in generation {found.generation}, in eV/Å"
    if found.most is None:
        return (what,)
    return what, f"most uncertain atom, counted from 0: {found.most} in {found.n_most} of {n}"
