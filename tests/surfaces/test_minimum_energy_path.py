import dataclasses
import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import add_adsorbate, fcc100, minimize_rotation_and_translation
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.mep import NEB
from ase.mep.neb import NEBTools
from ase.optimize import FIRE
from ase.utils.forcecurve import fit_images

from sparring.committee import Committee
from sparring.dynamics.calculator import CommitteeCalculator
from sparring.labels import FromCalculator, LabelError, LabelStore, label
from sparring.starting_data.relaxation import RelaxationError, relax
from sparring.surfaces.evaluators import SinglePoint, committee_surface, label_surface
from sparring.surfaces.minimum_energy_path import MinimumEnergyPath, neb
from sparring.systems.ammonia import inversion_barrier, inversion_endpoints, planar_geometry
from sparring.systems.wells import DoubleWell2D
from sparring.units import KCAL_PER_MOL
from sparring.validation.records import read_record, write_record

BOND, STIFFNESS, STIFFNESS_BETWEEN = 1.01, 40.0, 3.0
PULLS = (1.60, 1.63, 1.65)


def umbrella(between, zero=0.0):
    """Ammonia of springs: hydrogens that are closer than planarity allows, so that it is a pyramid with a barrier."""
    first, second = torch.triu_indices(4, 4, offset=1)
    stiffness = torch.where(first == 0, STIFFNESS, STIFFNESS_BETWEEN).double()
    length = torch.where(first == 0, BOND, between).double()

    def energies(structures):
        positions = structures.positions.reshape(-1, 4, 3)
        distance = (positions[:, first] - positions[:, second]).square().sum(-1).sqrt()
        return zero + (stiffness / 2 * (distance - length).square()).sum(-1)

    return energies


def springs(pulls=PULLS, zeros=(0.0, 0.0, 0.0)):
    return Committee([umbrella(between, zero) for between, zero in zip(pulls, zeros, strict=True)])


def closed_form_barrier(pulls=PULLS):
    """Springs of several lengths but one stiffness are, in the mean, one spring of the mean length."""
    between = np.mean(pulls)
    stiff = STIFFNESS + 3 * STIFFNESS_BETWEEN
    bond = (STIFFNESS * BOND + STIFFNESS_BETWEEN * math.sqrt(3) * between) / stiff
    return 1.5 * STIFFNESS * (bond - BOND) ** 2 + 1.5 * STIFFNESS_BETWEEN * (math.sqrt(3) * bond - between) ** 2


@pytest.fixture(scope="module")
def ends():
    bent = planar_geometry(1.0)
    bent.positions[0, 2] = 0.4
    bent.rotate(50, (1, 2, 3))
    bent.rattle(0.01, seed=1)
    return inversion_endpoints(bent)


@pytest.fixture(scope="module")
def inversion(ends):
    """A path with all its steps seen: how many structures each call of the surface was given."""
    sizes, surface = [], committee_surface(springs())

    def evaluate(structures):
        sizes.append(len(structures))
        return surface(structures)

    path, images = neb(*ends, evaluate, method="springs")
    return path, images, sizes


# --- known barriers -------------------------------------------------------------------------------------------------


def test_the_top_of_ammonias_inversion_is_the_relaxed_planar_molecule(inversion, ends):
    path, images, _ = inversion
    planar = inversion_barrier(CommitteeCalculator(springs()), ends[0])
    assert path.converged
    assert path.top == 5
    assert path.barrier == pytest.approx(planar.height, abs=0.02 * KCAL_PER_MOL)
    assert path.barrier == pytest.approx(closed_form_barrier(), abs=0.02 * KCAL_PER_MOL)
    assert path.barrier_reverse == pytest.approx(path.barrier, abs=1e-4)
    top = images[5].positions - images[5].positions.mean(axis=0)
    assert np.linalg.svd(top)[1][2] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("interpolation", ["idpp", "linear"])
def test_a_tighter_band_is_nearer_to_the_saddle_whatever_it_began_as(ends, interpolation):
    path, _ = neb(*ends, committee_surface(springs()), fmax=0.002, interpolation=interpolation)
    assert path.barrier == pytest.approx(closed_form_barrier(), abs=2e-5)
    np.testing.assert_allclose(path.energy, path.energy[::-1], atol=1e-4)


def well_surface():
    """The paper's well in two dimensions, with labels for its surface."""
    return label_surface(Bench(DoubleWell2D()))


class Bench:
    """A label_service that remembers how many structures each of its calls had."""

    def __init__(self, calculator, store=None, failing=None):
        self.labeller, self.store, self.failing = FromCalculator(calculator, method="toy"), store, failing or {}
        self.sizes, self.n_computed = [], 0

    def label(self, structures):
        self.sizes.append(len(structures))
        report = label(structures, self.labeller, store=self.store)
        self.n_computed += report.n_computed
        wrong = self.failing.get(len(self.sizes))
        if wrong is None:
            return report
        labels = list(report.labels)
        formula = structures[wrong].get_chemical_formula()
        labels[wrong] = LabelError("not_converged", f"structure {wrong} ({formula}): the SCF did not converge")
        return dataclasses.replace(report, labels=tuple(labels))


