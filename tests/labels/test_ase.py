import sys
from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms
from ase.optimize import BFGS

from sparring.labels import (
    ASECalculator,
    Bounds,
    FromCalculator,
    LabelError,
    Labeller,
    LabelStore,
    StoredCalculator,
    check,
    label,
    label_key,
    plugin,
)
from sparring.labels.ase import as_labeller
from sparring.labels.plugins import PLUGIN_GROUP
from sparring.support import plugins


class Pull(Calculator):
    """A calculator whose parameters say all, and which can be told to be slow to converge."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012
    default_parameters = {"k": 1.0}  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        self.results["energy"] = 0.5 * self.parameters["k"] * (self.atoms.positions**2).sum()
        self.results["forces"] = -self.parameters["k"] * self.atoms.positions


@pytest.fixture
def water():
    return molecule("H2O")


@pytest.fixture
def tblite():
    pytest.importorskip("tblite")
    return ASECalculator("tblite", {"method": "GFN2-xTB"})


def test_a_calculator_by_name_gives_what_ase_gives(water):
    labeller = ASECalculator("emt")
    found = labeller(water)
    water.calc = EMT()
    assert isinstance(labeller, Labeller)
    assert found.energy == water.get_potential_energy()
    np.testing.assert_array_equal(found.forces, water.get_forces())
    assert found.converged
    assert found.stress is None
    assert labeller.version.startswith("ase 3.")


def test_parameters_change_the_label_and_its_key(water):
    narrow = ASECalculator("lj", {"sigma": 0.5, "epsilon": 0.1})
    wide = ASECalculator("lj", {"epsilon": 0.1, "sigma": 0.6})
    assert narrow(water).energy != wide(water).energy
    assert label_key(water, narrow) != label_key(water, wide)
    again = ASECalculator("lj", {"epsilon": np.float64(0.1), "sigma": 0.5})
    assert label_key(water, narrow) == label_key(water, again)


def test_the_forces_of_tblite_are_the_derivative_of_its_energy(water, tblite):
    water.rattle(0.05, seed=1)
    forces = tblite(water).forces
    step = 1e-3
    for i, j in ((0, 2), (1, 1)):
        energies = []
        for sign in (1, -1):
            moved = water.copy()
            moved.positions[i, j] += sign * step
            energies.append(tblite(moved).energy)
        assert -(energies[0] - energies[1]) / (2 * step) == pytest.approx(forces[i, j], abs=1e-4)


def test_charge_and_multiplicity_reach_the_calculator(water, tblite):
    from tblite.ase import TBLite

    for charge, multiplicity in ((0, 3), (1, 2), (-1, 2)):
        water.info.update(charge=charge, multiplicity=multiplicity)
        told = water.copy()
        told.calc = TBLite(method="GFN2-xTB", charge=charge, multiplicity=multiplicity, verbosity=0)
        assert tblite(water).energy == pytest.approx(told.get_potential_energy(), abs=1e-6)


def test_a_radical_is_a_doublet_unless_it_says_otherwise(tblite):
    radical = molecule("NH2")
    by_default = tblite(radical)
    radical.info["multiplicity"] = 2
    assert tblite(radical).energy == by_default.energy


def test_a_label_does_not_depend_on_the_one_before_it(water, tblite):
    moved = water.copy()
    moved.rattle(0.1, seed=3)
    assert label([water, moved], tblite).labels[1].energy == label([moved, water], tblite).labels[0].energy


def test_a_charge_that_the_calculator_cannot_be_told_is_an_error(water):
    water.info["charge"] = 1
    error = label([water], ASECalculator("emt")).labels[0]
    assert error.reason == "bad_input"
    assert "charge 1 and multiplicity 2, which 'emt' has no parameters for" in str(error)
    water.info = {"multiplicity": 3}
    with pytest.raises(LabelError, match="'EMT' has no parameters for"):
        FromCalculator(EMT())(water)


@pytest.mark.parametrize("name", ["charge", "multiplicity"])
def test_charge_and_multiplicity_belong_to_the_structure(tblite, name):
    from tblite.ase import TBLite

    with pytest.raises(ValueError, match=r"set atoms\.info\['charge'\]"):
        ASECalculator("tblite", {name: 2})
    with pytest.raises(ValueError, match=r"set atoms\.info\['charge'\]"):
        FromCalculator(TBLite(**{name: 2}))


def test_a_live_calculator_is_told_the_charge_and_is_left_as_it_was(water, tblite):
    from tblite.ase import TBLite

    calculator = TBLite(method="GFN2-xTB", verbosity=0)
    before = dict(calculator.parameters)
    for charge in (0, 1):
        water.info["charge"] = charge
        assert FromCalculator(calculator, method="xTB")(water).energy == pytest.approx(tblite(water).energy, abs=1e-5)
        assert dict(calculator.parameters) == before


def test_an_scf_that_does_not_converge_is_a_label_that_has_not_converged(water, tmp_path):
    pytest.importorskip("tblite")
    report = label([water], ASECalculator("tblite", {"max_iterations": 2}), store=tmp_path)
    assert report.labels[0].reason == "not_converged"
    assert len(LabelStore(tmp_path)) == 1


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("tblight", {}, "unknown ASE calculator 'tblight', did you mean 'tblite'"),
        ("orka", {}, "did you mean 'orca'"),
        ("os.system", {}, "unknown ASE calculator 'os.system'"),
        ("emt", {"asap_cutof": True}, "'emt' has no parameter 'asap_cutof', did you mean 'asap_cutoff'"),
        ("tblite", {"mehtod": "GFN1-xTB"}, "has no parameter 'mehtod', did you mean 'method'"),
        ("tblite", {"method": "GFN7-xTB"}, "'tblite' does not take these parameters: .*GFN7-xTB.* not available"),
        ("lj", {"rc": object()}, "a parameter is made of numbers, strings"),
    ],
)
def test_an_unknown_name_or_parameter_is_refused_at_once(name, parameters, message):
    if name == "tblite":
        pytest.importorskip("tblite")
    with pytest.raises(ValueError, match=message):
        ASECalculator(name, parameters)


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tblite.ase", None)
    with pytest.raises(ModuleNotFoundError, match="calculator 'tblite' needs a package that is not installed"):
        ASECalculator("tblite")


def test_a_parameter_that_names_a_file_counts_by_its_content(tmp_path):
    first, copy, other = tmp_path / "a.pt", tmp_path / "b.pt", tmp_path / "c.pt"
    for path, content in ((first, "1"), (copy, "1"), (other, "2")):
        path.write_text(content)
    methods = [FromCalculator(Pull(weights=[str(path)])).method for path in (first, copy, other)]
    assert methods[0] == methods[1] != methods[2]


def test_periodic_cells_get_their_stress():
    copper = bulk("Cu", cubic=True)
    copper.rattle(0.05, seed=0)
    found = ASECalculator("emt")(copper)
    copper.calc = EMT()
    np.testing.assert_array_equal(found.stress, copper.get_stress())


class Pressed(Calculator):
    """Counts its calculations; what it is asked for, and what it gives."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012
    default_parameters = {"gives": ("stress",)}  # noqa: RUF012
    n_calculations = 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        Calculator.calculate(self, atoms, properties, system_changes)
        Pressed.n_calculations += 1
        if self.parameters["gives"] == "an error" and "stress" in properties:
            raise PropertyNotImplementedError("no stress with these settings")
        self.results = {"energy": 1.0, "forces": np.zeros((len(self.atoms), 3))}
        if "stress" in properties and "stress" in self.parameters["gives"]:
            self.results["stress"] = np.arange(6.0)


