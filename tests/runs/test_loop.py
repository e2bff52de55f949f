import dataclasses
import itertools

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from sparring.assembly.planning import plan
from sparring.commands import running
from sparring.committee_files import read_committee
from sparring.config import load
from sparring.evaluation import evaluate
from sparring.labels import LabelError
from sparring.runs import loop
from sparring.runs.folder import RunFolder, read_metrics
from sparring.runs.loop import Fitted, State, lowest_energies
from sparring.runs.stopping import Stop
from sparring.training.splits import Splits


class Memory:
    """Computes every stage and remembers it."""

    def __init__(self):
        self.results = {}

    def __call__(self, generation, stage, compute):
        self.results[generation, stage] = compute()
        return self.results[generation, stage]

    def of(self, stage):
        return [result for (_, one), result in self.results.items() if one == stage]


@pytest.fixture
def well_plan(well_file, tmp_path):
    def make(changes=None):
        return plan(load(well_file(changes)), tmp_path / "labels of the plan")

    return make


@pytest.fixture
def remembered(well_plan):
    """All that a small run computed."""
    memory = Memory()
    loop.run(well_plan(), memory)
    return memory


def weights(committee):
    return committee.state()[0]


def coordinates(dataset, indices):
    return {tuple(dataset.structures.positions[i].tolist()) for i in indices}  # one atom in each structure


# --- Algorithm 1 ----------------------------------------------------------------------------------------------------


def test_every_generation_trains_attacks_chooses_and_labels_but_the_last_is_only_examined(remembered):
    whole = ["data", "fit", "evaluate", "attack", "select", "label"]
    expected = [(generation, stage) for generation in (1, 2) for stage in whole]
    assert list(remembered.results) == [*expected, (3, "data"), (3, "fit"), (3, "evaluate")]


def test_the_data_grow_by_what_was_labelled(remembered):
    states, labelled = remembered.of("data"), remembered.of("label")
    assert [len(state.dataset) for state in states] == [66, 70, 74]
    for old, new, found in zip(states, states[1:], labelled, strict=False):
        assert new.dataset.energy[: len(old.dataset)].tolist() == old.dataset.energy.tolist()
        assert new.dataset.energy[len(old.dataset) :].tolist() == [atoms.info["REF_energy"] for atoms in found.atoms]


def test_a_structure_keeps_its_place_in_every_later_generation(remembered):
    states = remembered.of("data")
    for old, new in itertools.pairwise(states):
        assert set(old.splits.test) <= set(new.splits.test)
        for part in ("train", "validation"):
            for before, after in zip(getattr(old.splits, part), getattr(new.splits, part), strict=True):
                assert set(before) <= set(after)


def test_no_test_point_of_any_generation_is_ever_learnt_or_decided_by(remembered):
    states = remembered.of("data")
    for state in states:
        seen = [*state.splits.train, *state.splits.validation]
        assert sorted({*state.splits.test, *seen[0], *state.splits.validation[0]}) == list(range(len(state.dataset)))
        for earlier in states[: state.generation]:
            evaluated = coordinates(earlier.dataset, earlier.splits.test)
            for part in seen:
                assert not evaluated & coordinates(state.dataset, part)


def test_all_data_say_where_they_come_from(remembered):
    last, attacked = remembered.of("data")[-1], remembered.of("attack")
    sizes = [0, *(len(state.dataset) for state in remembered.of("data"))]
    for index, info in enumerate(last.dataset.info):
        generation = next(g for g, size in enumerate(sizes) if index < size)
        assert info["generation"] == generation
        assert info["source"] == ("grid" if generation == 1 else "attack")
        if generation == 1:
            assert info["parent"] == -1
        else:
            assert info["parent"] in attacked[generation - 2].seeds
            assert len(info["label"]) == 64


