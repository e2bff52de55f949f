"""What a configuration promises: examples that load, text that reads back, and errors that help."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydantic
import pytest
from ase.io import read

from sparring import config as configuration
from sparring.config import Config, ConfigError, difference, dump, load, template, template_files
from sparring.config.objectives import boltzmann_kT
from sparring.units import quantity

EXAMPLES = Path(__file__).parents[2] / "examples"
PRESETS = {
    "alanine_dipeptide.yaml": (None, "laptop", "schnet"),
    "ammonia.yaml": (None, "paper", "schnet", "demo"),
    "copper.yaml": (None,),
    "double_well_1d.yaml": (None, "random", "quick"),
    "double_well_2d.yaml": (None, "random", "quick"),
    "foundation_model.yaml": (None, "short_range"),
    "guest_in_host.yaml": (None, "frozen_host"),
    "mace.yaml": (None,),
    "offline.yaml": (None,),
    "own_molecule.yaml": (None,),
    "silicon.yaml": (None,),
}
EVERY = [(name, preset) for name, presets in PRESETS.items() for preset in presets]
AMMONIA = "system: {kind: ammonia}\n"
WELL = "system: {kind: double_well_1d}\n"
DIPEPTIDE = "system: {kind: alanine_dipeptide}\n"
OWN_LANGEVIN = "system: {kind: own, file: a.xyz, enlarge: {kind: langevin, duration: 1 ns}}\n"

Loader = Callable[..., Config]


@pytest.fixture
def loaded(tmp_path) -> Loader:
    """Loads a configuration from its text; the file is called run.yaml."""

    def _load(text: str, **options: object) -> Config:
        path = tmp_path / "run.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path, **options)

    return _load


def problems(load_it: Loader, text: str, **options: object) -> list[str]:
    """The lines of the error, from the file's name on."""
    with pytest.raises(ConfigError) as caught:
        load_it(text, **options)
    lines = str(caught.value).split("\n")
    assert tuple(lines) == caught.value.problems
    return [re.sub(r"^\S*run\.yaml", "run.yaml", line) for line in lines]


# --- what works -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "preset"), EVERY)
def test_every_example_loads_and_its_dump_loads_back_to_the_same(name, preset, tmp_path):
    config = load(EXAMPLES / name, preset)
    text = dump(config)
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    again = load(tmp_path / "config.yaml")
    assert again == config
    assert dump(again) == text
    assert difference(config, again) == []


def test_every_example_is_tested():
    assert {path.name for path in EXAMPLES.glob("*.yaml")} == set(PRESETS)


def test_ammonia_follows_the_paper():
    config = load(EXAMPLES / "ammonia.yaml", "paper")
    attack, training, potential = config.attack, config.training, config.committee.potential
    assert (config.generations, config.committee.n_members, config.system.n_structures) == (3, 5, 78)
    assert (training.n_epochs, training.batch_size, training.learning_rate) == (500, 30, 3e-4)
    assert (training.energy_weight, training.force_weight, training.patience, training.factor) == (0.1, 1.0, 30, 0.5)
    assert (potential.n_features, potential.n_filters, potential.n_interactions) == (256, 256, 4)
    assert (attack.n_seeds, attack.n_steps, attack.learning_rate, attack.space.initial_spread) == (30, 60, 0.01, 0.01)
    assert attack.objective == f"exp(boltzmann({quantity('20 kcal/mol')!r} eV)) * force_variance"
    assert training.ema_decay is None
    assert config.selection == ()


def test_ammonia_differs_from_the_paper_in_its_training_and_in_which_attacks_it_labels():
    ours, papers = (load(EXAMPLES / "ammonia.yaml", preset) for preset in ("schnet", "paper"))
    sections = {line.partition(":")[0].partition(".")[0] for line in difference(ours, papers)}
    assert sections == {"committee", "training", "attack", "selection"}
    assert difference(ours, papers)[0] == "committee.potential.n_gaussians: 8 -> 32"
    assert (papers.training.energy_scale, ours.training.energy_scale) == (None, quantity("10 kcal/mol"))
    assert ours.attack.objective == papers.attack.objective
    assert (papers.attack.space.bound, papers.selection) == (None, ())
    assert [step.kind for step in ours.selection] == ["distinct", "budget"]


def test_the_network_of_ammonia_and_its_training_can_be_those_of_the_studies():
    ours, before = (load(EXAMPLES / "ammonia.yaml", preset) for preset in (None, "schnet"))
    assert (ours.committee.potential.kind, before.committee.potential.kind) == ("ace", "schnet")
    assert {line.partition(":")[0].partition(".")[0] for line in difference(ours, before)} == {"committee", "training"}
    assert (before.training.second_stage, before.training.amsgrad) == (None, False)


@pytest.mark.parametrize(("name", "axes"), [("double_well_1d.yaml", "x"), ("double_well_2d.yaml", "xy")])
def test_wells_follow_the_paper(name, axes):
    config = load(EXAMPLES / name)
    attack, training, potential = config.attack, config.training, config.committee.potential
    assert (potential.n_coordinates, potential.n_layers, potential.n_units) == (len(axes), 4, 1024)
    assert (training.n_epochs, training.batch_size, training.learning_rate) == (600, 35, 1e-3)
    assert (training.splits.validation, training.splits.fractions) == ("shared", (0.6, 0.2, 0.2))
    assert (attack.space.axes, attack.n_steps, attack.learning_rate) == (axes, 600, 0.003)
    assert boltzmann_kT(attack.objective) == 5.0
    assert [step.kind for step in config.selection] == ["uncertainty_above", "distinct"]
    baseline = load(EXAMPLES / name, "random")
    assert (baseline.attack.kind, baseline.attack.space.amplitude, baseline.attack.space.axes) == ("random", 1.0, axes)
    assert baseline.selection[-1].arguments() == {"n": 20, "order": "random"}


