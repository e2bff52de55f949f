"""A label that has not converged gets one more attempt, with a safer way to the same result."""

import json
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.config import cfg

from sparring.labels import ASECalculator, Label, LabelError, LabelStore, PySCF, label, label_key, labelled_atoms
from sparring.labels.results import compute
from sparring.labels.safer import safer_settings

DIMER = Atoms("H2", positions=[[0, 0, 0], [0, 0, 1]])


class Scf:
    """Converges, or says that it has not, in one of the ways of real codes."""

    method, version = "scf", "scf 1"

    def __init__(self, does, safer=None, recipe=""):
        self.does, self.other, self.n_calls = does, safer, 0
        if recipe:
            self.recipe = recipe

    def __call__(self, atoms):
        self.n_calls += 1
        atoms.positions += 1  # which the second attempt must not see
        if isinstance(self.does, Exception):
            raise self.does
        energy = float(atoms.positions.sum()) if self.does else np.nan
        return Label(
            energy=energy, forces=np.zeros((2, 3)), method="scf", version="scf 1", converged=self.does, wall_time=0.0
        )

    def safer(self):
        if isinstance(self.other, Exception):
            raise self.other
        return self.other


def test_a_label_that_has_not_converged_is_tried_once_more_and_says_how_it_was_got(tmp_path):
    safe = Scf(True, recipe="damping 0.3")
    hasty = Scf(False, safe)
    store = LabelStore(tmp_path)
    found, computed = store.obtain(DIMER, hasty)
    assert (found.converged, found.energy, found.retried_with, computed) == (True, 7.0, "damping 0.3", True)
    assert (hasty.n_calls, safe.n_calls) == (1, 1)
    again, computed = store.obtain(DIMER, hasty)
    assert (again.energy, again.retried_with, computed) == (7.0, "damping 0.3", False)
    key = label_key(DIMER, hasty)
    assert json.loads((tmp_path / f"{key}.json").read_text())["label"]["retried_with"] == "damping 0.3"
    assert labelled_atoms(DIMER, found, key).info["retried_with"] == "damping 0.3"


def test_a_label_that_converges_at_once_is_not_tried_again_and_its_record_is_as_before(tmp_path):
    safe = Scf(True)
    store = LabelStore(tmp_path)
    found, _ = store.obtain(DIMER, Scf(True, safe))
    assert (found.retried_with, safe.n_calls) == (None, 0)
    key = label_key(DIMER, found)
    assert "retried_with" not in json.loads((tmp_path / f"{key}.json").read_text())["label"]
    parent = DIMER.copy()
    parent.info["retried_with"] = "that of its parent"
    assert "retried_with" not in labelled_atoms(parent, found, key).info


def test_a_second_attempt_that_fails_too_is_the_failure_and_there_is_no_third():
    third = Scf(True)
    second = Scf(False, third)
    found = compute(Scf(False, second), DIMER)
    assert (found.converged, second.n_calls, third.n_calls) == (False, 1, 0)
    with pytest.raises(LabelError, match=r"^the SCF oscillates \(neither with damping\)$") as caught:
        compute(
            Scf(
                LabelError("not_converged", "the SCF oscillates"), Scf(RuntimeError("no convergence"), recipe="damping")
            ),
            DIMER,
        )
    assert caught.value.reason == "not_converged"
    with pytest.raises(LabelError, match=r"ValueError: too many\b.*\(second attempt, with safer settings\)") as caught:
        compute(Scf(False, Scf(ValueError("too many"))), DIMER)
    assert caught.value.reason == "crashed"


def test_a_labeller_without_a_safer_way_is_asked_once():
    only = Scf(False, None)
    assert not compute(only, DIMER).converged
    assert only.n_calls == 1


def test_a_safer_way_to_another_result_is_refused():
    other = Scf(True)
    other.method = "scf with another functional"
    with pytest.raises(
        LabelError, match=r"safer\(\) of scf gave .*, wanted a labeller of the same method and version"
    ) as caught:
        compute(Scf(False, other), DIMER)
    assert caught.value.reason == "bad_result"
    with pytest.raises(LabelError, match=r"safer\(\) of scf raised KeyError: 'mixing'") as caught:
        compute(Scf(False, KeyError("mixing")), DIMER)
    assert caught.value.reason == "crashed"


@pytest.mark.parametrize(
    "text",
    [
        "SCF did not converge!",
        "Could not converge SCF iterations in 100 iterations.",
        "Convergence failure -- run terminated.",
        "SCF not converged within 250 cycles",
        "scf: unable to reach convergence",
        "convergence NOT achieved after 100 iterations: stopping",
    ],
)
def test_exceptions_that_say_so_are_a_lack_of_convergence_and_are_tried_again(text):
    assert compute(Scf(RuntimeError(text), Scf(True)), DIMER).retried_with == "safer settings"
    with pytest.raises(LabelError) as caught:
        compute(Scf(RuntimeError(text)), DIMER)
    assert caught.value.reason == "not_converged"


@pytest.mark.parametrize("text", ["the basis has converged nowhere near this file", "cannot open wavefunction", ""])
def test_other_exceptions_are_not(text):
    safe = Scf(True)
    with pytest.raises(LabelError, match="RuntimeError") as caught:
        compute(Scf(RuntimeError(text), safe), DIMER)
    assert (caught.value.reason, safe.n_calls) == ("crashed", 0)