def test_an_element_of_the_test_split_alone_is_not_known_and_does_not_end_the_run(
    molecules_file, with_random_labels, rattled, tmp_path, caplog
):
    dataset = with_random_labels([*rattled(molecule("N2"), 4), molecule("HCl")])
    splits = Splits(test=(4,), train=((0, 1, 2), (0, 1, 3)), validation=((3,), (2,)))
    changes = {"attack.n_seeds": 10, "attack.objective": "force_variance"}
    state, planned = State(1, dataset, splits), plan(load(molecules_file(changes)), tmp_path)
    committee, _ = loop.train(state, planned)
    assert "2 of 2 members train on no structure with Cl, which occurs in 1 of 5" in caplog.text
    assert str(committee.domain).startswith("N; charge 0; emt")
    evaluated = loop.evaluate(state, planned, committee)
    assert evaluated.errors["test"].n_structures == 1
    assert 4 in loop.attack_seeds(state, planned, committee, evaluated).seeds
    with pytest.raises(ValueError, match=r"structure 0 \(HCl\) has Cl, H, on which the committee was not trained"):
        evaluate(committee, dataset.take([4]))


def test_what_is_chosen_lies_where_its_attack_ended(remembered):
    for attacked, chosen in zip(remembered.of("attack"), remembered.of("select"), strict=True):
        assert chosen.atoms
        for atoms in chosen.atoms:
            candidate = atoms.info["candidate"]
            np.testing.assert_array_equal(atoms.positions, attacked.candidates.structures.take([candidate]).positions)
            assert atoms.info["parent"] == attacked.seeds[candidate]
            assert atoms.info["best_step"] == attacked.candidates.paths.best_step[candidate]


def test_the_committee_says_what_it_expects_of_a_label_before_it_has_learnt_it(remembered):
    for fitted, labelled in zip(remembered.of("fit"), remembered.of("label"), strict=False):
        for atoms in labelled.atoms:
            prediction = fitted.committee.predict(loop.Structures.from_atoms([atoms]), differentiable=False)
            assert atoms.info["committee_energy"] == pytest.approx(float(prediction.energy.mean()), rel=1e-5)
            assert atoms.info["wall_time"] >= 0


def test_candidates_and_what_is_chosen_and_labelled_have_the_uncertainty_of_each_atom(remembered):
    stages = [remembered.of(stage) for stage in ("attack", "select", "label")]
    for attacked, chosen, labelled in zip(*stages, strict=True):
        for atoms in (*chosen.atoms, *labelled.atoms):
            sigma = atoms.arrays["atom_uncertainty"]
            assert sigma.shape == (len(atoms),)
            assert np.mean(sigma**2) == pytest.approx(atoms.info["force_variance"], rel=1e-3)
            heir = attacked.heirs[atoms.info["candidate"]]
            np.testing.assert_allclose(sigma, heir.arrays["atom_uncertainty"], rtol=1e-3)
        assert all("atom_uncertainty" in heir.arrays for heir in attacked.heirs)


def test_attacks_of_an_older_version_have_no_uncertainty_of_atoms_and_are_chosen_from_all_the_same(
    well_plan, remembered
):
    attacked = remembered.of("attack")[0]
    for atoms in attacked.heirs:
        del atoms.arrays["atom_uncertainty"]
    state, committee = remembered.of("data")[0], remembered.of("fit")[0].committee
    for older in (attacked, attacked._replace(heirs=())):
        chosen = loop.choose(state, well_plan(), committee, remembered.of("evaluate")[0], older)
        assert len(chosen.atoms) == len(remembered.of("select")[0].atoms)
        assert all("atom_uncertainty" not in atoms.arrays for atoms in chosen.atoms)


def test_labels_are_those_of_the_well(remembered):
    for atoms in (atoms for labelled in remembered.of("label") for atoms in labelled.atoms):
        x = atoms.positions[0, 0]
        assert atoms.info["REF_energy"] == pytest.approx(5 * x**4 - 10 * x**2 + 1.5 * x)
        assert atoms.arrays["REF_forces"][0, 0] == pytest.approx(-20 * x**3 + 20 * x - 1.5)