def stationary_points():
    x = np.sort(np.roots([40, 0, -20, 2]).real)
    return x, DoubleWell2D.energies(np.stack([x, 0 * x, 0 * x], axis=1))


def test_a_climbing_image_stands_on_the_saddle_of_the_well(particle):
    x, energy = stationary_points()
    path, images = neb(particle(-0.9, 0.1), particle(0.7, -0.1), well_surface(), climb=True, fmax=0.005)
    assert path.climb
    assert path.barrier == pytest.approx(energy[1] - energy[0], abs=1e-5)
    assert path.barrier_reverse == pytest.approx(energy[1] - energy[2], abs=1e-4)
    np.testing.assert_allclose(images[path.top].positions, [[x[1], 0, 0]], atol=1e-3)
    np.testing.assert_allclose(images[0].positions, [[x[0], 0, 0]], atol=1e-3)
    assert path.coordinate[-1] == pytest.approx(x[2] - x[0], abs=1e-3)


def test_the_curve_through_the_images_finds_a_top_between_them(particle):
    _, energy = stationary_points()
    height = energy[1] - energy[0]
    path, images = neb(particle(-0.9), particle(0.7), well_surface(), n_images=8)
    assert path.barrier < height - 0.02
    assert path.interpolated_barrier == pytest.approx(height, abs=0.01)
    assert path.interpolated_barrier == pytest.approx(NEBTools(images).get_barrier(fit=True)[0], abs=1e-3)


def test_slopes_are_the_derivative_of_the_energy_along_the_path(inversion):
    path, images, _ = inversion
    inside, step = slice(1, -1), 1e-4
    surface = committee_surface(springs())
    tangents = np.array([b.positions - a.positions for a, b in zip(images[:-2], images[2:], strict=True)])
    tangents /= np.linalg.norm(tangents, axis=(1, 2), keepdims=True)
    differences = []
    for image, tangent in zip(images[inside], tangents, strict=True):
        ahead, behind = image.copy(), image.copy()
        ahead.positions += step * tangent
        behind.positions -= step * tangent
        above, below = surface([ahead, behind])
        differences.append((above.energy - below.energy) / (2 * step))
    np.testing.assert_allclose(path.slope[inside], differences, atol=1e-6)


# --- one batch a step -----------------------------------------------------------------------------------------------


def test_all_movable_images_of_a_step_are_evaluated_in_one_batch(inversion):
    path, _, sizes = inversion
    assert sizes[: sizes.index(2)] == [1] * sizes.index(2)
    assert sizes[sizes.index(2) + 1 :] == [9] * (path.n_steps + 1)


def test_batches_give_what_ase_gives_with_a_calculator_for_each_image(inversion, ends):
    path, images, _ = inversion
    committee = springs()
    first, last = (relax(end, CommitteeCalculator(committee)) for end in ends)
    minimize_rotation_and_translation(first, last)
    reference = [first.copy() for _ in range(10)] + [last]
    for image in reference:
        image.calc = CommitteeCalculator(committee)
    band = NEB(reference, k=0.1, method="improvedtangent")
    NEB(reference, method="improvedtangent").interpolate("idpp")
    with FIRE(band, logfile=None) as optimiser:
        assert optimiser.run(fmax=0.02, steps=300)
    assert optimiser.nsteps == path.n_steps
    energies = np.array([image.get_potential_energy() for image in reference])
    np.testing.assert_allclose(path.energy, energies - energies[0], atol=1e-10)
    np.testing.assert_allclose([i.positions for i in images], [i.positions for i in reference], atol=1e-8)
    np.testing.assert_allclose(path.coordinate, fit_images(reference).path, atol=1e-8)


def test_a_laboratory_is_asked_once_a_step_and_nothing_is_computed_twice(particle, tmp_path):
    options = {"n_images": 5, "fmax": 0.1, "climb": True}
    bench = Bench(DoubleWell2D(), LabelStore(tmp_path))
    path, _ = neb(particle(-0.9), particle(0.7), label_surface(bench), **options)
    assert path.n_steps > 0
    assert bench.sizes[bench.sizes.index(2) + 1 :] == [3] * (path.n_steps + 1)
    assert len(LabelStore(tmp_path)) == bench.n_computed
    again = Bench(DoubleWell2D(), LabelStore(tmp_path))
    repeated, _ = neb(particle(-0.9), particle(0.7), label_surface(again), **options)
    assert again.n_computed == 0
    assert repeated.energy.tolist() == path.energy.tolist()


