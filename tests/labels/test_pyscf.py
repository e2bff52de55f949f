import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from sparring.labels import LabelError, LabelStore, PySCF, label, label_key

pytest.importorskip("pyscf")


@pytest.fixture(scope="module")
def small():
    return PySCF("PBE-D3BJ/STO-3G")


def test_the_named_recipe_is_what_orca_calls_bp86():
    labeller = PySCF(method="bp86-d3bj/def2-svp")
    for part in ("functional=b88,gga_c_p86vwn", "dispersion=d3bj:bp86", "basis=def2-svp", "grid_level=3"):
        assert part in labeller.method
    assert "auxiliary_basis=def2-universal-jkfit" in labeller.method
    assert labeller.version.startswith("pyscf 2.")
    assert "pyscf-dispersion 1." in labeller.version
    assert PySCF().method == labeller.method == PySCF("BP86-D3BJ/def2-SVP").method


def test_ammonia_at_the_default_level_is_the_recipe_written_out_and_leaves_no_files(tmp_path, monkeypatch):
    from pyscf import dft, gto

    monkeypatch.chdir(tmp_path)
    ammonia = molecule("NH3")
    found = PySCF()(ammonia)
    geometry = list(zip(ammonia.symbols, ammonia.positions, strict=True))
    by_hand = dft.RKS(gto.M(atom=geometry, basis="def2-SVP", verbose=0), xc="b88,gga_c_p86vwn")
    by_hand = by_hand.density_fit("def2-universal-jkfit")
    by_hand.disp = "d3bj:bp86"
    by_hand.grids.level = 3
    assert found.converged
    assert found.energy == pytest.approx(by_hand.kernel() * 27.211386245988, abs=1e-6)
    gradient = by_hand.nuc_grad_method().kernel()
    np.testing.assert_allclose(found.forces, -gradient * 27.211386245988 / 0.529177210903, atol=1e-4)
    assert list(tmp_path.iterdir()) == []


def test_forces_are_the_derivative_of_the_energy_dispersion_included(small):
    gap, step = 1.0, 1e-3
    energies = [small(Atoms("HF", [[0, 0, 0], [0, 0, gap + sign * step]])).energy for sign in (1, -1)]
    forces = small(Atoms("HF", [[0, 0, 0], [0, 0, gap]])).forces
    assert -(energies[0] - energies[1]) / (2 * step) == pytest.approx(forces[1, 2], abs=5e-3)


def test_dispersion_lowers_the_energy_of_two_distant_atoms():
    pair = Atoms("He2", [[0, 0, 0], [0, 0, 3.0]])
    energies = {method: PySCF(f"{method}/STO-3G")(pair).energy for method in ("HF", "HF-D3BJ", "HF-D4")}
    assert -0.01 < energies["HF-D3BJ"] - energies["HF"] < 0
    assert -0.01 < energies["HF-D4"] - energies["HF"] < 0


def test_hartree_fock_of_hydrogen_is_the_textbooks():
    # Szabo and Ostlund, table 3.11: -1.117 Hartree for H2 in STO-3G at 1.4 Bohr.
    hydrogen = Atoms("H2", [[0, 0, 0], [0, 0, 1.4 * 0.529177]])
    exact = PySCF("HF/STO-3G", auxiliary_basis=None)(hydrogen)
    assert exact.energy / 27.211386 == pytest.approx(-1.1167, abs=1e-4)
    fitted = PySCF("HF/STO-3G")(hydrogen)
    assert fitted.energy == pytest.approx(exact.energy, abs=1e-2)
    assert label_key(hydrogen, exact) != label_key(hydrogen, fitted)


def test_an_open_shell_is_computed_unrestricted():
    hydrogen = Atoms("H")
    # The energy of one electron in the STO-3G hydrogen: -0.46658 Hartree (Szabo and Ostlund).
    assert PySCF("HF/STO-3G", auxiliary_basis=None)(hydrogen).energy / 27.211386 == pytest.approx(-0.46658, abs=1e-5)