def test_errors_are_those_of_the_test_set_and_of_the_rest(remembered):
    state, evaluated = remembered.of("data")[1], remembered.of("evaluate")[1]
    for name, ids in (("test", state.splits.test), ("fit", state.splits.fit)):
        missed = [
            evaluated.predictions[i].info["committee_energy"] - evaluated.predictions[i].info["REF_energy"] for i in ids
        ]
        assert evaluated.errors[name].energy_mae == pytest.approx(np.abs(missed).mean())
        assert evaluated.errors[name].n_structures == len(ids)
        assert all((evaluated.predictions[i].info["split"] == "test") == (name == "test") for i in ids)


# --- the same again -------------------------------------------------------------------------------------------------


def test_without_a_folder_a_run_gives_the_same_as_with_one(well_plan, finished_well):
    committee = loop.run(well_plan())
    for name, tensor in weights(read_committee(finished_well / "generation-03")).items():
        assert torch.equal(tensor, weights(committee)[name])


def test_another_seed_gives_another_run(well_plan, remembered):
    memory = Memory()
    loop.run(well_plan({"seed": 1}), memory)
    assert memory.results[1, "data"].splits != remembered.results[1, "data"].splits
    first, second = (weights(one.results[1, "fit"].committee) for one in (memory, remembered))
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_every_stage_of_every_generation_has_random_numbers_of_its_own(well_plan):
    one = well_plan()
    seeds = {one.seed_of(generation, stage) for generation in (1, 2, 3) for stage in ("fit", "attack", "select")}
    assert len(seeds) == 9
    assert one.seed_of(2, "fit") == well_plan().seed_of(2, "fit")


# --- when less is found ---------------------------------------------------------------------------------------------


def test_a_generation_that_chooses_no_candidate_ends_the_run_with_a_warning(well_plan, caplog):
    nothing = dataclasses.replace(well_plan(), selectors=lambda *_: [lambda candidates: np.array([], dtype=int)])
    memory = Memory()
    committee = loop.run(nothing, memory)
    assert committee.members is memory.results[1, "fit"].committee.members
    assert memory.results[1, "label"] == ([], (), 0, 0)
    assert (2, "data") not in memory.results
    assert "generation 1: no candidate was chosen and labelled; the run ends here" in caplog.text


def test_failed_labels_are_counted_with_their_reason_and_carried_on_from(well_file, tmp_path):
    config = load(well_file({"generations": 2}))
    sober = plan(config, tmp_path)

    def every_other_fails(structures, lowest):
        report = sober.label(structures, lowest)
        failure = LabelError("not_converged", "it oscillates,\nagain")
        labels = tuple(failure if i % 2 else one for i, one in enumerate(report.labels))
        return dataclasses.replace(report, labels=labels)

    faulty = dataclasses.replace(sober, label=every_other_fails)
    with RunFolder(tmp_path / "run", config) as folder:
        loop.run(faulty, folder.cached)
        again = folder.cached(1, "label", lambda: pytest.fail("it has been computed before"))
    metrics = read_metrics(tmp_path / "run" / "generation-01")
    assert metrics["labels"] == {"n_chosen": 4, "n_computed": 4, "n_reused": 0, "n_failed": 2}
    assert read_metrics(tmp_path / "run" / "generation-02")["n_structures"] == 66 + 2
    lines = (tmp_path / "run" / "generation-01" / "failures.csv").read_text().split("\n")
    assert lines[0] == "candidate,reason,message,files"
    assert lines[1].split(",", 2)[1:] == ["not_converged", '"it oscillates,']
    assert [(error.reason, error.message) for _, error in again.failures] == 2 * [
        ("not_converged", "it oscillates,\nagain")
    ]
    candidates = {atoms.info["candidate"] for atoms in again.atoms} | {candidate for candidate, _ in again.failures}
    assert len(candidates) == 4


