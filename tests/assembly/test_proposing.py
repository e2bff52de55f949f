"""From the section `attack` to what is moved."""

import math
from importlib.metadata import EntryPoint, EntryPoints

import pytest
from ase.build import molecule

from sparring.assembly.proposing import attackable, bonds_of, one_of_each, proposer, space_of
from sparring.atoms.dataset import ENERGY, Dataset
from sparring.atoms.structures import Structures
from sparring.commands import running
from sparring.commands.running import check, run
from sparring.config import load
from sparring.inputs.extxyz import read_structures
from sparring.proposers.spaces import Cartesian, Combined, Dihedrals, RandomDisplacement, Rigid, Uniform
from sparring.proposers.spaces.registry import PLUGIN_GROUP
from sparring.support import plugins
from sparring.systems import alanine_dipeptide

ETHANOL = molecule("CH3CH2OH")


def chain(atoms):
    """H-O-C-C of ethanol."""
    oxygen = int(atoms.symbols.search("O")[0])
    hydrogen, carbon = (
        min(map(int, atoms.symbols.search(what)), key=lambda i: atoms.get_distance(oxygen, i)) for what in "HC"
    )
    (other,) = (int(i) for i in atoms.symbols.search("C") if i != carbon)
    return [hydrogen, oxygen, carbon, other]


@pytest.fixture
def config(tmp_path):
    def make(attack, system="{kind: ammonia}", **options):
        file = tmp_path / "run.yaml"
        file.write_text(f"system: {system}\nattack: {attack}\n", encoding="utf-8")
        return load(file, **options)

    return make


TORSION = chain(ETHANOL)
TURNING = {"kind": "dihedrals", "torsions": [TORSION]}
SPACES = {
    "atoms": (
        {"kind": "cartesian", "atoms": [0, 2], "axes": "z", "initial_spread": 0.2, "bound": {"radius": 1.0, "norm": 1}},
        Cartesian(atoms=(0, 2), axes="z", spread=0.2, radius=1.0, norm=1.0),
    ),
    "torsions": (
        {**TURNING, "initial_spread": 0.1, "bound": {"radius": "180 deg"}},
        Dihedrals.of(ETHANOL, [TORSION], spread=0.1, radius=math.pi),
    ),
    "torsions and then atoms": (
        {"kind": "combined", "spaces": [TURNING, {"kind": "cartesian", "scale": 0.1}]},
        Combined(spaces=(Dihedrals.of(ETHANOL, [TORSION]), Cartesian()), scales=(1.0, 0.1)),
    ),
    "rigid": (
        {"kind": "rigid", "initial_rotation": "90 deg", "max_translation": 2.0, "max_rotation": 3.0, "which": "all"},
        Rigid.of(ETHANOL, rotation_spread=math.pi / 2, max_translation=2.0, max_rotation=3.0),
    ),
    "rigid, some atoms": (
        {"kind": "rigid", "atoms": [0, 3], "which": "rotation", "initial_spread": 0.2},
        Rigid.of(ETHANOL, [0, 3], which="rotation", spread=0.2),
    ),
}
RANDOM = {
    "atoms": ({"kind": "cartesian", "atoms": [1], "amplitude": 0.4}, RandomDisplacement(amplitude=0.4, atoms=(1,))),
    "torsions": (TURNING, Uniform(space=Dihedrals.of(ETHANOL, [TORSION]), amplitude=math.pi)),
    "rigid": (
        {"kind": "rigid", "amplitude": 0.5},
        Combined(
            spaces=(
                Uniform(space=Rigid.of(ETHANOL, which="translation"), amplitude=0.5),
                Uniform(space=Rigid.of(ETHANOL, which="rotation"), amplitude=math.pi),
            )
        ),
    ),
    "a combination": (
        {"kind": "combined", "spaces": [{**TURNING, "amplitude": 1.0}]},
        Combined(spaces=(Uniform(space=Dihedrals.of(ETHANOL, [TORSION]), amplitude=1.0),), scales=(1.0,)),
    ),
}


@pytest.mark.parametrize(
    ("kind", "section", "space"),
    [
        *(("adversarial", *row) for row in SPACES.values()),
        *(("random", *row) for row in RANDOM.values()),
    ],
)
def test_a_section_becomes_the_space_that_it_describes(kind, section, space, config):
    chosen = config("{}", overrides={"attack": {"kind": kind, "space": section}})
    assert space_of(chosen.attack.space, [ETHANOL]) == space


