"""Division of a data set into training, validation and test sets of the members of a committee."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from sparring.support.seeds import derive

__all__ = ["Splits"]


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Sets of the structures of a data set, by index.

    A structure stays in its set: :meth:`extend` divides only new ones, so that no test structure of an early generation
    is ever trained on in a later one. Duplicates are in one set, so that no test structure equals a training structure.

    Attributes:
        test: Test set, the same for all members.
        train: Training set of each member.
        validation: Validation set of each member, which decides which of its weights are kept.
    """

    test: tuple[int, ...]
    train: tuple[tuple[int, ...], ...]
    validation: tuple[tuple[int, ...], ...]

    @property
    def n_members(self) -> int:
        """Number of members."""
        return len(self.train)

    @property
    def n_structures(self) -> int:
        """Number of structures that have a place."""
        return len(self.test) + len(self.train[0]) + len(self.validation[0])

    @property
    def fit(self) -> tuple[int, ...]:
        """All structures outside the test set: each member has them in its training or in its validation set."""
        return tuple(sorted((*self.train[0], *self.validation[0])))

    @classmethod
    def draw(
        cls,
        n_structures: int,
        *,
        n_members: int,
        seed: int,
        fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
        shared: bool = False,
        groups: Sequence[int] | Int[np.ndarray, " n_structures"] | None = None,
    ) -> "Splits":
        """Divide a data set.

        Args:
            n_structures: Size of the data set.
            n_members: Size of the committee.
            seed: Seed of the random numbers.
            fractions: Fractions of training, validation and test set.
            shared: True for members that train on the same structures; otherwise each has its own division of all but
                the test set.
            groups: Number of each structure that duplicates share, as
                :func:`sparring.atoms.duplicates.duplicate_groups` gives it; None where there are no duplicates.

        Raises:
            ValueError: If there is no member, or there are fewer than three structures, or the fractions are not three
                parts of one, or they leave nothing to train on.
        """
        if n_members < 1:
            raise ValueError(f"a committee needs at least one member, got n_members={n_members}")
        empty: tuple[tuple[int, ...], ...] = ((),) * n_members
        return cls(test=(), train=empty, validation=empty).extend(
            n_structures, seed=seed, fractions=fractions, shared=shared, groups=groups
        )

    @classmethod
    def untrained(cls, n_structures: int, *, n_members: int) -> "Splits":
        """All structures in one set, for members that are not trained; there may be as few as one."""
        return cls(test=(), train=(tuple(range(n_structures)),) * n_members, validation=((),) * n_members)

    def of_members(self, members: slice) -> "Splits":
        """The same for some of the members."""
        return replace(self, train=self.train[members], validation=self.validation[members])

    def bootstrapped(self, seed: int) -> "Splits":
        """The same with a bootstrap sample of each training set: as many structures of it, drawn with replacement.

        Structures that were not drawn have no place, so that these splits are for one training and not extended.

        Args:
            seed: Seed of the samples; each member has its own.
        """
        generators = [np.random.default_rng(derive(seed, "bootstrap", member)) for member in range(self.n_members)]
        samples = [
            tuple(generator.choice(ids, len(ids)).tolist())
            for generator, ids in zip(generators, self.train, strict=True)
        ]
        return replace(self, train=tuple(samples))

    def extend(
        self,
        n_structures: int,
        *,
        seed: int,
        fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
        shared: bool = False,
        groups: Sequence[int] | Int[np.ndarray, " n_structures"] | None = None,
    ) -> "Splits":
        """Deal out the structures that have been added, up to a new size; the arguments are those of :meth:`draw`.

        A new duplicate of a test structure is a test structure, and one of a structure that is learnt is learnt.
        """
        groups = np.arange(n_structures) if groups is None else np.asarray(groups)
        _check(n_structures, groups, fractions)
        n_test, n_validation = (max(1, round(fraction * n_structures)) for fraction in (fractions[2], fractions[1]))
        known, new = np.arange(self.n_structures), np.arange(self.n_structures, n_structures)
        tested = np.isin(groups[new], groups[list(self.test)])
        free = new[~np.isin(groups[new], groups[known])]
        order = np.random.default_rng(derive(seed, "test")).permutation(_firsts(free, groups))
        n_new_test = max(n_test - len(self.test) - int(tested.sum()), 0)
        drawn = _dealt(order, free, groups, _quotas(order, free, groups, n_new_test, at_least=not len(known)))
        test = np.union1d(new[tested], drawn)
        rest = np.setdiff1d(new, test)
        n_new_validation = max(n_validation - len(self.validation[0]), 0)
        validation: list[tuple[int, ...]] = []
        train: list[tuple[int, ...]] = []
        quotas: dict[int, int] = {}
        for member in range(self.n_members):
            generator = np.random.default_rng(derive(seed, "fit", 0 if shared else member))
            # All members have validation sets of one size: that of the first, where groups do not add up to it.
            size = len(validation[0]) - len(self.validation[member]) if validation else None
            n_wanted = n_new_validation if size is None else size
            more, quotas = self._validation(member, rest, groups, generator, n_wanted, quotas)
            if size is not None and len(more) != size:
                # Duplicates of older structures are on different sides in different members: they part here.
                more = np.concatenate([more, np.setdiff1d(rest, more)])[:size]
            validation.append((*self.validation[member], *sorted(more.tolist())))
            train.append((*self.train[member], *np.setdiff1d(rest, more).tolist()))
        if not train[0]:
            raise ValueError(f"fractions of {fractions} leave nothing to train on in a data set of {n_structures}")
        return type(self)(test=(*self.test, *test.tolist()), train=tuple(train), validation=tuple(validation))

    def _validation(
        self,
        member: int,
        rest: Int[np.ndarray, " n_rest"],
        groups: Int[np.ndarray, " n_structures"],
        generator: np.random.Generator,
        n_wanted: int,
        quotas: dict[int, int],
    ) -> tuple[Int[np.ndarray, " n_validation"], dict[int, int]]:
        """The new validation structures of a member, and how many groups of each size they have beside the followers.

        Followers are duplicates of older validation structures. Quotas of another member are kept if they add up.
        """
        followers = rest[np.isin(groups[rest], groups[list(self.validation[member])])][:n_wanted]
        free = rest[~np.isin(groups[rest], groups[[*self.train[member], *self.validation[member]]])]
        order, n_more = generator.permutation(_firsts(free, groups)), n_wanted - len(followers)
        if not quotas or sum(size * count for size, count in quotas.items()) != n_more:
            at_least = not self.validation[member] and not len(followers)
            quotas = _quotas(order, free, groups, n_more, at_least=at_least)
        return np.concatenate([followers, _dealt(order, free, groups, quotas)]), quotas


