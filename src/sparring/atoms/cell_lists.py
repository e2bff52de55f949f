"""Pairs of atoms within a cutoff in periodic structures: a cell list in torch for whole batches, and vesin's.

Both find the same pairs in the same order, with the reverse of each.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.atoms.structures import Edges, Structures

__all__ = ["FINDERS", "by_torch", "by_vesin", "translations"]

BINS = 2
"""Number of bins within the cutoff: of finer ones fewer atoms are too far, but there are more to look into."""
MOST_BINS = 2**16
"""Largest number of bins along a direction; those without atoms take no memory."""
FAR = 100
"""Extent of a structure that is not periodic everywhere, in cutoffs, from which vesin is slow and finally crashes."""


def by_vesin(structures: Structures, cutoff: float) -> Edges:
    """Pairs of images closer than the cutoff, one structure after another on the CPU.

    Args:
        structures: Periodic structures.
        cutoff: Largest distance in Å.
    """
    import vesin

    finder = vesin.NeighborList(cutoff=cutoff, full_list=True)
    positions, cells = (values.detach().cpu().double().numpy() for values in (structures.positions, structures.cells))
    pbc = structures.pbc.cpu().numpy()
    if not pbc.all() and np.ptp(positions, axis=0).max() > FAR * cutoff:
        return by_torch(structures, cutoff)
    columns, start = [], 0
    for cell, periodic, count in zip(cells, pbc, structures.counts.tolist(), strict=True):
        points = positions[start : start + count]
        target, source, shifts = finder.compute(points=points, box=cell, periodic=periodic, quantities="ijS")
        columns.append((source.astype(np.int64) + start, target.astype(np.int64) + start, shifts.astype(np.int64)))
        start += count
    device = structures.positions.device
    source, target, shifts = (torch.as_tensor(np.concatenate(one), device=device) for one in zip(*columns, strict=True))
    return _sorted(structures, source, target, shifts, shifts)


def by_torch(structures: Structures, cutoff: float) -> Edges:
    """Pairs of images closer than the cutoff, in all structures at once on their device.

    Atoms are wrapped into their cells and sorted into bins. Each atom is compared with those of the bins that its
    cutoff reaches, in as many images as it reaches. Directions that are not periodic have axes at right angles to the
    others, and end at the outermost atoms.

    Args:
        structures: Periodic structures.
        cutoff: Largest distance in Å.
    """
    index, pbc = structures.structure_index, structures.pbc
    lattice = _axes(structures.cells.detach().double(), pbc)
    inverse = torch.linalg.inv(lattice)
    fractional = torch.nan_to_num(structures.positions.detach().double().unsqueeze(1) @ inverse[index]).squeeze(1)
    wraps = torch.where(pbc[index], fractional.floor(), 0.0)
    fractional = fractional - wraps
    low, high = (_extreme(fractional, index, len(pbc), how) for how in ("amin", "amax"))
    low, extent = torch.where(pbc, 0.0, low), torch.where(pbc, 1.0, high - low)
    heights = extent / inverse.square().sum(-2).sqrt()
    n_bins = (BINS * heights / cutoff).floor().clamp(1, MOST_BINS)
    # A little more than the cutoff: an atom on the border of a bin may be found on either side.
    reach = (cutoff * (1 + 1e-9) * n_bins / torch.where(heights > 0, heights, 1.0)).ceil()
    reach = torch.where(pbc | (n_bins > 1), reach, 0.0).long()
    place = (fractional - low[index]) / torch.where(extent > 0, extent, 1.0)[index] * n_bins[index]
    n_bins = n_bins.long()
    bins = torch.minimum(place.floor().long().clamp(min=0), n_bins[index] - 1)

    atom, around, images = _bins_around(index, bins, n_bins, reach, pbc)
    first_bin = n_bins.prod(1).cumsum(0) - n_bins.prod(1)
    bin_of_atom, order = torch.sort(_number(bins, n_bins[index]) + first_bin[index], stable=True)
    wanted = _number(around, n_bins[index[atom]]) + first_bin[index[atom]]
    begin, end = (torch.searchsorted(bin_of_atom, wanted, right=right) for right in (False, True))
    row, rank = _ranges(end - begin)
    target, source, images = atom[row], order[begin[row] + rank], images[row]
    wrapped = (fractional.unsqueeze(1) @ lattice[index]).squeeze(1)
    vectors = wrapped[source] - wrapped[target] + translations(images.double(), lattice[index[target]])
    near = vectors.square().sum(1) < cutoff**2
    near &= (source != target) | (images != 0).any(1)
    source, target, images = source[near], target[near], images[near]
    wraps = wraps.long()
    return _sorted(structures, source, target, images + wraps[target] - wraps[source], images)


FINDERS: Mapping[str, Callable[[Structures, float], Edges]] = {"torch": by_torch, "vesin": by_vesin}
"""Functions that find the pairs of periodic structures, by name."""


def translations(shifts: Float[Tensor, "n 3"], cells: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n 3"]:
    """Translations by multiples of lattice vectors, in Å.

    Written out, so that those of an edge and its reverse are opposite to the last bit.
    """
    x, y, z = shifts.unsqueeze(-1).unbind(1)
    return x * cells[:, 0] + y * cells[:, 1] + z * cells[:, 2]


def _axes(cells: Float[Tensor, "n 3 3"], pbc: Tensor) -> Float[Tensor, "n 3 3"]:
    """Periodic lattice vectors, completed by unit vectors at right angles to them."""
    periodic = torch.where(pbc.unsqueeze(-1), cells, 0.0)
    beside = torch.eye(3, dtype=cells.dtype, device=cells.device) - torch.linalg.pinv(periodic) @ periodic
    vectors = torch.linalg.eigh((beside + beside.mT) / 2).eigenvectors.mT  # those of eigenvalue one come last
    nth = (2 - ((~pbc).long().cumsum(1) - 1).clamp(min=0)).unsqueeze(-1).expand(-1, -1, 3)
    return torch.where(pbc.unsqueeze(-1), cells, vectors.gather(1, nth))


def _extreme(values: Float[Tensor, "n_atoms 3"], index: Tensor, n: int, how: str) -> Float[Tensor, "n 3"]:
    return values.new_zeros(n, 3).scatter_reduce(0, index.unsqueeze(1).expand(-1, 3), values, how, include_self=False)


def _bins_around(
    index: Int[Tensor, " n_atoms"],
    bins: Int[Tensor, "n_atoms 3"],
    n_bins: Int[Tensor, "n 3"],
    reach: Int[Tensor, "n 3"],
    pbc: Tensor,
) -> tuple[Int[Tensor, " n_rows"], Int[Tensor, "n_rows 3"], Int[Tensor, "n_rows 3"]]:
    """An atom, a bin that its cutoff reaches, and the image of that bin, in each row."""
    widths = 2 * reach + 1
    atom, rank = _ranges(widths.prod(1)[index])
    owner = index[atom]
    _, ny, nz = widths[owner].unbind(1)
    steps = torch.stack([rank // (ny * nz), rank // nz % ny, rank % nz], dim=1) - reach[owner]
    around = bins[atom] + steps
    images = around.div(n_bins[owner], rounding_mode="floor")
    inside = (pbc[owner] | (images == 0)).all(1)
    return atom[inside], (around - images * n_bins[owner])[inside], images[inside]


def _number(bins: Int[Tensor, "n 3"], n_bins: Int[Tensor, "n 3"]) -> Int[Tensor, " n"]:
    """Number of a bin within its structure."""
    return (bins[:, 0] * n_bins[:, 1] + bins[:, 1]) * n_bins[:, 2] + bins[:, 2]


def _ranges(counts: Int[Tensor, " n"]) -> tuple[Int[Tensor, " n_rows"], Int[Tensor, " n_rows"]]:
    """Ranges of these lengths one after another: the range of each row, and its rank in it."""
    owner = torch.repeat_interleave(counts)
    return owner, torch.arange(len(owner), device=counts.device) - (counts.cumsum(0) - counts)[owner]


def _sorted(structures: Structures, source: Tensor, target: Tensor, shifts: Tensor, images: Tensor) -> Edges:
    """Edges by target, source and shift; images of a pair may be counted from anywhere."""
    keys = target * structures.n_atoms + source
    if len(images):
        low, high = images.aminmax(dim=0)
        for axis in (2, 1, 0):
            keys = keys * (high[axis] - low[axis] + 1) + images[:, axis] - low[axis]
    order = torch.argsort(keys)
    return Edges(source[order], target[order], shifts[order].to(structures.positions.dtype))
