import math

import pytest
import scipy.stats
import torch

from sparring.support.philox import normals, words

ONES = 0xFFFFFFFF


def of(*numbers):
    return tuple(torch.tensor([number]) for number in numbers)


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_words_are_the_known_answers_of_random123(counter, key, answer):
    assert tuple(int(word) for word in words(of(*counter), of(*key))) == answer


def test_normals_are_normal_and_know_nothing_of_one_another():
    key, row = torch.arange(200).repeat_interleave(50) << 40, torch.arange(50).repeat(200)
    here, next_step, other_stream = (normals(key, row, stream=s, step=t) for s, t in ((0, 7), (0, 8), (1, 7)))
    assert scipy.stats.kstest(here.flatten().numpy(), "norm").pvalue > 1e-3
    columns = [*here.unbind(1), *next_step.unbind(1), *other_stream.unbind(1)]
    # With 10,000 pairs the correlation of what is independent has a standard deviation of 0.01; there are 36.
    correlation = torch.corrcoef(torch.stack(columns)) - torch.eye(9).double()
    assert correlation.abs().max() < 4.5 / math.sqrt(10_000)
    between_keys = torch.corrcoef(here.reshape(200, 150)) - torch.eye(200).double()
    assert between_keys.square().mean().item() == pytest.approx(1 / 150, rel=0.1)


def test_normals_do_not_depend_on_their_batch_and_keys_count_to_the_last_bit():
    key, row = torch.tensor([3, 2**62 + 5, 3 + 2**32, 3]), torch.tensor([0, 1, 0, 1])
    together = normals(key, row, stream=1, step=9)
    for i in range(4):
        assert (normals(key[i : i + 1], row[i : i + 1], stream=1, step=9) == together[i]).all()
    assert len({tuple(values) for values in together.tolist()}) == 4