def _check(n_structures: int, groups: Int[np.ndarray, " n"], fractions: tuple[float, float, float]) -> None:
    if len(groups) != n_structures:
        raise ValueError(f"groups must have one number for each of {n_structures} structures, got {len(groups)}")
    n_different = len(np.unique(groups))
    if n_different < 3:
        more = "" if n_different == n_structures else f" of which {n_different} differ"
        raise ValueError(
            f"a data set of {n_structures}{more} cannot be divided into training, validation and test; "
            "label at least 3 structures, better 20"
        )
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"fractions must be three positive parts of 1, got {fractions}")


def _firsts(indices: Int[np.ndarray, " n"], groups: Int[np.ndarray, " n_structures"]) -> Int[np.ndarray, " n_groups"]:
    """The first structure of each group among these, in their order."""
    _, first = np.unique(groups[indices], return_index=True)
    return indices[np.sort(first)]


def _sizes(indices: Int[np.ndarray, " n"], groups: Int[np.ndarray, " n_structures"]) -> Counter[int]:
    return Counter(groups[indices].tolist())


def _quotas(
    order: Int[np.ndarray, " n_groups"],
    indices: Int[np.ndarray, " n"],
    groups: Int[np.ndarray, " n_structures"],
    n_wanted: int,
    *,
    at_least: bool,
) -> dict[int, int]:
    """Number of groups of each size that make up a number of structures, taken in order as long as they fit.

    Args:
        order: One structure of each group, in the order in which groups are taken.
        indices: Structures that are divided.
        groups: The group of every structure.
        n_wanted: Number of structures.
        at_least: True to take the smallest group if none fits.
    """
    sizes = _sizes(indices, groups)
    quotas: Counter[int] = Counter()
    left = n_wanted
    for size in (sizes[group] for group in groups[order].tolist()):
        if size <= left:
            quotas[size] += 1
            left -= size
    if not quotas and at_least and n_wanted and sizes:
        quotas[min(sizes.values())] = 1
    return dict(quotas)


def _dealt(
    order: Int[np.ndarray, " n_groups"],
    indices: Int[np.ndarray, " n"],
    groups: Int[np.ndarray, " n_structures"],
    quotas: Mapping[int, int],
) -> Int[np.ndarray, " n_dealt"]:
    """All structures of the first groups of each size in an order, as many groups as the quotas allow."""
    sizes, left, chosen = _sizes(indices, groups), Counter(quotas), set()
    for group in groups[order].tolist():
        if left[sizes[group]] > 0:
            left[sizes[group]] -= 1
            chosen.add(group)
    return indices[np.isin(groups[indices], list(chosen))]