# --- what members say -----------------------------------------------------------------------------------------------


def test_members_count_from_their_own_start(ends, inversion):
    path, _, _ = inversion
    shifted, _ = neb(*ends, committee_surface(springs(zeros=(-100.0, 0.0, 300.0))))
    assert (shifted.member_energy[:, 0] == 0).all()
    np.testing.assert_allclose(shifted.member_energy, path.member_energy, atol=1e-9)
    np.testing.assert_allclose(shifted.energy_sigma, path.energy_sigma, atol=1e-9)


def test_the_spread_is_the_standard_deviation_of_what_members_say_of_the_same_images(inversion):
    path, images, _ = inversion
    alone = np.array([[one.energy for one in committee_surface(Committee([umbrella(p)]))(images)] for p in PULLS])
    alone -= alone[:, :1]
    np.testing.assert_allclose(path.member_energy, alone, atol=1e-12)
    np.testing.assert_allclose(path.energy, alone.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(path.energy_sigma, alone.std(axis=0, ddof=1), atol=1e-12)
    np.testing.assert_allclose(path.member_barriers, alone.max(axis=1), atol=1e-12)
    assert path.barrier_sigma == pytest.approx(alone.max(axis=1).std(ddof=1))
    assert path.barrier_sigma > 0.01


def test_a_surface_that_is_no_committees_has_no_spread(particle):
    path, _ = neb(particle(-0.9), particle(0.7), well_surface())
    assert path.member_energy.tolist() == [path.energy.tolist()]
    assert (path.barrier_sigma, path.energy_sigma.tolist()) == (0.0, [0.0] * 11)


# --- ends -----------------------------------------------------------------------------------------------------------


def test_both_ends_are_relaxed_and_the_given_structures_are_left_alone(ends, inversion):
    path, images, _ = inversion
    before = [end.positions.copy() for end in ends]
    forces = [np.linalg.norm(images[i].get_forces(), axis=1).max() for i in (0, -1)]
    assert max(forces) <= 0.02 / 4
    assert (path.moved > 0.01).all()
    assert all((end.positions == b).all() for end, b in zip(ends, before, strict=True))
    assert np.linalg.norm(committee_surface(springs())([ends[0]])[0].forces, axis=1).max() > 0.1


def test_an_end_that_lies_elsewhere_and_turned_is_laid_onto_the_start(ends, inversion):
    start, end = ends[0], ends[1].copy()
    end.rotate(130, (1, -1, 0.3))
    end.positions += 7.0
    path, images = neb(start, end, committee_surface(springs()))
    np.testing.assert_allclose(path.energy, inversion[0].energy, atol=1e-5)
    np.testing.assert_allclose(path.coordinate, inversion[0].coordinate, atol=1e-3)
    np.testing.assert_allclose(images[-1].positions.mean(axis=0), images[0].positions.mean(axis=0), atol=1e-12)


def test_images_keep_the_electronic_state_and_nothing_else_of_the_start(ends):
    start, end = (one.copy() for one in ends)
    start.info |= {"REF_energy": -3.0, "source": "attack"}
    start.arrays["REF_forces"] = np.ones((4, 3))
    _, images = neb(start, end, committee_surface(springs()), max_steps=40, n_images=3)
    for image in images:
        assert image.info == {"charge": 0, "multiplicity": 1}
        assert set(image.arrays) == {"numbers", "positions"}
        assert image.get_potential_energy() == image.calc.results["energy"]


def test_ends_that_relax_into_one_minimum_are_an_error(ends):
    flat = committee_surface(springs([BOND * math.sqrt(3) + 0.05] * 3))
    with pytest.raises(RelaxationError, match=r"both ends of the path relax to the same minimum of NH3 \(the start"):
        neb(*ends, flat)


def test_an_end_that_does_not_relax_is_named(ends):
    with pytest.raises(
        RelaxationError, match=r"the start of the path: relaxing H3N: the largest force is .* after 1 st"
    ):
        neb(*ends, committee_surface(springs()), max_steps=1)


def changed(atoms, **changes):
    copy = atoms.copy()
    copy.info |= changes
    return copy


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: Atoms("NH2", positions=a.positions[:3]), "have the same atoms, got NH3 and NH2"),
        (lambda a: a[[1, 0, 2, 3]], "same order, got NH3 and HNH2: atom 0 is N in one and H in the other; renumber"),
        (lambda a: changed(a, charge=1, multiplicity=2), r"same charge and multiplicity, got \(0, 1\) and \(1, 2\)"),
        (lambda a: Atoms(a, cell=[9, 9, 9], pbc=True), "have the same cell and pbc"),
    ],
)
def test_between_different_molecules_there_is_no_path(ends, spoil, message):
    with pytest.raises(ValueError, match=message):
        neb(ends[0], spoil(ends[1]), committee_surface(springs()))