def test_charge_and_multiplicity_change_the_label(small):
    hydrogen = molecule("H2")
    energies = []
    for info in ({}, {"charge": 1}, {"multiplicity": 3}):
        hydrogen.info = info
        energies.append(small(hydrogen).energy)
    assert energies[0] < min(energies[1:])
    assert len(set(energies)) == 3


def test_a_state_that_the_electrons_cannot_have_is_refused(small):
    hydrogen = molecule("H2")
    hydrogen.info["multiplicity"] = 2
    with pytest.raises(ValueError, match="structure 0: H2 with charge 0 has 2 electrons, which cannot have multiplici"):
        label([hydrogen], small)


def test_a_label_that_has_not_converged_is_an_error_and_is_kept(tmp_path):
    report = label([molecule("NH3")], PySCF("HF/STO-3G", max_cycles=1, energy_tolerance=1e-30), store=tmp_path)
    assert report.labels[0].reason == "not_converged"
    assert "structure 0 (H3N): PySCF HF/STO-3G" in str(report.labels[0])
    assert len(LabelStore(tmp_path)) == 1


def test_labels_of_several_processes_are_those_of_one(small):
    structures = [Atoms("H2", [[0, 0, 0], [0, 0, gap]]) for gap in (0.7, 0.8)]
    alone, together = label(structures, small), label(structures[::-1], small, n_workers=2)
    for first, second in zip(alone.labels, together.labels[::-1], strict=True):
        assert first.energy == second.energy
        np.testing.assert_array_equal(first.forces, second.forces)


def test_heavy_elements_get_their_core_potential():
    # All-electron iodine is near -6900 Hartree; with the 28 electrons of the core replaced it is near -297.
    iodide = Atoms("HI", [[0, 0, 0], [0, 0, 1.6]])
    assert PySCF("HF/def2-SVP", max_cycles=30)(iodide).energy / 27.211386 == pytest.approx(-298, abs=2)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("BP68-D3BJ/def2-SVP", "unknown functional 'bp68', did you mean 'BP86'"),
        ("r2scann/def2-SVP", "unknown functional 'r2scann', did you mean 'R2SCAN'"),
        ("BP86-D3BJ/def2-SPV", "unknown basis 'def2-spv', did you mean 'def2svp'"),
        ("BP86-D3/def2-SVP", "leaves open which dispersion correction is meant; write -D3BJ"),
        ("B97-D/def2-SVP", "leaves open which dispersion"),
        ("SVWN-D3BJ/def2-SVP", "D3BJ has no parameters for 'svwn'"),
        ("SVWN-D4/def2-SVP", "D4 has no parameters for 'svwn'"),
        ("PBE/ccECP-cc-pVDZ", "needs a pseudopotential"),
        ("BP86-D3BJ", "wanted functional.*got 'BP86-D3BJ'"),
        ("/def2-SVP", "wanted functional"),
        ("PBE/def2-SVP/TZVP", "wanted functional"),
    ],
)
def test_an_unknown_method_or_basis_is_refused_at_once(method, message):
    with pytest.raises(ValueError, match=message):
        PySCF(method)


def test_an_unknown_auxiliary_basis_and_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="unknown basis 'def2-univrsal'"):
        PySCF(auxiliary_basis="def2-univrsal")
    with pytest.raises(ValueError, match="wanted grid_level 0 to 9"):
        PySCF(grid_level=10)


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms("H2", [[0, 0, 0], [0, 0, 0.8]], cell=[3, 3, 3], pbc=True), "PySCF labels molecules, got H2 with pbc"),
        (Atoms("HX", [[0, 0, 0], [0, 0, 0.8]]), "HX with dummy atoms"),
        (Atoms("U"), "basis 'sto-3g' has no functions for U"),
    ],
)
def test_what_it_cannot_label_is_refused_in_words(small, atoms, message):
    with pytest.raises(LabelError, match=message) as caught:
        small(atoms)
    assert caught.value.reason == "bad_input"
