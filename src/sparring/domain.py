"""The domain of a committee: elements, charges and method of its training data."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from jaxtyping import Int

from sparring.atoms.dataset import Dataset
from sparring.atoms.structures import Structures

__all__ = ["TrainingDomain"]

State = tuple[int, int | None]
"""Total charge in e, and multiplicity 2S+1; None if unknown."""

SOFTWARE = ("sparring", "torch", "numpy", "ase")
WITHOUT_DOMAIN = "in Python, committee.without_domain() evaluates it all the same"


@dataclass(frozen=True, kw_only=True)
class TrainingDomain:
    """Elements, charges and method of the data that a committee was trained on; it refuses structures outside of it.

    A network has an embedding for every element, also for those that are not in its training data: those embeddings,
    and energies computed from them, are random. And a network that does not depend on the charge gives the energy of
    the charge that it was trained on, for any charge of the structure.

    Attributes:
        elements: Atomic numbers in the training data; 0 is ASE's dummy atom X.
        states: Charges in e and multiplicities 2S+1 that each composition (Hill's formula) has in the data; empty if
            unknown.
        method: Level of theory of the labels; None if unknown.
        method_version: Code that computed the labels, with its version; None if unknown.
        software: Versions of the packages that trained the committee.
    """

    elements: tuple[int, ...]
    states: Mapping[str, tuple[State, ...]] = field(default_factory=dict)
    method: str | None = None
    method_version: str | None = None
    software: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: Dataset, indices: Iterable[int] | None = None) -> "TrainingDomain":
        """The domain of a committee that was trained on labelled structures.

        Args:
            dataset: Labelled structures. Those that do not give a charge count as neutral, those that do not give a
                multiplicity as of the lowest that their electrons allow.
            indices: Structures that members were trained on; None for all.

        Raises:
            ValueError: If a charge or a multiplicity is not an integer.
        """
        frames = dataset.to_atoms()
        trained = frames if indices is None else [frames[index] for index in sorted(set(indices))]
        states: dict[str, set[State]] = {}
        for index, atoms in enumerate(frames):
            name = f"structure {index} ({atoms.get_chemical_formula()})"
            charge = _given(atoms, "charge", name) or 0
            multiplicity = _given(atoms, "multiplicity", name) or _lowest(atoms, charge)
            states.setdefault(atoms.get_chemical_formula(), set()).add((charge, multiplicity))
        return cls(
            elements=tuple(sorted({int(number) for atoms in trained for number in atoms.numbers})),
            states={formula: tuple(sorted(known, key=_order)) for formula, known in sorted(states.items())},
            software=_software(),
        )

    @classmethod
    def of_elements(cls, elements: Iterable[int | str]) -> "TrainingDomain":
        """The domain of a potential of which only the elements are known, as atomic numbers or symbols.

        Raises:
            ValueError: If there is no such element.
        """
        numbers = set()
        for element in elements:
            number = atomic_numbers.get(element) if isinstance(element, str) else int(element)
            if number is None or number < 0:
                raise ValueError(f"elements are symbols or atomic numbers, got {element!r}")
            numbers.add(number)
        return cls(elements=tuple(sorted(numbers)))

    @classmethod
    def of_members(cls, members: Iterable[object]) -> "TrainingDomain | None":
        """The elements that all members of a committee support; None if no member has an attribute ``elements``.

        Raises:
            ValueError: If members have no element in common.
        """
        shared: set[int] | None = None
        for index, member in enumerate(members):
            if isinstance(elements := getattr(member, "elements", None), Iterable):
                own = set(cls.of_elements(elements).elements)
                before, shared = shared, own if shared is None else shared & own
                if before and not shared:
                    raise ValueError(
                        f"member {index} ({type(member).__name__}) has parameters for {_symbols(own)}, the members "
                        f"before it for {_symbols(before)}: they have no element in common"
                    )
        return None if shared is None else cls(elements=tuple(sorted(shared)))

    def require(self, structures: Structures | Dataset | Sequence[Atoms]) -> None:
        """Refuse structures that are not of this domain.

        Charges and multiplicities are compared where structures give them: ``info["charge"]``,
        ``info["multiplicity"]``, or initial charges whose sum is not zero.

        Raises:
            ValueError: If a structure has an element, a charge or a multiplicity that is not in the training data.
        """
        if isinstance(structures, Structures):
            self._require_elements(structures)
            return
        if isinstance(structures, Dataset):
            self._require_elements(structures.structures)
            structures = structures.to_atoms()
        for index, atoms in enumerate(structures):
            self._require_numbers(atoms.numbers, index)
            if self.states:
                self._require_state(atoms, index)

    def _require_elements(self, structures: Structures) -> None:
        numbers = structures.atomic_numbers.cpu().numpy()
        if np.isin(numbers, self.elements).all():
            return
        owner = structures.structure_index.cpu().numpy()
        for index in range(structures.n_structures):
            self._require_numbers(numbers[owner == index], index)

    def _require_numbers(self, numbers: Int[np.ndarray, " n_atoms"], index: int) -> None:
        unknown = sorted({int(number) for number in numbers} - set(self.elements))
        if unknown:
            raise ValueError(
                f"structure {index} ({_formula(numbers)}) has {_symbols(unknown)}, on which the committee was not "
                f"trained: its data have {_symbols(self.elements)}; train one on labels with {_symbols(unknown)} "
                f"({WITHOUT_DOMAIN})"
            )

    def _require_state(self, atoms: Atoms, index: int) -> None:
        formula = atoms.get_chemical_formula()
        name = f"structure {index} ({formula})"
        charge, multiplicity = _given_charge(atoms, name), _given(atoms, "multiplicity", name)
        known = self.states.get(formula) or tuple({state for states in self.states.values() for state in states})
        of = f" of {formula}" if formula in self.states else ""
        if charge is not None:
            charges = sorted({one for one, _ in known})
            known = tuple(state for state in known if state[0] == charge)
            if not known:
                raise ValueError(_refusal(name, "charge", _signed(charge), ", ".join(map(_signed, charges)), of))
        multiplicities = {one for _, one in known}
        if formula not in self.states:
            # Another composition may have another number of electrons, and with it another lowest multiplicity.
            multiplicities.add(_lowest(atoms, charge or 0))
        if multiplicity is not None and None not in multiplicities and multiplicity not in multiplicities:
            seen = ", ".join(str(one) for one in sorted(one for one in multiplicities if one is not None))
            raise ValueError(_refusal(name, "multiplicity", str(multiplicity), seen, of))

    def to_json(self) -> dict[str, object]:
        """The domain as JSON has it, elements by their symbols."""
        return {
            "elements": [_symbol(number) for number in self.elements],
            "states": {formula: [list(state) for state in states] for formula, states in self.states.items()},
            "method": self.method,
            "method_version": self.method_version,
            "software": dict(self.software),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> "TrainingDomain":
        """The domain whose :meth:`to_json` this is.

        Raises:
            ValueError: If it is not one.
        """
        try:
            states: Mapping[str, Sequence[Sequence[int]]] = content["states"]  # type: ignore[assignment]
            method, method_version = content.get("method"), content.get("method_version")
            return cls(
                elements=cls.of_elements(content["elements"]).elements,  # type: ignore[arg-type]
                states={formula: tuple((one[0], one[1]) for one in known) for formula, known in states.items()},
                method=None if method is None else str(method),
                method_version=None if method_version is None else str(method_version),
                software=dict(content.get("software", {})),  # type: ignore[call-overload]
            )
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"the domain of the committee cannot be read: {error!r}") from error

    def __str__(self) -> str:
        """One line for people, as "H, N; charge 0; BP86-D3BJ/def2-SVP (pyscf 2.14)"."""
        parts = [_symbols(self.elements)]
        charges = sorted({charge for states in self.states.values() for charge, _ in states})
        spins = sorted({spin for states in self.states.values() for _, spin in states if spin is not None})
        if charges:
            parts.append(f"charge {', '.join(map(_signed, charges))}")
        if spins and spins != [1]:
            parts.append(f"multiplicity {', '.join(map(str, spins))}")
        if self.method is not None:
            parts.append(self.method + (f" ({self.method_version})" if self.method_version else ""))
        return "; ".join(parts)


def _given(atoms: Atoms, key: str, name: str) -> int | None:
    value = atoms.info.get(key)
    if value is None:
        return None
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        whole = None
    if whole is None or isinstance(value, str) or whole != value:
        raise ValueError(f"{name}: {key} must be an integer, got atoms.info[{key!r}] = {value!r}")
    return whole


def _given_charge(atoms: Atoms, name: str) -> int | None:
    charge = _given(atoms, "charge", name)
    if charge is None and atoms.has("initial_charges"):
        # What ASE's calculators take for the total charge. Zeros are what ASE writes where nothing was set.
        charge = round(float(atoms.get_initial_charges().sum())) or None
    return charge


def _lowest(atoms: Atoms, charge: int) -> int | None:
    """The lowest multiplicity that a molecule's electrons allow; None for a cell."""
    return None if atoms.pbc.any() else 1 + (int(atoms.numbers.sum()) - charge) % 2


def _refusal(name: str, what: str, found: str, known: str, of: str) -> str:
    unsaid = "neutral" if what == "charge" else "of the lowest"
    return (
        f"{name} has {what} {found}, on which the committee was not trained: its data have {what} {known}{of} "
        f"(structures without one count as {unsaid}), and its energies do not depend on the {what}; train one on "
        f"labels with {what} {found} ({WITHOUT_DOMAIN})"
    )


def _software() -> dict[str, str]:
    def found() -> Iterator[tuple[str, str]]:
        for name in SOFTWARE:
            try:
                yield name, version(name)
            except PackageNotFoundError:
                continue

    return dict(found())


def _order(state: State) -> tuple[int, int]:
    return state[0], state[1] or 0


def _signed(charge: int) -> str:
    return f"{charge:+d}" if charge else "0"


def _symbol(number: int) -> str:
    return chemical_symbols[number] if number < len(chemical_symbols) else f"element {number}"


def _symbols(numbers: Iterable[int]) -> str:
    return ", ".join(sorted(_symbol(number) for number in numbers))


def _formula(numbers: Int[np.ndarray, " n_atoms"]) -> str:
    if (numbers >= len(chemical_symbols)).any():
        return f"{len(numbers)} atoms"
    formula: str = Atoms(numbers=numbers).get_chemical_formula()
    return formula