@pytest.mark.parametrize(("gives", "n_calculations"), [(("stress",), 1), ((), 1), ("an error", 2)])
def test_a_label_with_a_stress_takes_one_calculation_and_one_without_is_a_label(gives, n_calculations):
    Pressed.n_calculations = 0
    found = FromCalculator(Pressed(gives=gives))(bulk("Cu"))
    assert found.energy == 1.0
    assert found.stress is None if gives != ("stress",) else found.stress.tolist() == [0, 1, 2, 3, 4, 5]
    assert Pressed.n_calculations == n_calculations


@pytest.mark.parametrize("pbc", [(True, True, False), (False, False, True), False])
def test_only_cells_that_are_periodic_in_three_directions_get_a_stress(pbc):
    copper = bulk("Cu", cubic=True)
    copper.pbc = pbc
    assert ASECalculator("emt")(copper).stress is None


def test_a_stored_calculator_has_the_stress_of_its_labeller(tmp_path):
    copper = bulk("Cu", cubic=True)
    copper.rattle(0.05, seed=0)
    copper.calc = EMT()
    wanted = copper.get_stress()
    copper.calc = StoredCalculator(EMT(), tmp_path)
    np.testing.assert_array_equal(copper.get_stress(), wanted)
    np.testing.assert_array_equal(LabelStore(tmp_path).get(label_key(copper, FromCalculator(EMT()))).stress, wanted)
    molecule_of_two = molecule("CO")
    molecule_of_two.calc = copper.calc
    molecule_of_two.get_forces()
    with pytest.raises(PropertyNotImplementedError):
        molecule_of_two.get_stress()


def test_a_stress_that_is_not_finite_is_a_failed_label(tmp_path):
    copper = bulk("Cu")
    one = FromCalculator(EMT())(copper)
    with pytest.raises(LabelError, match="gave a stress that is not finite"):
        check(replace(one, stress=np.array([np.nan, 0, 0, 0, 0, 0])), copper, Bounds())


