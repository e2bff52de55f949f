"""An ordinary FileIOCalculator around a small program, as packages write them: job.xyz in, job.out out."""

import sys
from pathlib import Path

import numpy as np
from ase.calculators.calculator import FileIOCalculator
from ase.io import write

PROGRAM = """
import sys, time
rows = [[float(x) for x in line.split()[1:4]] for line in open(sys.argv[1]).readlines()[2:]]
time.sleep(0.1)
print(0.5 * sum(x * x for row in rows for x in row))
for row in rows:
    print(*(-x for x in row))
"""


class Small(FileIOCalculator):
    implemented_properties = ["energy", "forces"]  # noqa: RUF012  (ASE declares it so)

    def __init__(self, folder=".", **parameters):
        program = Path(folder).resolve() / "program.py"
        command = f"{sys.executable} {program} PREFIX.xyz > PREFIX.out"
        super().__init__(label="job", command=command, **parameters)

    def write_input(self, atoms, properties=None, system_changes=None):
        super().write_input(atoms, properties, system_changes)
        write(self.label + ".xyz", atoms, format="xyz", fmt="%22.15f")

    def read_results(self):
        rows = [[float(x) for x in line.split()] for line in Path(self.label + ".out").read_text().splitlines()]
        self.results = {"energy": rows[0][0], "forces": np.array(rows[1:])}