def test_bounds_of_the_configuration_refuse_labels(well_plan):
    memory = Memory()
    loop.run(well_plan({"generations": 2, "labels.bounds.max_force": 1e-3}), memory)
    labelled = memory.results[1, "label"]
    assert {error.reason for _, error in labelled.failures} == {"force"}
    assert len(labelled.failures) + len(labelled.atoms) == 4


def test_when_all_labels_fail_the_run_ends_with_what_it_has(well_plan, caplog):
    memory = Memory()
    loop.run(well_plan({"labels.bounds.max_force": 1e-9}), memory)
    assert len(memory.results[1, "label"].failures) == 4
    assert (2, "data") not in memory.results
    assert "the run ends here" in caplog.text


# --- the baseline ---------------------------------------------------------------------------------------------------


def test_the_random_baseline_displaces_at_random_and_says_so(well_plan):
    memory = Memory()
    loop.run(well_plan({"generations": 2, "attack": {"kind": "random", "n_seeds": 9, "amplitude": 0.5}}), memory)
    data, attacked, last = memory.results[1, "data"], memory.results[1, "attack"], memory.results[2, "data"]
    moved = attacked.candidates.structures.positions - data.dataset.structures.take(attacked.seeds).positions
    assert moved[:, 1:].abs().max() == 0
    assert 0.1 < moved[:, 0].abs().max() <= 0.5
    assert attacked.candidates.paths is None
    assert [info["source"] for info in last.dataset.info[66:]] == ["random"] * 4


# --- expected errors, and the end of a run -------------------------------------------------------------------------


def test_expected_errors_are_those_of_the_test_set_and_of_the_labels_of_the_round_before(remembered):
    states, evaluated, labelled = (remembered.of(stage) for stage in ("data", "evaluate", "label"))
    assert states[0].found is None
    for number, (state, one) in enumerate(zip(states, evaluated, strict=True)):
        assert one.expected.n_test == len(state.splits.test)
        assert one.expected.n_labels == (len(labelled[number - 1].atoms) if number else 0)


def test_proposers_and_selectors_know_the_expected_errors(well_plan):
    whole, seen = well_plan(), []

    def proposer(dataset, expected):
        seen.append(expected)
        return whole.proposer(dataset, expected)

    def selectors(*known):
        seen.append(known[-1])
        return whole.selectors(*known)

    memory = Memory()
    loop.run(dataclasses.replace(whole, proposer=proposer, selectors=selectors), memory)
    by_generation = [evaluated.expected for evaluated in memory.of("evaluate")[:-1]]
    assert seen == [one for one in by_generation for _ in range(2)]


def test_attacks_of_a_run_end_at_the_error_that_they_look_for(well_plan):
    memory = Memory()
    changes = {
        "attack.objective": "target_error(1.75 eV/Å)",
        "attack.n_steps": 40,
        "generations": 2,
        "attack.learning_rate": 0.05,
    }
    loop.run(well_plan(changes), memory)
    (attacked,), evaluated = memory.of("attack"), memory.of("evaluate")[0]
    seeds = np.sqrt(attacked.candidates.paths.force_variance[0].numpy())
    ends = np.sqrt(attacked.candidates.force_variance)
    before, after = (np.abs(np.log(evaluated.expected.forces(sigma) / 1.75)) for sigma in (seeds, ends))
    assert (after <= before + 1e-9).all()
    assert np.median(after) < 0.2 * np.median(before)


@pytest.mark.parametrize(("force_error", "n_generations"), [(1e6, 2), (1e-9, 3)])
def test_a_run_ends_once_the_labels_of_a_round_err_less_than_was_asked_for(well_plan, force_error, n_generations):
    memory = Memory()
    loop.run(dataclasses.replace(well_plan(), stop=Stop(force_error=force_error, confidence=0.6)), memory)
    assert [len(memory.of(stage)) for stage in ("data", "fit", "label")] == [
        n_generations,
        n_generations,
        n_generations - 1,
    ]
    states, labelled = memory.of("data"), memory.of("label")
    assert len(states[-1].dataset) == len(states[-2].dataset) + len(labelled[-1].atoms)  # no label is lost