def test_alanine_dipeptide_follows_the_paper():
    config = load(EXAMPLES / "alanine_dipeptide.yaml")
    sampling, training, attack = config.system.sampling, config.training, config.attack
    assert (sampling.temperature, sampling.friction, sampling.timestep) == (300.0, 0.001, 2.0)
    assert sampling.duration / sampling.every == 1000
    assert config.labels.labeller.forcefield == ("opls-aa",)
    assert config.labels.bounds.energy_window == quantity("10000 kcal/mol")
    assert (training.n_epochs, training.batch_size, training.learning_rate) == (500, 50, 5e-4)
    assert (training.energy_weight, training.force_weight) == (1.0, 1.0)
    assert config.committee == load(EXAMPLES / "ammonia.yaml", "paper").committee
    assert (attack.n_seeds, attack.n_steps, attack.learning_rate, attack.seeds) == (50, 1000, 5e-3, "random")
    assert attack.objective == "force_variance"
    assert config.selection == ()


def test_the_demo_is_ammonia_with_one_round_of_attacks_and_a_shared_label_store():
    paper, demo = load(EXAMPLES / "ammonia.yaml"), load(EXAMPLES / "ammonia.yaml", "demo")
    assert demo.labels.store == Path("labels")
    changed = {line.partition(":")[0].partition(".")[0] for line in difference(paper, demo)}
    assert changed <= {"generations"}
    assert demo.generations == 2


def test_a_system_is_all_that_must_be_said(loaded):
    well = loaded(WELL)
    assert (well.labels.labeller.kind, well.committee.potential.kind) == ("ground_truth", "coordinate_mlp")
    assert (well.attack.kind, well.attack.space.axes, well.attack.n_seeds) == ("adversarial", "x", None)
    assert well.labels.bounds.max_force is None
    ammonia = loaded(AMMONIA)
    assert ammonia.labels.labeller.method == "BP86-D3BJ/def2-SVP"
    assert ammonia.committee.potential.kind == "schnet"


def test_the_axes_of_a_well_do_not_depend_on_the_kind_of_attack(loaded):
    assert loaded(WELL + "attack: {kind: random}\n").attack.space.axes == "x"


def test_quantities_are_read_in_any_unit_and_bare_numbers_in_the_internal_one(loaded):
    text = "attack:\n  bound: {radius: 50 pm}\n  initial_spread: 0\n  max_memory: 2 GB\n  objective: boltzmann(0.5)\n"
    attack = loaded(AMMONIA + text).attack
    assert (attack.space.bound.radius, attack.space.initial_spread, attack.max_memory, attack.objective) == (
        0.5,
        0,
        2e9,
        "boltzmann(0.5 eV)",
    )


def test_dynamics_is_a_kind_of_attack_whose_numbers_carry_units(loaded):
    text = "attack: {kind: dynamics, temperature: 700 K, duration: 2 ps, timestep: 1 fs, friction: 5 1/ps}\n"
    config = loaded(AMMONIA + text)
    attack = config.attack
    assert (attack.temperature, attack.duration, attack.timestep, attack.friction) == (700.0, 2000.0, 1.0, 0.005)
    assert (attack.n_seeds, attack.seeds, attack.ensemble) == (30, "lowest_energy", "nose_hoover")
    assert loaded(dump(config)) == config


def test_the_comments_of_the_ammonia_example_are_a_configuration_too(tmp_path):
    text = (EXAMPLES / "ammonia.yaml").read_text(encoding="utf-8")
    kept, _, rest = text.partition("\nattack:")
    comments = rest.partition("# attack:   ")[2].partition("\n\n")[0].splitlines()[1:]
    file = tmp_path / "dynamics.yaml"
    file.write_text("\n".join([kept, "attack:", *(line.removeprefix("# ") for line in comments)]), encoding="utf-8")
    config = load(file)
    assert config.attack == load(file, overrides={"attack": {"kind": "dynamics"}}).attack
    assert [step.kind for step in config.selection] == ["uncertainty_above", "budget"]


def test_alanine_dipeptide_has_a_force_field_unless_another_is_named(loaded):
    plain = loaded(DIPEPTIDE).labels
    assert (plain.labeller.kind, plain.labeller.forcefield) == ("openmm", ("opls-aa",))
    assert (plain.bounds.min_distance, plain.bounds.max_force) == (0.3, None)
    amber = loaded(DIPEPTIDE + "labels: {labeller: {kind: openmm, forcefield: amber14-all.xml}}\n").labels.labeller
    assert amber.forcefield == ("amber14-all.xml",)
    serialised = loaded(DIPEPTIDE + "labels: {labeller: {kind: openmm, system: system.xml}}\n").labels.labeller
    assert serialised.forcefield is None


def test_the_files_of_a_force_field_are_relative_to_the_configuration(loaded, tmp_path):
    (tmp_path / "mine.xml").touch()
    text = (
        OWN_LANGEVIN + "labels: {labeller: {kind: openmm, forcefield: [mine.xml, tip3p.xml], topology: a/mine.pdb}}\n"
    )
    config = loaded(text)
    assert config.labels.labeller.forcefield == (str(tmp_path / "mine.xml"), "tip3p.xml")
    assert config.labels.labeller.topology == tmp_path / "a" / "mine.pdb"
    assert loaded(dump(config)) == config
    moved = config.labels.labeller.model_copy(update={"forcefield": ("/b/mine.xml", "tip3p.xml")})
    other = config.model_copy(update={"labels": config.labels.model_copy(update={"labeller": moved})})
    assert difference(config, other) == []


