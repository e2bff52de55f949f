r"""Neighbours of atoms that move: found with a skin, and kept until a pair may have come within the cutoff.

.. math::
    (1 - \lVert F - 1 \rVert) (r_c + s) - 2 \max_i | u_i - \bar u | > r_c, \qquad
    h = h^0 F, \quad u_i = x_i - x_i^0 F

============================  =========================================================================
:math:`x_i^0, h^0`            positions and periodic lattice vectors at which the list was found
:math:`x_i, h`                positions and lattice vectors now
:math:`r_c, s`                cutoff and skin
============================  =========================================================================

A pair that was farther apart than cutoff and skin is :math:`(x_j^0 - x_i^0 + S h^0) F + u_j - u_i` apart now, and the
matrix F shortens no vector by more than the (Frobenius) norm of its deviation from one. Without strain this is the rule
of Verlet (1967, doi:10.1103/PhysRev.159.98): no atom has moved by more than half of the skin.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.atoms.cell_lists import translations
from sparring.atoms.neighbors import joined_edges, with_edges
from sparring.atoms.structures import Edges, Structures

__all__ = ["NeighborList"]

SKINS = {"cpu": 0.25, "cuda": 0.5}
"""Largest skin in Å."""
LEVELS = 5
"""Number of skins to choose from."""
MORE_EDGES = {"cpu": 0.03}
"""Share of edges that a skin may add, in all and to the atom with most, by which tables of neighbours are as wide. Each
takes time in a network; on a graphics card it is the host that takes it."""
TOLERANCE = 1e-3
"""Distance in Å by which a pair has to stay outside of the cutoff, far more than single precision rounds."""


class _Known(NamedTuple):
    """A list, and the geometry of each structure when its part was found.

    Attributes:
        structures: Structures with edges.
        skin: Skin of each structure, in Å; infinite for molecules, which have all pairs.
        inverse: Pseudoinverse of the periodic lattice vectors, in 1/Å.
    """

    structures: Structures
    skin: Float[Tensor, " n_structures"]
    inverse: Float[Tensor, "n_structures 3 3"]


class _Check(NamedTuple):
    """Distances by which pairs stay outside of the cutoff, on their way to the host, and the event of their arrival."""

    slack: Float[Tensor, " n_structures"]
    arrival: "torch.cuda.Event | None"


class NeighborList:
    """Neighbours of a batch of structures from step to step.

    The list of each structure depends on its own path only, so that other structures in the batch change nothing. The
    skin is the largest that adds few edges: wide where distances have gaps, as in a cold crystal, and narrow in a
    liquid. While no structure is due, the edges are the very same tensors, by which potentials find their layouts.

    On the CPU a structure is found anew as soon as a pair may be missing. A graphics card should not wait for the host
    in each step: there a structure is found anew one step before it is expected to be due, and :meth:`is_complete` asks
    once the work of the step is queued whether that was early enough::

        result = compute(neighbors.update(structures))
        while not neighbors.is_complete():
            result = compute(neighbors.update(structures))

    Args:
        cutoff: Distance up to which all pairs are edges, in Å.
        skin: Largest skin in Å; None for that of the device.
        more_edges: Share of edges that the skin may add; None for that of the device.
        ahead: True to expect when structures are due, as described; None for all devices but the CPU.
    """

    def __init__(
        self, cutoff: float, *, skin: float | None = None, more_edges: float | None = None, ahead: bool | None = None
    ) -> None:
        if skin is not None and not skin > 0:
            raise ValueError(f"the skin must be positive, got {skin} Å")
        self.cutoff, self.skin, self.more_edges, self.ahead = cutoff, skin, more_edges, ahead
        self._known: _Known | None = None
        self._pairs: Edges | None = None  # of molecules alone
        self._checks: list[_Check] = []
        self._due: Bool[Tensor, " n_structures"] | None = None  # on the host
        self._slack: Float[Tensor, " n_structures"] | None = None  # on the host

    @torch.no_grad()
    def update(self, structures: Structures) -> Structures:
        """The structures with edges for their positions and cells, whatever edges they have.

        Args:
            structures: The same atoms in each call.
        """
        if not structures.periodic:
            self._pairs = self._pairs or with_edges(structures, self.cutoff).edges
            return replace(structures, edges=self._pairs, edge_cutoff=None, longer_edges=True)
        known, ahead = self._known, self._ahead(structures)
        due = None if known is None else self._due if ahead else self.slack(structures) < TOLERANCE
        if known is None or due is None or bool(due.any()):
            known = self._known = self._found(structures, due)
        self._due = None
        if ahead:
            self._ask(structures, due)
        return replace(structures, edges=known.structures.edges, edge_cutoff=self.cutoff, longer_edges=True)

    def is_complete(self) -> bool:
        """True if no pair was missing in any update since the last call; else the next update finds them.

        Waits for a graphics card to have come as far as the updates, not for the work that was queued since.
        """
        if not self._checks:
            return True
        missing = []
        for slack, arrival in self._checks:
            if arrival is not None:
                arrival.synchronize()
            missing.append(~(slack >= TOLERANCE))
            # Expected to lose in the next step what it lost in this one, and half of that again.
            lost = torch.zeros_like(slack) if self._slack is None else (self._slack - slack).nan_to_num(nan=0.0)
            self._due = missing[-1] | (slack < TOLERANCE + 1.5 * lost)
            self._slack = slack
        self._checks = []
        is_missing = torch.stack(missing).any(0)
        assert self._due is not None
        self._due = self._due | is_missing
        return not bool(is_missing.any())

    def slack(self, structures: Structures) -> Float[Tensor, " n_structures"]:
        """Distance in Å by which pairs without an edge stay outside of the cutoff of each structure, at least.

        Raises:
            ValueError: If no list has been found yet.
        """
        if self._known is None:
            raise ValueError("there are no neighbours yet; call update(structures) first")
        before, skin, inverse = self._known
        index, n = structures.structure_index, structures.n_structures
        positions, reference = structures.positions.detach().double(), before.positions
        change = inverse @ (_periodic(structures) - _periodic(before))
        affine = (reference.unsqueeze(1) @ change.index_select(0, index)).squeeze(1)
        moved = positions - reference - affine
        centre = torch.zeros_like(change[:, 0]).index_add(0, index, moved) / structures.counts.unsqueeze(1)
        square = (moved - centre.index_select(0, index)).square().sum(1)
        farthest = square.new_zeros(n).scatter_reduce(0, index, square, "amax").sqrt()
        shortening = (1 - change.flatten(1).norm(dim=1)).clamp(min=0.0)
        slack: Tensor = shortening * (self.cutoff + skin) - 2 * farthest - self.cutoff
        return slack.nan_to_num(nan=-torch.inf, posinf=torch.inf)

    def take(self, chosen: Int[Tensor, " n_taken"]) -> "NeighborList":
        """The list of some of the structures, with ascending indices."""
        other = NeighborList(self.cutoff, skin=self.skin, more_edges=self.more_edges, ahead=self.ahead)
        if self._known is None:
            return other
        structures, skin, inverse = self._known
        edges = structures.edges
        assert edges is not None
        mask = (
            torch.zeros_like(structures.pbc[:, 0])
            .index_fill(0, chosen, True)
            .index_select(0, structures.structure_index)
        )
        rows = mask.index_select(0, edges.target).nonzero().squeeze(1)
        number = mask.long().cumsum(0) - 1
        kept = Edges(number[edges.source[rows]], number[edges.target[rows]], edges.shifts[rows])
        other._known = _Known(replace(structures.take(chosen), edges=kept), skin[chosen], inverse[chosen])
        return other

    def _ahead(self, structures: Structures) -> bool:
        return structures.positions.device.type != "cpu" if self.ahead is None else self.ahead

    def _ask(self, structures: Structures, found: Bool[Tensor, " n_structures"] | None) -> None:
        """Start to copy the slack of these structures to the host; those that have just been found lack nothing."""
        assert self._known is not None
        if found is None:
            slack = self._known.skin
        else:
            slack = torch.where(
                found.to(structures.positions.device, non_blocking=True), self._known.skin, self.slack(structures)
            )
        if slack.device.type == "cpu":
            self._checks.append(_Check(slack, None))
            return
        on_host = torch.empty(slack.shape, dtype=slack.dtype, pin_memory=True)
        on_host.copy_(slack, non_blocking=True)
        arrival = torch.cuda.Event()
        arrival.record(torch.cuda.current_stream(slack.device))
        self._checks.append(_Check(on_host, arrival))

    def _found(self, structures: Structures, due: Bool[Tensor, " n_structures"] | None) -> _Known:
        """The list with structures that are due at their present geometry; all of them where none is known."""
        positions, cells = (values.detach().double() for values in (structures.positions, structures.cells))
        here = replace(structures, positions=positions, cells=cells, edges=None)
        inverse = torch.linalg.pinv(_periodic(here))
        if self._known is None or due is None or bool(due.all()):
            part, skin = self._with_skin(here)
            edges = part._replace(shifts=part.shifts.to(structures.positions.dtype))
        else:
            before, skin, inverse_before = self._known
            assert before.edges is not None
            due = due.to(positions.device)
            rows, moved = due.nonzero().squeeze(1), due.index_select(0, here.structure_index)
            part, skin_of_part = self._with_skin(here.take(rows))
            skin = skin.index_copy(0, rows, skin_of_part)
            inverse = torch.where(due[:, None, None], inverse, inverse_before)
            cells = torch.where(due[:, None, None], cells, before.cells)
            here = replace(here, positions=torch.where(moved.unsqueeze(1), positions, before.positions), cells=cells)
            rest = (~moved.index_select(0, before.edges.target)).nonzero().squeeze(1)
            others = Edges(*(column.index_select(0, rest) for column in before.edges))
            every = torch.arange(len(moved), device=moved.device)
            edges = joined_edges(structures, [(moved.nonzero().squeeze(1), part), (every, others)])
        known = None if self._known is None else self._known.structures.edges
        if known is not None and _same(known, edges):
            edges = known  # the same tensors, by which layouts are known
        return _Known(replace(here, edges=edges), skin, inverse)

    def _with_skin(self, structures: Structures) -> tuple[Edges, Float[Tensor, " n_structures"]]:
        """Edges of structures up to the cutoff and the widest skin that adds few, and that skin."""
        device = structures.positions.device.type
        widest = SKINS.get(device, max(SKINS.values())) if self.skin is None else self.skin
        share = MORE_EDGES.get(device, torch.inf) if self.more_edges is None else self.more_edges
        edges = with_edges(structures, self.cutoff + widest).edges
        assert edges is not None
        owner = structures.structure_index.index_select(0, edges.target)
        crystal = structures.pbc.any(1)
        ends = (structures.positions.index_select(0, atom) for atom in edges[:2])
        vectors = next(ends) - next(ends) + translations(edges.shifts, structures.cells.index_select(0, owner))
        beyond = (vectors.square().sum(1).sqrt() - self.cutoff) * LEVELS / widest
        level = torch.where(crystal[owner], beyond.ceil().clamp(0, LEVELS), 0.0).long()
        n, index = structures.n_structures, structures.structure_index
        around = torch.bincount(edges.target * (LEVELS + 1) + level, minlength=len(index) * (LEVELS + 1))
        around = around.reshape(-1, LEVELS + 1).cumsum(1)  # neighbours of each atom, with each skin
        total = around.new_zeros(n, LEVELS + 1).index_add(0, index, around)
        most = torch.zeros_like(total).scatter_reduce(0, index.unsqueeze(1).expand_as(around), around, "amax")
        is_few = (total <= (1 + share) * total[:, :1]) & (most <= (1 + share) * most[:, :1])
        allowed = is_few.long().cumprod(1).sum(1) - 1
        chosen = allowed.clamp(min=1)
        rows = (level <= chosen.index_select(0, owner)).nonzero().squeeze(1)
        kept = Edges(*(column.index_select(0, rows) for column in edges))
        return kept, torch.where(crystal, chosen.double() * widest / LEVELS, torch.inf)


def _periodic(structures: Structures) -> Float[Tensor, "n_structures 3 3"]:
    """Lattice vectors along which structures are periodic, in double precision; zeros for the others."""
    return torch.where(structures.pbc.unsqueeze(-1), structures.cells.detach().double(), 0.0)


def _same(one: Edges, other: Edges) -> bool:
    return all(left.shape == right.shape and torch.equal(left, right) for left, right in zip(one, other, strict=True))