def test_a_geometry_is_no_other_minimum_only_because_it_was_turned(ends):
    turned = ends[0].copy()
    turned.rotate(77, (1, 1, 1))
    turned.positions += 2.0
    with pytest.raises(ValueError, match="start and end are the same geometry"):
        neb(ends[0], turned, committee_surface(springs()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_images": 2}, "at least 3 images, its two ends among them, got 2"),
        ({"interpolation": "cubic"}, "unknown interpolation 'cubic'; wanted 'idpp' or 'linear'"),
    ],
)
def test_options_that_make_no_sense_are_refused(ends, options, message):
    with pytest.raises(ValueError, match=message):
        neb(*ends, committee_surface(springs()), **options)


# --- crystals -------------------------------------------------------------------------------------------------------


@pytest.fixture
def hop():
    """An atom on a copper surface, in two neighbouring hollows."""

    def site(offset):
        slab = fcc100("Cu", (2, 2, 2), vacuum=4.0)
        add_adsorbate(slab, "Cu", 1.7, "hollow", offset=offset)
        slab.pbc = (True, True, False)
        slab.set_constraint(FixAtoms([atom.index for atom in slab if atom.tag > 0]))
        return slab

    return site((0, 0)), site((1, 0))


def copper(structures):
    points = []
    for atoms in structures:
        energy, forces = EMT().get_potential_energy(atoms), EMT().get_forces(atoms)
        points.append(SinglePoint(energy, forces, np.array([energy])))
    return points


def test_in_a_crystal_atoms_go_the_shortest_way_round(hop):
    start, end = hop
    options = {"n_images": 5, "fmax": 0.1}
    path, images = neb(start, end, copper, **options)
    wrapped = end.copy()
    wrapped.positions[-1] += 2 * wrapped.cell[0] - wrapped.cell[1]
    other, _ = neb(start, wrapped, copper, **options)
    np.testing.assert_allclose(other.energy, path.energy, atol=1e-6)
    assert path.coordinate[-1] == pytest.approx(other.coordinate[-1], abs=1e-5)
    assert path.coordinate[-1] < 1.3 * np.linalg.norm(start.cell[0]) / 2
    assert all((image.positions[:-1] == start.positions[:-1]).all() for image in images)
    assert path.barrier == pytest.approx(path.barrier_reverse, abs=1e-3)
    assert path.barrier > 0.2


# --- failures -------------------------------------------------------------------------------------------------------


def test_a_label_that_fails_names_its_image(particle):
    good = Bench(DoubleWell2D())
    neb(particle(-0.9), particle(0.7), label_surface(good), n_images=7)
    bench = Bench(DoubleWell2D(), failing={len(good.sizes): 3})
    with pytest.raises(LabelError, match=r"^image 4 of the path \(0 to 6\): the SCF did not converge$") as caught:
        neb(particle(-0.9), particle(0.7), label_surface(bench), n_images=7)
    assert caught.value.reason == "not_converged"


def test_a_label_that_fails_at_an_end_names_the_end(particle):
    with pytest.raises(LabelError, match=r"^the start of the path: the SCF did not converge$"):
        neb(particle(-0.9), particle(0.7), label_surface(Bench(DoubleWell2D(), failing={1: 0})))


def test_an_image_without_a_finite_energy_is_named(particle):
    surface = well_surface()

    def broken(structures):
        points = list(surface(structures))
        return points if len(points) < 9 else [*points[:6], SinglePoint(np.nan, *points[6][1:]), *points[7:]]

    seen = []
    with pytest.raises(RelaxationError, match=r"image 7 of the path \(0 to 10\) has an energy or a force that is not"):
        neb(particle(-0.9), particle(0.7), broken, progress=lambda *now: seen.append(now))
    assert seen == [(0, 0)]  # a bar that somebody watches is closed


def test_a_band_that_has_not_converged_says_so(ends):
    # Ends that are relaxed already, so that only the band needs steps.
    relaxed = inversion_endpoints(relax(ends[0], CommitteeCalculator(springs()), fmax=1e-4))
    seen = []
    path, _ = neb(*relaxed, committee_surface(springs()), max_steps=2, progress=lambda *now: seen.append(now))
    assert (path.converged, path.n_steps) == (False, 2)
    assert path.fmax > 0.02
    assert seen == [(0, 2), (1, 2), (2, 2), (2, 2)]


# --- records --------------------------------------------------------------------------------------------------------


def test_a_path_comes_back_from_its_record(inversion, tmp_path):
    path, _, _ = inversion
    write_record(tmp_path / "path.json", path)
    back = read_record(tmp_path / "path.json", MinimumEnergyPath)
    for field in dataclasses.fields(path):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(path, field.name))
    assert (back.barrier, back.method, back.converged) == (path.barrier, "springs", True)