def test_null_is_a_value(loaded):
    config = loaded(AMMONIA + "attack: {objective: {kT: null}}\nlabels: {bounds: {max_force: null}}\n")
    assert config.attack.objective == "force_variance"
    assert config.labels.bounds.max_force is None


@pytest.mark.parametrize("number", ["3e-4", "3E-04", "0.0003", "+3.e-4", ".0003"])
def test_numbers_are_numbers_however_they_are_written(loaded, number):
    assert loaded(AMMONIA + f"training: {{learning_rate: {number}}}\n").training.learning_rate == 3e-4


def test_plain_words_keep_their_spelling_and_survive_a_dump(loaded):
    text = "labels: {labeller: {kind: plugin, name: no, parameters: {a: 1:30, b: '3e-4', c: '010', d: 010, e: 1e-4}}}\n"
    config = loaded(AMMONIA + text)
    assert config.labels.labeller.name == "no"
    assert config.labels.labeller.parameters == {"a": "1:30", "b": "3e-4", "c": "010", "d": 10, "e": 1e-4}
    assert loaded(dump(config)) == config


def test_the_largest_coordinate_can_be_bounded(loaded):
    config = loaded(AMMONIA + "attack: {bound: {norm: .inf, radius: 0.5 Å}}\n")
    assert config.attack.space.bound.norm == np.inf
    assert loaded(dump(config)) == config


def test_a_preset_merges_sections_and_replaces_lists(loaded):
    text = """
system: {kind: ammonia}
training: {n_epochs: 10, batch_size: 5}
selection: [{kind: budget, n: 3}, {kind: distinct, rmsd: 0.1 Å}]
presets:
  small:
    training: {n_epochs: 2}
    selection: [{kind: budget, n: 1}]
"""
    config = loaded(text, preset="small")
    assert (config.training.n_epochs, config.training.batch_size) == (2, 5)
    assert [step.n for step in config.selection] == [1]
    assert loaded(text).training.n_epochs == 10


def test_a_preset_that_changes_a_kind_starts_that_section_afresh(loaded):
    text = """
system: {kind: ammonia}
labels: {labeller: {kind: pyscf, method: HF/STO-3G}, n_workers: 2}
presets:
  cheap: {labels: {labeller: {kind: ase, name: tblite}}}
"""
    config = loaded(text, preset="cheap")
    assert config.labels.labeller.arguments() == {"name": "tblite", "parameters": {}}
    assert config.labels.n_workers == 2


def test_overrides_win_over_the_preset(loaded):
    text = AMMONIA + "presets: {small: {training: {n_epochs: 2}}}\n"
    assert loaded(text, preset="small", overrides={"training.n_epochs": 7}).training.n_epochs == 7
    assert loaded(text, preset="small", overrides={"training": {"n_epochs": 8}}).training.n_epochs == 8


def test_overrides_may_complete_a_file(loaded):
    text = "system: {kind: own}\npresets: {small: {training: {n_epochs: 2}}}\n"
    assert loaded(text, overrides={"system.file": "mine.xyz"}).system.file.name == "mine.xyz"


def test_the_file_of_structures_is_relative_to_the_configuration(loaded, tmp_path, monkeypatch):
    monkeypatch.chdir(EXAMPLES)
    assert loaded("system: {kind: own, file: data/mine.xyz}\n").system.file == tmp_path / "data" / "mine.xyz"
    assert load("own_molecule.yaml").system.file == EXAMPLES / "own_molecule.xyz"


def test_a_difference_names_the_keys_that_change_results(loaded):
    old = loaded(AMMONIA)
    text = "training: {n_epochs: 10}\nattack: {bound: {radius: 1}}\nselection: [{kind: budget, n: 5}]\n"
    new = loaded(AMMONIA + text + "labels: {labeller: {kind: ase, name: emt}}\n")
    labeller, *others = difference(old, new)
    assert labeller.startswith("labels.labeller: {'kind': 'pyscf', ")
    assert labeller.endswith(" -> {'kind': 'ase', 'name': 'emt', 'parameters': {}}")
    assert others == [
        "training.n_epochs: 500 -> 10",
        "attack.space.bound: nothing -> {'norm': 2.0, 'radius': '1.0 Å'}",
        "selection: [] -> [{'kind': 'budget', 'n': 5, 'order': 'score'}]",
    ]


def test_where_and_how_fast_a_run_is_computed_makes_no_difference(loaded):
    options = {"labels.n_workers": 1, "labels.store": "elsewhere", "device": "cuda:1", "attack.max_memory": "1 GB"}
    assert difference(loaded(AMMONIA), loaded(AMMONIA, overrides=options)) == []


def test_a_project_that_moved_makes_no_difference():
    config = load(EXAMPLES / "own_molecule.yaml")
    moved = config.model_copy(update={"system": config.system.model_copy(update={"file": Path("/b/own_molecule.xyz")})})
    assert moved != config
    assert difference(config, moved) == []


def test_a_section_gives_the_keyword_arguments_of_its_function(loaded):
    splits = loaded(AMMONIA).training.splits
    assert splits.arguments() == {"validation": "per_member", "fractions": (0.6, 0.2, 0.2)}
    assert loaded(AMMONIA).system.arguments("temperatures") == {"n_structures": 78}


def test_a_configuration_is_frozen(loaded):
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        loaded(AMMONIA).seed = 1


