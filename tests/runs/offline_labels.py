"""The other side of an offline run: a program that labels the structures of a file.

    python offline_labels.py to_label.extxyz results.xyz LABELLER [FIRST LAST]

LABELLER is emt, or a method of PySCF; only the structures from FIRST to LAST are labelled.
"""

import sys

import sparring as sp


def main(asked, results, name, first=0, last=None):
    labeller = sp.ASECalculator("emt") if name == "emt" else sp.PySCF(name)
    structures = sp.read_structures(asked)[int(first) : None if last is None else int(last)]
    for atoms in structures:
        found = labeller(atoms)
        atoms.info["REF_energy"] = found.energy
        atoms.arrays["REF_forces"] = found.forces
        if found.stress is not None:
            atoms.info["REF_stress"] = found.stress
    sp.write_structures(results, structures[::-1])


if __name__ == "__main__":
    main(*sys.argv[1:])
