"""Which structures a member learns from, which stop it, and which nobody sees before the examination."""

from dataclasses import dataclass

import numpy as np

from sparring.randomness import derive

__all__ = ["Splits"]


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Places of the structures of a data set, by index.

    A structure keeps its place for good: :meth:`extend` deals out only those that are new, so that no test point of an
    early generation is ever learnt in a later one.

    Attributes:
        test: Never seen in training, the same for all members.
        train: What each member learns from.
        validation: What decides which weights of each member are kept.
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
        """What is not test: every member has each of these in its training or in its validation set."""
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
    ) -> "Splits":
        """Deal out a data set.

        Args:
            n_structures: Size of the data set.
            n_members: Size of the committee.
            seed: Of the random numbers.
            fractions: Of training, validation and test.
            shared: Whether all members train on the same structures; otherwise each divides what is not test anew.

        Raises:
            ValueError: If there is no member, or there are fewer than three structures, or the fractions are not three
                parts of one, or they leave nothing to learn from.
        """
        if n_members < 1:
            raise ValueError(f"a committee needs at least one member, got n_members={n_members}")
        nobody: tuple[tuple[int, ...], ...] = ((),) * n_members
        return cls(test=(), train=nobody, validation=nobody).extend(
            n_structures, seed=seed, fractions=fractions, shared=shared
        )

    def extend(
        self,
        n_structures: int,
        *,
        seed: int,
        fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
        shared: bool = False,
    ) -> "Splits":
        """Deal out the structures that have been added, up to a new size; the arguments are those of :meth:`draw`."""
        if n_structures < 3:
            raise ValueError(
                f"a data set of {n_structures} cannot be divided into training, validation and test; "
                "label at least 3 structures, better 20"
            )
        if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
            raise ValueError(f"fractions must be three positive parts of 1, got {fractions}")
        n_test, n_validation = (max(1, round(fraction * n_structures)) for fraction in (fractions[2], fractions[1]))
        new = np.arange(self.n_structures, n_structures)
        order = np.random.default_rng(derive(seed, "test")).permutation(new)
        n_new_test = min(max(n_test - len(self.test), 0), len(new))
        test, rest = order[:n_new_test], np.sort(order[n_new_test:])
        n_new_validation = min(max(n_validation - len(self.validation[0]), 0), len(rest))
        if n_new_validation == len(rest) and not self.train[0]:
            raise ValueError(f"fractions of {fractions} leave nothing to train on in a data set of {n_structures}")
        train, validation = [], []
        for member in range(self.n_members):
            order = np.random.default_rng(derive(seed, "fit", 0 if shared else member)).permutation(rest)
            validation.append((*self.validation[member], *sorted(order[:n_new_validation].tolist())))
            train.append((*self.train[member], *sorted(order[n_new_validation:].tolist())))
        return type(self)(test=(*self.test, *sorted(test.tolist())), train=tuple(train), validation=tuple(validation))