def test_tblite_gives_the_stress_that_its_energies_have(tblite):
    crystal = bulk("NaCl", "rocksalt", 5.0)
    crystal.rattle(0.03, seed=0)
    labeller, step = ASECalculator("tblite", {"method": "GFN1-xTB"}), 1e-3
    found = labeller(crystal).stress
    for index, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        ends = []
        for sign in (-1, 1):
            strain = np.zeros((3, 3))
            strain[i, j] += sign * step / 2
            strain[j, i] += sign * step / 2
            moved = crystal.copy()
            moved.set_cell(crystal.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            ends.append(labeller(moved).energy)
        assert (ends[1] - ends[0]) / (2 * step) / crystal.get_volume() == pytest.approx(found[index], abs=1e-4)


def test_nothing_but_what_is_in_the_key_reaches_the_calculator(water):
    free = ASECalculator("emt")(water)
    water.set_constraint(FixAtoms([0]))
    water.set_tags([5, 6, 7])
    water.calc = LennardJones()
    np.testing.assert_array_equal(ASECalculator("emt")(water).forces, free.forces)


def test_a_calculator_that_hides_what_it_computes_has_to_be_named():
    hidden = Pull()
    hidden.weights = np.ones(3)
    with pytest.raises(ValueError, match=r"do not describe it completely; name it .* method='\.\.\.'"):
        FromCalculator(hidden)
    assert FromCalculator(hidden, method="pull, weights 1 1 1").method == "pull, weights 1 1 1"


def test_a_calculator_of_no_package_is_versioned_by_its_source():
    version = FromCalculator(Pull()).version
    assert version.startswith(Pull.__module__)
    assert len(version.split()[-1]) == 16


def test_what_is_neither_labeller_nor_calculator_is_refused():
    with pytest.raises(ValueError, match="wanted an ASE calculator or a labeller"):
        as_labeller(lambda atoms: 0.0)


@pytest.fixture
def registered(monkeypatch, toys):
    """Entry points as two installed packages would register them."""
    points = EntryPoints(
        [
            EntryPoint(name="harmonic", value="toy_labellers:Harmonic", group=PLUGIN_GROUP),
            EntryPoint(name="emt-plugin", value="ase.calculators.emt:EMT", group=PLUGIN_GROUP),
            EntryPoint(name="broken", value="builtins:dict", group=PLUGIN_GROUP),
        ]
    )
    monkeypatch.setattr(plugins, "entry_points", lambda group: points.select(group=group))
    return toys


def test_a_plugin_makes_a_labeller_from_its_parameters(registered, water):
    made = plugin("harmonic", {"method": "harmonic k=1", "converged": False})
    assert isinstance(made, registered.Harmonic)
    assert not made(water).converged


def test_a_plugin_may_give_an_ase_calculator(registered, water):
    made = plugin("emt-plugin", {"asap_cutoff": True})
    assert made.method == 'emt-plugin {"asap_cutoff": true}'
    assert made(water).energy == FromCalculator(EMT(asap_cutoff=True))(water).energy


def test_an_unknown_plugin_is_named_with_its_nearest(registered):
    with pytest.raises(ValueError, match=r"unknown labeller 'harmonics', did you mean 'harmonic'.*broken, emt-plugin"):
        plugin("harmonics")
    with pytest.raises(ValueError, match="wanted an ASE calculator or a labeller"):
        plugin("broken")


def test_without_plugins_it_is_said_that_there_are_none(monkeypatch):
    monkeypatch.setattr(plugins, "entry_points", lambda group: EntryPoints())
    with pytest.raises(ValueError, match="none; packages register them"):
        plugin("harmonic")


class Idle:
    """Names itself like EMT but must not be asked."""

    method = ASECalculator("emt").method
    version = ASECalculator("emt").version

    def __call__(self, atoms):
        raise AssertionError("a label that is in the store was asked for again")


def test_an_optimisation_through_the_store_computes_nothing_the_second_time(tmp_path):
    minima = []
    for labeller in (ASECalculator("emt"), Idle()):
        pair = Atoms("H2", positions=[[0, 0, 0], [0, 0, 1.3]])
        pair.calc = StoredCalculator(labeller, tmp_path)
        BFGS(pair, logfile=None).run(fmax=0.01)
        minima.append(pair.get_distance(0, 1))
    assert minima[0] == minima[1] != 1.3
    assert len(LabelStore(tmp_path)) > 3


def test_a_stored_calculator_gives_the_labels_own_numbers_once_each(tmp_path, toys):
    pair = Atoms("H2", positions=[[0, 0, 0], [0, 0, 1.3]])
    pair.calc = StoredCalculator(toys.Harmonic(log=tmp_path / "log"), LabelStore(tmp_path / "labels"))
    assert pair.get_potential_energy() == 0.5 * 1.3**2
    np.testing.assert_array_equal(pair.get_forces(), -pair.positions)
    pair.info["charge"] = 1
    pair.get_potential_energy()
    pair.info["charge"] = 0
    pair.get_potential_energy()
    assert len((tmp_path / "log").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("gap", "converged", "reason"), [(0.1, True, "distance"), (300.0, True, "force"), (1.0, False, "not_converged")]
)
def test_a_stored_calculator_raises_what_check_refuses(tmp_path, toys, gap, converged, reason):
    pair = Atoms("H2", positions=[[0, 0, 0], [0, 0, gap]])
    pair.calc = StoredCalculator(toys.Harmonic(converged=converged), tmp_path, bounds=Bounds())
    with pytest.raises(LabelError, match=r"^H2: ") as error:
        pair.get_potential_energy()
    assert error.value.reason == reason