def test_a_space_may_come_from_a_package(config, monkeypatch):
    points = EntryPoints([EntryPoint("own", "sparring.proposers.spaces:Cartesian", PLUGIN_GROUP)])
    monkeypatch.setattr(plugins, "entry_points", lambda group: points.select(group=group))
    text = "space: {kind: plugin, name: own, parameters: {spread: 0.3}"
    assert space_of(config(f"{{{text}}}}}").attack.space) == Cartesian(spread=0.3)
    drawn = space_of(config(f"{{kind: random, {text}, amplitude: 2}}}}").attack.space)
    assert drawn == Uniform(space=Cartesian(spread=0.3), amplitude=2.0)


def test_torsions_are_looked_for_on_the_lowest_structure_of_every_molecule(rattled):
    water, *ethanols = molecule("H2O"), *rattled(ETHANOL, 3)
    for one, energy in zip(ethanols, (-1.0, -3.0, -2.0), strict=True):
        one.info[ENERGY] = energy
    assert one_of_each([water, *ethanols]) == [water, ethanols[1]]
    assert one_of_each([ETHANOL, water, *ethanols])[0] == ethanols[1]
    assert one_of_each([ETHANOL, *rattled(ETHANOL, 2)]) == [ETHANOL]
    assert one_of_each([ETHANOL, ETHANOL[::-1]]) == [ETHANOL, ETHANOL[::-1]]


def test_the_dipeptide_knows_its_bonds_and_others_have_them_perceived(config):
    attack = "{space: {kind: dihedrals, torsions: [phi, psi]}}"
    assert bonds_of(config(attack, "{kind: alanine_dipeptide}")) == alanine_dipeptide.BONDS
    assert bonds_of(config(attack)) is None


def test_only_molecules_that_are_attacked_need_the_torsion(config, committee, rattled):
    space = f"{{kind: dihedrals, torsions: [{chain(ETHANOL)}]}}"
    chosen = config(f"{{n_steps: 2, objective: {{kT: null}}, space: {space}}}")
    attack = proposer(chosen, None, molecules=[molecule("H2O"), ETHANOL])
    seeds = rattled(ETHANOL, 2, stdev=0.02)
    result = attack(committee(), Structures.from_atoms(seeds), 0)
    assert result.structures.n_structures == 2
    mixed = Structures.from_atoms([*seeds, molecule("H2O")])
    with pytest.raises(ValueError, match="the atoms of H2O are numbered from 0 to 2"):
        attack(committee(), mixed, 0)


# --- before the cluster hours are spent -------------------------------------------------------------------------------


@pytest.fixture
def ethanol_file(molecules_file, rattled):
    def make(**space):
        return molecules_file({"attack.space": space}, structures=rattled(ETHANOL, 6, stdev=0.03), name="ethanol")

    return make


BAD = {
    "in no peptide": ({"kind": "dihedrals", "torsions": ["phi"]}, "C2H6O has no phi: there is no peptide's backbone"),
    "too many atoms": ({"kind": "dihedrals", "torsions": [[0, 1, 2, 9]]}, "C2H6O are numbered from 0 to 8"),
    "no package": ({"kind": "plugin", "name": "mine"}, "unknown space 'mine'"),
    "in a combination": (
        {"kind": "combined", "spaces": [{"kind": "dihedrals", "torsions": ["psi"]}]},
        "C2H6O has no psi",
    ),
}