@pytest.mark.parametrize("level", ["BP86-D3BJ/def2-SVP", "HF/6-31G"])
def test_the_safer_way_of_pyscf_has_the_same_energy_and_forces(level):
    pytest.importorskip("pyscf")
    usual = PySCF(level)
    safer = usual.safer()
    ammonia = molecule("NH3")
    ammonia.rattle(0.05, seed=1)
    first, second = usual(ammonia), safer(ammonia)
    assert second.energy == pytest.approx(first.energy, abs=1e-8)
    np.testing.assert_allclose(second.forces, first.forces, atol=1e-4)
    assert (safer.method, safer.version) == (usual.method, usual.version)
    assert safer.safer() is None


def test_a_slow_scf_is_saved_by_the_second_attempt(tmp_path):
    pytest.importorskip("pyscf")
    slow, quick = PySCF("HF/STO-3G", max_cycles=4), PySCF("HF/STO-3G")
    ammonia = molecule("NH3")
    assert not slow(ammonia).converged
    (found,) = label([ammonia], slow, store=tmp_path).labels
    assert found.energy == pytest.approx(quick(ammonia).energy, abs=1e-6)
    assert found.retried_with == "level shift 0.2 Hartree and damping 0.3, then second-order SCF of up to 16 cycles"


def test_the_safer_way_of_tblite_has_the_same_energy():
    pytest.importorskip("tblite")
    usual = ASECalculator("tblite", {"method": "GFN2-xTB"})
    safer = usual.safer()
    for name in ("H2O", "CH3CH2OH"):
        assert safer(molecule(name)).energy == pytest.approx(usual(molecule(name)).energy, abs=5e-8)
    assert (safer.method, safer.recipe) == (usual.method, "max_iterations=1000, mixer_damping=0.1")
    assert safer.safer() is None


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("tblite", {"max_iterations": 100}, {"max_iterations": 400, "mixer_damping": 0.1}),
        ("orca", {}, {"orcasimpleinput": "SlowConv", "orcablocks": "%scf MaxIter 500 end"}),
        ("orca", {"orcablocks": "%scf MaxIter 900 end"}, {"orcasimpleinput": "SlowConv"}),
        ("orca", {"orcasimpleinput": "PBE VerySlowConv"}, {}),
        ("gaussian", {"method": "b3lyp"}, {"scf": "xqc"}),
        ("gaussian", {"SCF": "qc"}, {}),
        ("vasp", {"nelm": 40}, {"algo": "All", "nelm": 160}),
        ("vasp", {"algo": "All"}, {}),
        ("emt", {}, {}),
    ],
)
def test_safer_settings_of_codes_behind_ase_leave_those_that_the_user_has_chosen(name, given, expected):
    assert safer_settings(name, given) == expected


ORCA = """#!{python}
import sys
from pathlib import Path
text = Path(sys.argv[1]).read_text()
if "SlowConv" not in text:
    print("ORCA finished by error termination in SCF\\n  SCF NOT CONVERGED AFTER 125 CYCLES")
    sys.exit(55)
print("Number of atoms                             ...      2\\nTotal Charge           Charge          ....    0")
print("CARTESIAN COORDINATES (ANGSTROEM)\\n---\\n  H  0.0 0.0 0.0\\n  H  0.0 0.0 1.0\\n")
print("FINAL SINGLE POINT ENERGY      -1.000000000000\\n****ORCA TERMINATED NORMALLY****")
Path("orca.engrad").write_text(
    "#\\n# Number of atoms\\n#\\n 2\\n#\\n# The current total energy in Eh\\n#\\n  -1.0\\n#\\n"
    "# The current gradient in Eh/bohr\\n#\\n" + " 0.0\\n" * 5 + " 0.1\\n#\\n"
    "# The atomic numbers and current coordinates in Bohr\\n#\\n 1 0.0 0.0 0.0\\n 1 0.0 0.0 1.9\\n"
)
"""


@pytest.mark.filterwarnings("ignore:Please use ase.io.read:DeprecationWarning")
def test_a_program_that_stops_because_its_scf_has_not_converged_is_told_from_one_that_crashes(tmp_path, monkeypatch):
    program = tmp_path / "orca"
    program.write_text(ORCA.format(python=sys.executable))
    program.chmod(0o755)
    parser = type(cfg.parser)(interpolation=None)
    parser.read_dict({"orca": {"command": str(program)}})
    monkeypatch.setattr(cfg, "parser", parser)
    labeller = ASECalculator("orca", {"orcasimpleinput": "PBE EnGrad"})
    with pytest.raises(LabelError, match="did not converge, as its output says") as caught:
        labeller(DIMER)
    assert caught.value.reason == "not_converged"
    found = compute(labeller, DIMER)
    assert found.retried_with == "orcasimpleinput=PBE EnGrad SlowConv, orcablocks=%scf MaxIter 500 end"
    assert found.energy == pytest.approx(-27.211386, abs=1e-4)
    program.write_text(f"#!{sys.executable}\nprint('no licence')\nraise SystemExit(3)\n")
    with pytest.raises(LabelError) as caught:
        compute(labeller, DIMER)
    assert caught.value.reason == "crashed"