def test_a_run_that_ended_goes_on_as_if_nothing_had_been_when_less_error_is_asked_for(well_file, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "report", lambda folder: None)
    folders = {}
    for name, targets in (("twice", ("1e6 eV/Å", "1e-9 eV/Å")), ("at once", ("1e-9 eV/Å",))):
        for target in targets:
            config = load(well_file({"stop": {"force_error": target, "confidence": 0.6}}))
            folders[name] = tmp_path / name
            running.run(config, folders[name])
            n = len(list(folders[name].glob("generation-*")))
            assert n == (2 if target == "1e6 eV/Å" else 3)
    last = [weights(read_committee(folder / "generation-03")) for folder in folders.values()]
    for one, other in zip(last[0].values(), last[1].values(), strict=True):
        assert torch.equal(one, other)


# --- small things ---------------------------------------------------------------------------------------------------


def test_what_an_attack_finds_inherits_charge_and_multiplicity_from_its_parent(remembered):
    state, evaluated, attacked = (remembered.results[1, stage] for stage in ("data", "evaluate", "attack"))
    # The dummy atom of a well has no electron to lose.
    charged = tuple({**info, "charge": -1, "multiplicity": 2} for info in state.dataset.info)
    state = State(1, dataclasses.replace(state.dataset, info=charged), state.splits)
    seen = []

    def selectors(variances, lowest, *_):
        return [lambda candidates: (seen.append((lowest, candidates.charge)), np.arange(len(candidates.score)))[1]]

    committee = remembered.results[1, "fit"].committee
    chosen = loop.choose(state, dataclasses.replace(empty_plan(), selectors=selectors), committee, evaluated, attacked)
    assert chosen.atoms
    assert all((atoms.info["charge"], atoms.info["multiplicity"]) == (-1, 2) for atoms in chosen.atoms)
    ((lowest, charges),) = seen
    assert list(lowest) == ["X-1"]
    assert set(charges.tolist()) == {-1}


def empty_plan():
    """A plan with nothing behind it."""
    nothing = dict.fromkeys(("start", "fit", "evaluate", "seeds", "proposer", "selectors", "label"), print)
    return loop.Plan(seed=0, n_generations=2, n_members=2, **nothing)


def test_the_lowest_energy_is_that_of_the_same_composition_and_charge():
    atoms = [Atoms("NH3"), Atoms("NH3"), Atoms("NH4"), Atoms("NH4")]
    for one, energy, charge in zip(atoms, (-1.0, -2.0, -3.0, -9.0), (0, 0, 0, 1), strict=True):
        one.info.update(REF_energy=energy, charge=charge)
    assert lowest_energies(atoms) == {"H3N": -2.0, "H4N": -3.0, "H4N+1": -9.0}


def test_a_stage_that_fails_leaves_the_ones_before_it(well_file, tmp_path):
    config = load(well_file())
    whole = plan(config, tmp_path)

    def burns(*_):
        raise OSError("the cluster is on fire")

    with RunFolder(tmp_path / "run", config) as folder, pytest.raises(OSError, match="on fire"):
        loop.run(dataclasses.replace(whole, proposer=burns), folder.cached)
    lines = []
    with RunFolder(tmp_path / "run", config, lines.append) as folder:
        loop.run(whole, folder.cached)
    assert [line.endswith("done before") for line in lines[:4]] == [True, True, True, False]


def test_a_committee_that_lost_a_member_goes_on(well_plan):
    whole = well_plan({"generations": 2, "committee.n_members": 3})

    def loses_one(dataset, splits, seed):
        committee, report = whole.fit(dataset, splits, seed)
        kept = type(committee)(list(committee.members)[:2])
        return Fitted(kept, dataclasses.replace(report, dropped=(2,)))

    memory = Memory()
    committee = loop.run(dataclasses.replace(whole, fit=loses_one), memory)
    assert committee.n_members == 2
    assert memory.results[1, "label"].atoms