@pytest.mark.parametrize("kind", ["alanine_dipeptide", "ammonia", "double_well_1d", "double_well_2d", "own"])
def test_a_template_is_a_commented_example_that_loads(kind, tmp_path):
    for name, text in template_files(kind).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    name = next(iter(template_files(kind)))
    assert template(kind) == (EXAMPLES / name).read_text(encoding="utf-8")
    assert load(tmp_path / name).system.kind == kind
    assert template(kind).startswith("#")


def test_the_own_molecule_comments_every_key(loaded):
    text = template("own")
    for key in re.findall(r"^ *(\w+):", dump(load(EXAMPLES / "own_molecule.yaml")), flags=re.MULTILINE):
        assert re.search(rf"\b{key}:", text) or key in ("linkage",), key


def test_the_own_molecule_is_ethanol_in_two_conformers_without_labels():
    frames = read(EXAMPLES / "own_molecule.xyz", index=":")
    assert [str(atoms.symbols) for atoms in frames] == ["C2OH6", "C2OH6"]
    assert all(atoms.calc is None and "REF_energy" not in atoms.info for atoms in frames)
    torsions = [min(atoms.get_dihedral(0, 1, 2, 8), 360 - atoms.get_dihedral(0, 1, 2, 8)) for atoms in frames]
    np.testing.assert_allclose(torsions, [180, 60], atol=5)


def test_reading_a_configuration_loads_nothing_heavy():
    program = (
        "import sys; from sparring.config import load; load(sys.argv[1]);"
        "print(*{'torch', 'ase', 'pyscf', 'scipy', 'matplotlib'} & set(sys.modules))"
    )
    arguments = [sys.executable, "-c", program, str(EXAMPLES / "ammonia.yaml")]
    assert subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.split() == []


# --- what an attack moves ---------------------------------------------------------------------------------------------

ROOMS = {
    "adversarial": ("axes: z, initial_spread: 0.2 Å, bound: {radius: 1 Å}", "kind: adversarial"),
    "random": ("amplitude: 1 Å, axes: z", "kind: random"),
}


@pytest.mark.parametrize(("short", "kind"), ROOMS.values(), ids=ROOMS)
def test_short_keys_of_an_attack_mean_the_cartesian_space(loaded, short, kind):
    one = loaded(AMMONIA + f"attack: {{{kind}, {short}}}\n")
    other = loaded(AMMONIA + f"attack: {{{kind}, space: {{kind: cartesian, {short}}}}}\n")
    assert one == other
    assert difference(one, other) == []
    assert one.attack.space.axes == "z"


@pytest.mark.parametrize("kind", ["adversarial", "random"])
def test_the_configuration_of_an_older_run_is_the_same_as_its_file_is_today(loaded, kind):
    # As earlier versions wrote the resolved configuration into a run folder: every key, and the short ones.
    old = {
        "adversarial": "n_seeds: 30, seeds: lowest_energy, n_steps: 60, learning_rate: 0.01, initial_spread: 0.01 Å, "
        "axes: xyz, min_distance: 0.5 Å, bound: null, max_memory: 4000000000.0 B",
        "random": "n_seeds: 30, seeds: lowest_energy, amplitude: 0.3 Å, axes: xyz",
    }[kind]
    written, today = (loaded(AMMONIA + f"attack: {{kind: {kind}{rest}}}\n") for rest in (f", {old}", ""))
    assert difference(written, today) == []


def test_short_keys_and_the_space_may_meet_in_a_preset_or_an_override(loaded):
    short = AMMONIA + "attack: {axes: z}\npresets: {p: {attack: {space: {initial_spread: 0.5}}}}\n"
    space = AMMONIA + "attack: {space: {kind: cartesian, axes: z}}\npresets: {p: {attack: {initial_spread: 0.5}}}\n"
    for text in (short, space):
        config = loaded(text, preset="p", overrides={"attack.bound": {"radius": 1.0}})
        assert (config.attack.space.axes, config.attack.space.initial_spread) == ("z", 0.5)
        assert config.attack.space.bound.radius == 1.0
    turned = loaded(short, overrides={"attack.space": {"kind": "dihedrals", "torsions": ["phi"]}})
    assert turned.attack.space.torsions == ("phi",)
    drawn = loaded(short, overrides={"attack": {"kind": "random", "amplitude": 0.5}})
    assert (drawn.attack.space.amplitude, drawn.attack.space.axes) == (0.5, "z")


def test_torsions_are_names_smarts_or_four_atoms_and_angles_carry_units(loaded):
    text = "attack: {space: {kind: dihedrals, torsions: [phi, 'C-C-O-[H]', [0, 1, 2, 8]], initial_spread: 18 deg, "
    config = loaded(AMMONIA + text + "bound: {radius: 180°}}}\n")
    space = config.attack.space
    assert space.torsions == ("phi", "C-C-O-[H]", (0, 1, 2, 8))
    assert space.initial_spread == pytest.approx(np.pi / 10)
    assert (space.bound.radius, space.bound.norm) == (pytest.approx(np.pi), np.inf)
    assert loaded(dump(config)) == config


def test_spaces_are_combined_with_scales(loaded):
    spaces = "[{kind: dihedrals, torsions: [psi]}, {kind: cartesian, scale: 0.1, atoms: [0, 2]}]"
    config = loaded(AMMONIA + f"attack: {{space: {{kind: combined, spaces: {spaces}}}}}\n")
    assert [part.scale for part in config.attack.space.spaces] == [1.0, 0.1]
    assert config.attack.space.spaces[1].atoms == (0, 2)
    assert loaded(dump(config)) == config


