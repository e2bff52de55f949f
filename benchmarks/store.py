"""Labels per second of a store while it grows: python benchmarks/store.py [N_LABELS] [FOLDER].

Labels of a cheap calculator are computed in this process, kept, and read once more at the end. A row for each tenth of
them has the labels per second by the clock and by the processor's time of this process; the last lines are the ratio of
the last tenth to the first one.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.emt import EMT

from sparring.labels import FromCalculator, LabelStore


def structures(n_labels: int) -> list[Atoms]:
    """Nitrogen molecules, no two alike."""
    return [Atoms("N2", positions=[[0, 0, 0], [0, 0, 1.0 + 1e-5 * i]]) for i in range(n_labels)]


def rates(store: LabelStore, n_labels: int) -> np.ndarray:
    """Labels per second by the clock and by the processor's time, of each tenth."""
    labeller, rows, everything = FromCalculator(EMT()), [], structures(n_labels)
    for part in np.array_split(np.arange(n_labels), 10):
        chosen = [everything[i] for i in part]
        clock, processor = time.perf_counter(), time.process_time()
        for atoms in chosen:
            store.obtain(atoms, labeller)
        taken = time.perf_counter() - clock, time.process_time() - processor
        rows.append([len(part) / one for one in taken])
        by_clock, by_processor = rows[-1]
        print(
            f"{part[-1] + 1:7d} labels: {by_clock:7.0f} a second, {by_processor:7.0f} a second of processor", flush=True
        )
    return np.array(rows)


def main(n_labels: int = 10_000, folder: Path | None = None) -> None:
    """Measure, and print."""
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        store = LabelStore(temporary)
        found = rates(store, n_labels)
        started = time.perf_counter()
        keys = [store.key(atoms, FromCalculator(EMT())) for atoms in structures(n_labels)]
        assert all(store.get(key) is not None for key in keys)
        print(f"reading: {n_labels / (time.perf_counter() - started):.0f} a second; {len(store)} records")
    print("last tenth / first tenth: {:.2f} by the clock, {:.2f} by processor".format(*(found[-1] / found[0])))


if __name__ == "__main__":
    given = sys.argv[1:]
    main(int(given[0]) if given else 10_000, Path(given[1]) if len(given) > 1 else None)
