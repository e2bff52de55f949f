"""Values of a configuration that are right by themselves but do not fit each other."""

from collections.abc import Iterator

from sparring.config.fitting_proposers import proposer_contradictions
from sparring.config.problems import KeyPath, dotted
from sparring.config.proposers import source_of
from sparring.config.sections import Config
from sparring.support.ranks import fewest_for

__all__ = ["contradictions"]

WITHOUT_PARTICLES = {
    "survival": "bonds to keep",
    **dict.fromkeys(("equation_of_state", "elastic", "phonons", "vacancy"), "crystal"),
}
"""Tests of a run's committees that need atoms, and why."""


def contradictions(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Values that are right by themselves but do not fit each other."""
    kind, training = config.system.kind, config.training
    dimensions = config.system.n_coordinates
    yield from _networks(config)
    for key, absent in WITHOUT_PARTICLES.items():
        if getattr(config.evaluation, key) is not None and dimensions is not None:
            yield ("evaluation", key), f"system {kind} is a single particle, which has no {absent}; leave it out"
    labeller = config.labels.labeller.kind
    if (labeller == "ground_truth") != (dimensions is not None):
        fitting = "pyscf, openmm, ase, potential, offline or plugin" if dimensions is None else "ground_truth"
        yield ("labels", "labeller", "kind"), f"{labeller} does not fit system {kind}; use {fitting}"
    yield from _forcefield_contradictions(config)
    yield from _without_labeller(config)
    yield from _offline(config)
    yield from _single_model(config)
    yield from _foreign_contradictions(config)
    if training.kind in ("fit", "fine_tune") and training.energy_weight == training.force_weight == 0:
        yield ("training",), "energy_weight and force_weight are both 0, so that there is nothing to learn; raise one"
    for at, proposer in config.located_proposers():
        yield from proposer_contradictions(proposer, at, kind, None if dimensions is None else "xyz"[:dimensions])
    yield from _same_sources(config)
    yield from _unreachable_stop(config)


def _networks(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Problems of networks that do not fit the system, or a committee."""
    kind, committee, dimensions = config.system.kind, config.committee, config.system.n_coordinates
    if committee.kind not in ("trained", "mixed"):
        return
    several = committee.kind == "mixed"
    for index, potential in enumerate(committee.potentials):
        at: KeyPath = ("committee", "potentials", index) if several else ("committee", "potential")
        if potential.kind in ("schnet", "painn", "ace", "mace") and dimensions is not None:
            problem = f"{potential.kind} depends on distances, and system {kind} is a single particle"
            yield (*at, "kind"), f"{problem}; use coordinate_mlp or plugin"
        elif potential.kind == "coordinate_mlp" and dimensions is None:
            problem = f"coordinate_mlp is for single particles, and system {kind} has molecules"
            yield (*at, "kind"), f"{problem}; use schnet, painn, ace, mace or plugin"
        elif potential.kind == "coordinate_mlp" and potential.n_coordinates != dimensions:
            yield (*at, "n_coordinates"), f"must be {dimensions} for system {kind}, got {potential.n_coordinates}"
        elif potential.kind == "mace" and committee.prior is not None:
            yield ("committee", "prior"), "mace has no prior; use schnet, painn or ace, or leave the prior out"
    if several and committee.n_members < len(committee.potentials):
        problem = f"wanted a member for each of {len(committee.potentials)} potentials, got {committee.n_members}"
        yield ("committee", "n_members"), problem


def _foreign_contradictions(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Problems of models of other packages, and of what they are trained by."""
    committee, training = config.committee, str(config.training.kind)
    if committee.kind == "heads":
        if config.system.n_coordinates is not None or training != "none":
            problem = "heads are fitted by linear algebra, without epochs, and their backbone stays as it is"
            remedy = "use them with other systems than wells, and `training: {kind: none}`"
            yield ("committee", "kind"), f"{problem}: {remedy}"
        return
    if committee.kind != "foreign":
        meanings = {
            "none": "leaves members as they are",
            "fine_tune": "begins with the weights of models",
            "command": "runs a trainer of another package",
        }
        if training in meanings:
            fitting = "foreign or heads" if training == "none" else "foreign"
            needs = f"which needs a committee of kind {fitting}; use fit"
            problem = f"{training} {meanings[training]}, {needs}"
            yield ("training", "kind"), problem
        return
    n_models = len(committee.models)
    if config.system.n_coordinates is not None:
        problem = (
            f"models of {committee.adapter} are for molecules and crystals; use them with other systems than wells"
        )
        yield ("committee", "kind"), problem
    if training in ("fine_tune", "command") and committee.n_members < 2:
        yield ("committee", "n_members"), f"wanted at least 2 members to be trained, got {committee.n_members}"
    if training == "fit":
        problem = "fit draws new weights; models of other packages are left as they are (none), tuned (fine_tune) or "
        yield ("training", "kind"), f"{problem}trained by a program of yours (command)"
    elif training == "none" and committee.adapter != "sparring" and n_models != committee.n_members:
        problem = f"wanted one for each member, got {n_models} for n_members: {committee.n_members}"
        yield ("committee", "models"), problem
    elif training == "fine_tune" and not 1 <= n_models <= committee.n_members:
        problem = f"wanted 1 to {committee.n_members} that n_members: {committee.n_members} start from, got {n_models}"
        yield ("committee", "models"), problem
    elif training == "command" and n_models:
        yield ("committee", "models"), "models are those that the trainer writes; leave the key out"


def _without_labeller(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Problems of a run that labels nothing: it needs a committee that needs no labels, and has one generation."""
    if config.labels.labeller.kind != "none":
        return
    at: KeyPath = ("labels", "labeller", "kind")
    if config.generations != 1:
        yield (
            ("generations",),
            "labeller none ends a run with the structures to be labelled: set `generations: 1`, got "
            f"{config.generations}",
        )
    committee = config.committee
    if committee.kind not in ("foreign", "heads") or config.training.kind != "none":
        yield (
            at,
            "none is for committees that need no labels (`committee: {kind: foreign, ...}` or `{kind: heads, ...}` "
            "with `training: {kind: none}`); a network that is trained needs a labeller",
        )
    elif committee.kind == "heads" and committee.uncertainty != "llpr":
        at = ("committee", "uncertainty")
        yield at, f"{committee.uncertainty} is fitted to labels, and there is no labeller; use llpr"


def _offline(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Problems of labels that are computed elsewhere: they come all at once, and not one after the other."""
    labeller = config.labels.labeller
    if labeller.kind != "offline":
        return
    at: KeyPath = ("labels", "labeller", "kind")
    for step in config.system.steps():
        yield at, f"offline labels come many at once, and {step}"
    if labeller.align and (config.system.kind != "own" or config.system.relabel):
        problem = "brings energies to the zero of labels that the structures of `system.file` have"
        yield ("labels", "labeller", "align"), f"{problem}, and there are none; leave it out"
    if config.labels.store is not None and labeller.align:
        problem = "energies with align belong to the data of this run alone"
        yield ("labels", "store"), f"{problem}; leave `store` or `align` out"
    if config.labels.store is not None and labeller.method == "offline":
        problem = "labels in a store of several runs are found by their method"
        yield ("labels", "labeller", "method"), f"{problem}; name it, as in `method: PBE/plane waves, 500 eV`"


def _single_model(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Problems of a committee of one model, which has no uncertainty."""
    committee = config.committee
    if committee.kind != "foreign" or committee.n_members > 1:
        return
    needs = "give at least 2 models, or use `kind: heads` with `uncertainty: llpr`"
    for at, proposer in config.located_proposers():
        objective = getattr(proposer, "objective", None)
        if objective is None or "variance" in objective:
            what = f"kind {proposer.kind}" if objective is None else f"objective {objective}"
            yield (
                ("committee", "models"),
                f"a single model has no uncertainty, which {dotted(at)}.{what} needs; {needs}, or an objective such as "
                "closeness",
            )
    for index, step in enumerate(config.selection):
        if step.kind == "uncertainty_above" or (step.kind == "max_det" and step.scaled):
            yield ("selection", index, "kind"), f"a single model has no uncertainty; leave this step out, or {needs}"


def _same_sources(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Problems of parts of a portfolio that could not be told apart in the data."""
    seen: set[str] = set()
    for at, proposer in config.located_proposers():
        source = source_of(proposer)
        if source in seen:
            yield at, f"structures of two parts would have the source {source!r}; give one of them another `source:`"
        seen.add(source)


def _forcefield_contradictions(config: Config) -> Iterator[tuple[KeyPath, str]]:
    labeller, system = config.labels.labeller, config.system
    at: KeyPath = ("labels", "labeller")
    if labeller.kind == "openmm":
        if labeller.forcefield is not None and labeller.system is not None:
            yield (*at, "system"), "a serialised system has all its parameters; leave `forcefield` or `system` out"
        elif labeller.forcefield is None and labeller.system is None:
            yield at, "openmm needs `forcefield` (names or files) and `topology`, or `system`, a serialised one"
        elif labeller.system is None and labeller.topology is None and system.forcefield is None:
            yield at, "a force field needs `topology`: a PDB or mmCIF file with all atoms of the molecule, in order"
    if (dynamics := system.dynamics()) is None:
        return
    where, sampling = ("system", dynamics[0]), dynamics[1]
    if labeller.kind != "openmm":
        yield (
            at,
            f"{system.kind} begins with dynamics under the force field that labels: use openmm, not {labeller.kind}",
        )
    n_steps = round(sampling.every / sampling.timestep)
    if n_steps < 1 or abs(n_steps * sampling.timestep - sampling.every) > 1e-6 * sampling.every:
        yield (*where, "every"), f"{sampling.every:g} fs is not a whole number of steps of {sampling.timestep:g} fs"
    elif sampling.duration < sampling.every:
        yield (*where, "duration"), f"has no snapshot: there is one every {sampling.every:g} fs"


def _unreachable_stop(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Problems of an end that no labels of a round can bring about."""
    if config.stop is None:
        return
    if config.labels.labeller.kind == "none":
        yield ("stop",), "the errors of new labels end a run, and this one computes none; leave stop out"
    needed = fewest_for(config.stop.confidence)
    for index, section in enumerate(config.selection):
        n = getattr(section, "n", None)
        if n is not None and n < needed:
            problem = f"{n} labels cannot show anything with a confidence of {config.stop.confidence:g}"
            yield ("selection", index, "n"), f"{problem}, which takes {needed}; raise n, or lower stop.confidence"