def test_random_torsions_are_any_unless_an_amplitude_is_given(loaded):
    text = "attack: {kind: random, space: {kind: dihedrals, torsions: [phi]}}\n"
    assert loaded(AMMONIA + text).attack.space.amplitude == np.pi
    quarter = loaded(AMMONIA + text.replace("]}", "], amplitude: 90 deg}"))
    assert quarter.attack.space.amplitude == pytest.approx(np.pi / 2)


# --- what does not ----------------------------------------------------------------------------------------------------

BAD = {
    "unknown key": (
        AMMONIA + "training:\n  n_epoch: 3\n",
        "run.yaml:3: training.n_epoch: unknown key; did you mean n_epochs? accepted: kind, n_epochs, batch_size, ",
    ),
    "more architectures than members": (
        AMMONIA + "committee: {n_members: 2, potentials: [{kind: ace}, {kind: schnet}, {kind: painn}]}\n",
        "run.yaml:2: committee.n_members: wanted a member for each of 3 potentials, got 2",
    ),
    "one architecture among several": (
        AMMONIA + "committee: {potentials: [{kind: ace}]}\n",
        "run.yaml:2: committee.potentials: ",
    ),
    "an architecture and several": (
        AMMONIA + "committee: {potential: {kind: ace}, potentials: [{kind: ace}, {kind: painn}]}\n",
        "run.yaml:2: committee.potential: unknown key here",
    ),
    "a network of coordinates among several": (
        AMMONIA + "committee: {potentials: [{kind: ace}, {kind: coordinate_mlp}]}\n",
        "run.yaml:2: committee.potentials[1].kind: coordinate_mlp is for single particles, and system ammonia has ",
    ),
    "a prior without scale": (AMMONIA + "committee: {prior: {scale: 0}}\n", "run.yaml:2: committee.prior.scale: "),
    "a prior of MACE": (
        AMMONIA + "committee: {potential: {kind: mace}, prior: {}}\n",
        "run.yaml:2: committee.prior: mace has no prior; use schnet, painn or ace, or leave the prior out",
    ),
    "a step that is too long": (
        AMMONIA + "labels: {hessian: {step: 2 Å}}\n",
        "run.yaml:2: labels.hessian.step: must be at most 1 Å, got 2 Å",
    ),
    "a displacement that is too long": (
        AMMONIA + "training: {taylor: {length: 1 Å}}\n",
        "run.yaml:2: training.taylor.length: must be at most 0.5 Å, got 1 Å",
    ),
    "unknown section": (AMMONIA + "trainign: {}\n", "run.yaml:2: trainign: unknown key; did you mean training?"),
    "misspelt presets": (AMMONIA + "preset: {}\n", "run.yaml:2: preset: unknown key; did you mean presets?"),
    "key of another section": (
        AMMONIA + "committee: {batch_size: 3}\n",
        "run.yaml:2: committee.batch_size: unknown key here; `batch_size` belongs in training",
    ),
    "key of another kind": (
        AMMONIA + "attack: {kind: random, n_steps: 3}\n",
        "run.yaml:2: attack.n_steps: unknown key here; `n_steps` belongs in attack (kind: adversarial)",
    ),
    "unknown kind": (
        "system: {kind: amonia}\n",
        "run.yaml:1: system.kind: 'amonia' is not known; did you mean ammonia? accepted: double_well_1d, ",
    ),
    "unknown kind in a list": (
        AMMONIA + "selection:\n  - {kind: budget, n: 3}\n  - {kind: distinkt, rmsd: 1 Å}\n",
        "run.yaml:4: selection[1].kind: 'distinkt' is not known; did you mean distinct?",
    ),
    "no kind": ("system: {}\n", "run.yaml:1: system: needs a `kind:` line; accepted: double_well_1d, "),
    "kind without a section": ("system: ammonia\n", "run.yaml:1: system: wanted a section .* write `{kind: ammonia}`"),
    "no system": ("seed: 1\n", "run.yaml: system: is missing; add a line `system: ...`"),
    "missing key": (
        AMMONIA + "labels:\n  labeller: {kind: ase}\n",
        "run.yaml:3: labels.labeller.name: is missing; add a line `name: ...`",
    ),
    "unknown word": (
        AMMONIA + "dtype: float16\n",
        "run.yaml:2: dtype: 'float16' is not known; did you mean float64? accepted: float32, float64",
    ),
    "bad unit": (
        AMMONIA + "attack:\n  objective:\n    kT: 20 kcl/mol\n",
        "run.yaml:4: attack.objective.kT: unknown unit 'kcl/mol' in '20 kcl/mol', did you mean 'kcal/mol'",
    ),
    "unit of another dimension": (
        AMMONIA + "attack: {objective: {kT: 300 K}}\n",
        "run.yaml:2: attack.objective.kT: '300 K' measures temperature, wanted energy",
    ),
    "no quantity": (
        AMMONIA + "attack: {initial_spread: [1]}\n",
        "run.yaml:2: attack.initial_spread: wanted a quantity of length such as '1.0 Å', got [1]",
    ),
    "no number": (
        AMMONIA + "training: {learning_rate: fast}\n",
        "run.yaml:2: training.learning_rate: wanted a number, got 'fast'",
    ),
    "infinite number": (
        AMMONIA + "training: {learning_rate: .inf}\n",
        "run.yaml:2: training.learning_rate: wanted a finite number, got inf",
    ),
    "no whole number": (AMMONIA + "seed: 1.5\n", "run.yaml:2: seed: wanted a whole number, got 1.5"),
    "true for a number": (AMMONIA + "generations: true\n", "run.yaml:2: generations: wanted a number, got true"),
    "neither true nor false": (
        AMMONIA + "attack: {objective: {logarithm: maybe}}\n",
        "run.yaml:2: attack.objective.logarithm: wanted true or false, got 'maybe'",
    ),
    "too small": (
        AMMONIA + "committee: {n_members: 1}\n",
        "run.yaml:2: committee.n_members: must be at least 2, got 1",
    ),
    "negative temperature": (
        "system: {kind: ammonia, temperatures: [-5 K, 300 K]}\n",
        "run.yaml:1: system.temperatures[0]: must be greater than 0, got -5",
    ),
    "empty section": (AMMONIA + "training:\n", "run.yaml:2: training: is empty; give it a value or delete the line"),
    "mapping for a list": (
        AMMONIA + "selection: {kind: budget, n: 3}\n",
        "run.yaml:2: selection: wanted a list .* begin every item with `- `",
    ),
    "too few values": (
        "system: {kind: ammonia, temperatures: [300 K]}\n",
        "run.yaml:1: system.temperatures: has too few values, got ['300 K']",
    ),
    "too many values": (
        AMMONIA + "training: {splits: {fractions: [0.4, 0.2, 0.2, 0.2]}}\n",
        "run.yaml:2: training.splits.fractions: wanted at most 3 values, got 4",
    ),
    "fractions that are not all": (
        AMMONIA + "training: {splits: {fractions: [0.6, 0.2, 0.3]}}\n",
        "run.yaml:2: training.splits.fractions: training, validation and test must add up to 1, got .* = 1.1",
    ),
    "temperatures the wrong way round": (
        "system: {kind: ammonia, temperatures: [750 K, 250 K]}\n",
        "run.yaml:1: system.temperatures: wanted the lower temperature first, got [750 K, 250 K]",
    ),
    "nothing to learn": (
        AMMONIA + "training: {energy_weight: 0, force_weight: 0}\n",
        "run.yaml:2: training: energy_weight and force_weight are both 0, so that there is nothing to learn",
    ),
    "norm that is none": (
        AMMONIA + "attack: {bound: {norm: 0.5, radius: 1}}\n",
        "run.yaml:2: attack.bound.norm: wanted a p of at least 1, or inf, got 0.5",
    ),
    "unknown device": (AMMONIA + "device: gpu\n", "run.yaml:2: device: wanted cpu, cuda, .* got 'gpu'"),
    "network that does not fit the system": (
        WELL + "committee: {potential: {kind: schnet}}\n",
        "run.yaml:2: committee.potential.kind: schnet depends on distances, and system double_well_1d is a single ",
    ),
    "labeller that does not fit the system": (
        AMMONIA + "labels: {labeller: {kind: ground_truth}}\n",
        "run.yaml:2: labels.labeller.kind: ground_truth does not fit system ammonia; use pyscf, openmm, ase, "
        "potential, offline or plugin",
    ),
    "coordinates that the well does not have": (
        WELL + "committee: {potential: {n_coordinates: 2}}\n",
        "run.yaml:2: committee.potential.n_coordinates: must be 1 for system double_well_1d, got 2",
    ),
    "axes that the well does not have": (
        WELL + "attack: {axes: xy}\n",
        "run.yaml:2: attack.axes: double_well_1d has only x, got xy",
    ),
    "all seeds at the lowest energy": (
        AMMONIA + "attack: {n_seeds: null}\n",
        "run.yaml:2: attack.n_seeds: null attacks every structure of the training data: that needs `seeds: random`",
    ),
    "dynamics without a snapshot": (
        AMMONIA + "attack: {kind: dynamics, duration: 10 fs}\n",
        "run.yaml:2: attack.every: 100 steps of 0.5 fs are longer than the duration of 10 fs; take fewer",
    ),
    "a pressure where cells do not move": (
        AMMONIA + "attack: {kind: dynamics, pressure: 1 bar}\n",
        "run.yaml:2: attack: a pressure needs ensemble npt or npt_cell, got nose_hoover; leave the pressure out",
    ),
    "a pressure where cells do not move in trials": (
        AMMONIA + "evaluation: {survival: {ensemble: langevin, pressure: 1 bar}}\n",
        "run.yaml:2: evaluation.survival: a pressure needs ensemble npt or npt_cell, got langevin; leave the pressure",
    ),
    "a pressure without a unit of pressure": (
        AMMONIA + "attack: {kind: dynamics, ensemble: npt, pressure: 1 eV}\n",
        "run.yaml:2: attack.pressure: .*measures energy, wanted pressure",
    ),
    "cells of a well": (
        WELL + "attack: {kind: dynamics, ensemble: npt}\n",
        "run.yaml:2: attack: .*ensemble npt moves cells along xyz, got axes x; use nose_hoover or langevin",
    ),
    "dynamics of molecules along an axis": (
        AMMONIA + "attack: {kind: dynamics, axes: x}\n",
        "run.yaml:2: attack.axes: atoms of molecules move along xyz, got x",
    ),
    "time without a unit of time": (
        AMMONIA + "attack: {kind: dynamics, duration: 5 K}\n",
        "run.yaml:2: attack.duration: '5 K' measures temperature, wanted time",
    ),
    "two force fields": (
        DIPEPTIDE + "labels: {labeller: {kind: openmm, forcefield: opls-aa, system: a.xml}}\n",
        "run.yaml:2: labels.labeller.system: a serialised system has all its parameters; leave `forcefield` or ",
    ),
    "no force field": (
        OWN_LANGEVIN + "labels: {labeller: {kind: openmm}}\n",
        "run.yaml:2: labels.labeller: openmm needs `forcefield` (names or files) and `topology`, or `system`",
    ),
    "force field without a molecule": (
        OWN_LANGEVIN + "labels: {labeller: {kind: openmm, forcefield: amber14-all.xml}}\n",
        "run.yaml:2: labels.labeller: a force field needs `topology`: a PDB or mmCIF file",
    ),
    "a list of nothing": (
        DIPEPTIDE + "labels: {labeller: {kind: openmm, forcefield: []}}\n",
        "run.yaml:2: labels.labeller.forcefield: ",
    ),
    "dynamics of a force field without one": (
        OWN_LANGEVIN + "labels: {labeller: {kind: pyscf}}\n",
        "run.yaml:2: labels.labeller: own begins with dynamics under the force field that labels: use openmm",
    ),
    "alanine dipeptide without a force field": (
        DIPEPTIDE + "labels: {labeller: {kind: pyscf}}\n",
        "run.yaml:2: labels.labeller: alanine_dipeptide begins with dynamics under the force field that labels: use ",
    ),
    "snapshots between steps": (
        "system: {kind: alanine_dipeptide, sampling: {every: 3 fs}}\n",
        "run.yaml:1: system.sampling.every: 3 fs is not a whole number of steps of 2 fs",
    ),
    "a trajectory without a snapshot": (
        "system: {kind: alanine_dipeptide, sampling: {duration: 1 ps}}\n",
        "run.yaml:1: system.sampling.duration: has no snapshot: there is one every 2000 fs",
    ),
    "a space and its short keys": (
        AMMONIA + "attack:\n  space: {kind: cartesian}\n  axes: x\n",
        "run.yaml:4: attack.axes: is part of attack.space, which is given, too; write `axes:` there or leave it out",
    ),
    "unknown space": (
        AMMONIA + "attack: {space: {kind: dihedral}}\n",
        "run.yaml:2: attack.space.kind: 'dihedral' is not known; did you mean dihedrals? accepted: cartesian, ",
    ),
    "torsions that are none": (
        AMMONIA + "attack: {space: {kind: dihedrals, torsions: phi}}\n",
        "run.yaml:2: attack.space.torsions: wanted a list of torsions, such as .*, got 'phi'",
    ),
    "three atoms for a torsion": (
        AMMONIA + "attack: {space: {kind: dihedrals, torsions: [phi, [1, 2, 3]]}}\n",
        "run.yaml:2: attack.space.torsions: .* each is a name, a SMARTS or four different atoms, got [1, 2, 3]",
    ),
    "atoms that are none": (
        AMMONIA + "attack: {space: {atoms: [-1]}}\n",
        "run.yaml:2: attack.space.atoms: wanted some atoms, counted from 0, such as [0, 3], got [-1]",
    ),
    "a length for an angle": (
        AMMONIA + "attack: {space: {kind: dihedrals, torsions: [phi], initial_spread: 0.1 Å}}\n",
        "run.yaml:2: attack.space.initial_spread: '0.1 Å' measures length, wanted angle; units of angle: rad, deg, °",
    ),
    "torsions of a particle": (
        WELL + "attack: {space: {kind: dihedrals, torsions: [phi]}}\n",
        "run.yaml:2: attack.space.kind: double_well_1d is a particle, which has no torsions; use cartesian",
    ),
    "an axis that the well does not have in a part": (
        WELL + "attack: {space: {kind: combined, spaces: [{kind: cartesian, axes: y}]}}\n",
        "run.yaml:2: attack.space.spaces[0].axes: double_well_1d has only x, got y",
    ),
    "a strain in a well": (
        WELL + "attack: {space: {kind: strain}}\n",
        "run.yaml:2: attack.space.kind: double_well_1d is a particle, which has no cell; use cartesian",
    ),
    "a strain in a well, in a combination": (
        WELL + "attack: {space: {kind: combined, spaces: [{kind: cartesian, axes: x}, {kind: strain}]}}\n",
        "run.yaml:2: attack.space.spaces[1].kind: double_well_1d is a particle, which has no cell; use cartesian",
    ),
    "a rigid motion in a well": (
        WELL + "attack: {space: {kind: rigid}}\n",
        "run.yaml:2: attack.space.kind: double_well_1d is a particle, which cannot turn; use cartesian",
    ),
    "a rigid motion of another kind": (
        AMMONIA + "attack: {space: {kind: rigid, which: screw}}\n",
        "run.yaml:2: attack.space.which: 'screw' is not known; accepted: all, translation, rotation",
    ),
    "a bound of a rigid motion that is too small": (
        AMMONIA + "attack: {space: {kind: rigid, max_rotation: 1e-9 rad}}\n",
        "run.yaml:2: attack.space.max_rotation: must be at least 1e-06 rad, got 1e-09 rad",
    ),
    "a guest that is no list of atoms": (
        AMMONIA + "attack: {space: {kind: rigid, atoms: guest}}\n",
        "run.yaml:2: attack.space.atoms: wanted some atoms, counted from 0, such as [0, 3], got 'guest'",
    ),
    "a region of another name": (
        AMMONIA + "attack: {region: molecule}\n",
        "run.yaml:2: attack.region: wanted guest, or keys such as {most_uncertain: 1, radius: 4 Å}, got 'molecule'",
    ),
    "centres of another name": (
        AMMONIA + "attack: {region: {centres: host}}\n",
        "run.yaml:2: attack.region.centres: wanted guest, or some atoms, counted from 0, such as [0, 3], got 'host'",
    ),
    "a region in a well": (
        WELL + "attack: {region: {radius: 3 Å}}\n",
        "run.yaml:2: attack.region: double_well_1d is a single particle, which has no region; leave it out",
    ),
    "a region in a strained cell": (
        AMMONIA + "attack: {space: {kind: strain}, region: {radius: 3 Å}}\n",
        "run.yaml:2: attack.region: a region holds all other atoms, which cannot follow a strained cell; leave one out",
    ),
    "a combination of a combination": (
        AMMONIA + "attack: {space: {kind: combined, spaces: [{kind: combined, spaces: []}]}}\n",
        "run.yaml:2: attack.space.spaces[0].kind: 'combined' is not known; accepted: cartesian, dihedrals, strain, "
        "rigid, plugin",
    ),
    "a combination of nothing": (
        AMMONIA + "attack: {space: {kind: combined, spaces: []}}\n",
        "run.yaml:2: attack.space.spaces: wanted at least one space, such as [{kind: cartesian}], got none",
    ),
    "key given twice": (
        AMMONIA + "seed: 1\ntraining: {}\nseed: 2\n",
        "run.yaml:4: seed: given twice, first on line 2; keep one of them",
    ),
    "tab": (AMMONIA + "training:\n\tn_epochs: 3\n", "run.yaml:3: not valid YAML (column 1): found a tab; indent with "),
    "bracket left open": (
        AMMONIA + "training: {n_epochs: 3\n",
        "run.yaml:3: not valid YAML .*; the bracket that opens on line 2 is not closed",
    ),
    "indentation": (
        AMMONIA + "training:\n    n_epochs: 3\n  patience: 3\n",
        "run.yaml:4: not valid YAML (column 3): the indentation does not fit the lines above it",
    ),
    "indented too far": (
        AMMONIA + "training:\n  n_epochs: 3\n    patience: 3\n",
        "run.yaml:4: not valid YAML (column 13): found a second `key:` on one line, or a line that is indented too far",
    ),
    "two documents": (AMMONIA + "---\nseed: 1\n", "run.yaml:2: not valid YAML (column 1): found a second document"),
    "code": (
        AMMONIA + "seed: !!python/object/apply:os.getpid []\n",
        "run.yaml:2: seed: cannot be read: tag .* is not allowed",
    ),
    "alias of itself": (AMMONIA + "labels: &a {store: *a}\n", "run.yaml:2: labels.store: an alias inside of what it"),
    "number for a key": (AMMONIA + "3: 4\n", "run.yaml:2: top level: keys are names, got '3'; quote it"),
    "empty file": ("# nothing\n", "run.yaml: the file is empty; `sparring init` writes an example"),
    "list": ("- seed\n", "run.yaml:1: wanted sections with `key: value` lines, got a list"),
    "control character": (AMMONIA + "seed: \x01\n", "run.yaml:2: not valid YAML: unacceptable character #x0001"),
    "presets that are none": (AMMONIA + "presets: 4\n", "run.yaml:2: presets: wanted a section with .* got 4"),
    "error in a preset that was not asked for": (
        AMMONIA + "presets:\n  demo:\n    training: {n_epoch: 3}\n",
        "run.yaml:4: presets.demo.training.n_epoch: unknown key; did you mean n_epochs?",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_named_with_its_line_its_key_and_the_remedy(loaded, what):
    text, message = BAD[what]
    (problem,) = problems(loaded, text)
    pattern = ".*".join(re.escape(part) for part in message.split(".*"))
    assert re.match(pattern, problem), problem


def test_all_problems_are_listed_in_the_order_of_the_file(loaded):
    lines = problems(
        loaded, AMMONIA + "training:\n  factor: 2\n  n_epoch: 3\nattack: {objective: {kT: 1 Å}}\ndevice: 1\n"
    )
    places = ["run.yaml:3: training.factor", "run.yaml:4: training.n_epoch", "run.yaml:5: attack.objective.kT"]
    assert [": ".join(line.split(": ")[:2]) for line in lines] == [*places, "run.yaml:6: device"]


def test_a_problem_of_the_file_is_told_once_however_many_presets_it_has(loaded):
    assert len(problems(loaded, AMMONIA + "seed: -1\npresets: {a: {device: cuda}, b: {device: mps}}\n")) == 1


def test_an_unknown_preset_gets_the_nearest_name():
    with pytest.raises(
        ConfigError, match="no preset is called 'demmo'; did you mean demo\\? accepted: paper, schnet, demo"
    ):
        load(EXAMPLES / "ammonia.yaml", "demmo")
    with pytest.raises(ConfigError, match="no preset is called 'demo'; the file has none"):
        load(EXAMPLES / "own_molecule.yaml", "demo")


def test_a_wrong_override_is_called_an_override(loaded):
    (problem,) = problems(loaded, AMMONIA, overrides={"training.n_epoch": 3})
    assert problem.startswith("override: training.n_epoch: unknown key; did you mean n_epochs?")


def test_a_file_that_is_not_there_gets_the_nearest_name(tmp_path):
    (tmp_path / "ammonia.yaml").touch()
    with pytest.raises(ConfigError, match=r"amonia\.yaml: there is no such file; did you mean .*/ammonia\.yaml"):
        load(tmp_path / "amonia.yaml")
    with pytest.raises(ConfigError, match="there is no such file; `sparring init`"):
        load(tmp_path / "nowhere" / "a.yaml")


def test_a_folder_and_a_binary_file_are_no_configuration(tmp_path):
    with pytest.raises(ConfigError, match=re.escape(f"{tmp_path}: this is a folder, not a configuration")):
        load(tmp_path)
    (tmp_path / "a.yaml").write_bytes(b"seed: \xff")
    with pytest.raises(ConfigError, match=r"a\.yaml:1: not a text file in UTF-8 \(byte 6\)"):
        load(tmp_path / "a.yaml")


def test_an_unknown_template_gets_the_nearest_name():
    with pytest.raises(ConfigError, match="'amonia' is no kind of system and no example; did you mean ammonia\\?"):
        configuration.template("amonia")