@pytest.mark.parametrize(("space", "message"), BAD.values(), ids=BAD)
def test_a_torsion_that_is_not_there_fails_the_check_and_no_run_begins(space, message, ethanol_file, tmp_path):
    file = ethanol_file(**space)
    with pytest.raises(ValueError, match=message):
        check(load(file))
    with pytest.raises(ValueError, match=message):
        run(file, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_seeds_have_the_torsion_and_all_their_bonds(config, rattled, with_random_labels):
    broken = ETHANOL.copy()
    broken.positions[TORSION[0]] += 3.0
    known = config(f"{{space: {{kind: dihedrals, torsions: [{TORSION}]}}}}")
    frames = [molecule("H2O"), broken, *rattled(ETHANOL, 2, stdev=0.02)]
    with_random_labels(frames)
    frames[2].info[ENERGY] = -9.0
    dataset = Dataset.from_atoms(frames)
    assert attackable(known, dataset).tolist() == [False, False, True, True]
    assert attackable(config("{n_steps: 1}"), dataset).all()
    with pytest.raises(ValueError, match="H2O are numbered from 0 to 2"):
        attackable(known, Dataset.from_atoms(frames[:1]))


def test_a_run_attacks_torsions_and_then_atoms(ethanol_file, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "report", lambda folder: None)
    turning = {"kind": "dihedrals", "torsions": [chain(ETHANOL)], "initial_spread": "60 deg"}
    run(ethanol_file(**turning), tmp_path / "turned")
    seeds = {str(distances_of_bonds(one)) for one in read_structures(tmp_path / "turned/generation-01/dataset.extxyz")}
    found = read_structures(tmp_path / "turned/generation-01/attacks.extxyz")
    assert {str(distances_of_bonds(one)) for one in found} <= seeds
    combined = {"kind": "combined", "spaces": [turning, {"kind": "cartesian", "scale": 0.1}]}
    run(ethanol_file(**combined), tmp_path / "both")
    moved = read_structures(tmp_path / "both/generation-01/attacks.extxyz")
    assert not {str(distances_of_bonds(one)) for one in moved} & seeds


def distances_of_bonds(atoms):
    return [round(atoms.get_distance(*bond), 5) for bond in ((0, 1), (0, 2), (1, 2))]


@pytest.mark.parametrize("kT", ["1 meV", "null"])
def test_attacks_that_only_relax_are_said_to_and_what_to_do(kT, config, committee, ammonia, rattled, caplog):
    resolved = config(f"{{n_steps: 8, learning_rate: 1.0e-3, objective: {{kT: {kT}, logarithm: true}}}}")
    atoms = rattled(ammonia, 4)
    for one in atoms:
        one.info[ENERGY], one.arrays["REF_forces"] = 0.0, 0.0 * one.positions
    data = Dataset.from_atoms(atoms)
    result = proposer(resolved, data)(committee(), data.structures, 0)
    if kT == "null":
        assert "relaxations" not in caplog.text
        return
    assert result.energy_fell().all()
    assert "in 4 of 4 attacks the energy fell below that of their start" in caplog.text
    assert "in attack.objective raise kT of boltzmann (now 0.001 eV)" in caplog.text


# --- a guest in a host ------------------------------------------------------------------------------------------------

SOFT = "{kind: combined, spaces: [{kind: rigid, initial_rotation: 0.1}, {kind: cartesian, scale: 0.1}]}"
ON_GUEST = {
    "rigid": ("null", "{kind: rigid, initial_spread: 0.1}", 3),
    "atoms of the guest alone": ("guest", "{kind: cartesian}", 3),
    "all of it, the host frozen": ("guest", SOFT, 3),
    "all of it, the host soft": ("null", SOFT, 21),
    "the host soft about the guest": ("{centres: guest, radius: 3.2 Å}", SOFT, None),
}


@pytest.mark.parametrize(("region", "space", "n_moved"), ON_GUEST.values(), ids=ON_GUEST)
def test_a_guest_is_attacked_in_a_frozen_or_in_a_soft_host(region, space, n_moved, config, committee, in_cage):
    chosen = config(f"{{n_steps: 2, objective: log(force_variance), region: {region}, space: {space}}}")
    hosted = in_cage(molecule("H2O"))
    (seed,) = Structures.from_atoms([hosted]).to_atoms()
    found = proposer(chosen, None, molecules=[hosted])(committee(), Structures.from_atoms([seed]), 0)
    (end,) = found.structures.to_atoms()
    moved = (abs(end.positions - seed.positions) > 1e-6).any(1)
    assert moved[18:].all()
    if n_moved is None:
        near = (hosted.get_all_distances(mic=True)[18:] <= 3.2).any(0)
        assert moved.tolist() == near.tolist()
        assert 0 < moved[:18].sum() < 18
    else:
        assert moved.sum() == n_moved
    assert not end.constraints


@pytest.mark.parametrize("attack", ["{space: {kind: rigid}}", "{region: guest}"])
def test_seeds_of_attacks_on_a_guest_have_one(attack, config, in_cage, sodalite, with_random_labels):
    frames = with_random_labels([sodalite, in_cage(molecule("H2O")), in_cage(molecule("NH3"))])
    assert attackable(config(attack), frames).tolist() == [False, True, True]
    with pytest.raises(ValueError, match="O12Si6 has no guest: all of its atoms are bonded to a framework"):
        attackable(config(attack), Dataset.from_atoms(frames.to_atoms()[:1]))


def test_a_molecule_without_a_host_has_no_region_of_a_guest(config, with_random_labels, ammonia):
    data = with_random_labels([ammonia])
    with pytest.raises(ValueError, match="all atoms of H3N belong to molecules, and nothing extends through the cell"):
        attackable(config("{region: guest}"), data)
    assert attackable(config("{space: {kind: rigid}}"), data).all()
