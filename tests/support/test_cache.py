from dataclasses import dataclass, field, replace

import torch

from sparring.support.cache import Cache, TensorCache


def test_a_result_is_computed_once_also_if_it_is_none():
    cache, calls = Cache(), []
    for value in (1, None):
        assert [cache.get(value, lambda value=value: calls.append(value) or value) for _ in range(3)] == [value] * 3
    assert calls == [1, None]


def test_tensors_are_compared_by_identity_and_the_last_few_are_kept():
    cache, calls = TensorCache(2), []
    one, equal, third = torch.ones(2), torch.ones(2), torch.zeros(2)

    def get(tensor, key=0):
        return cache.get(tensor, key, lambda: calls.append(key) or len(calls))

    assert [get(one), get(one), get(equal), get(one)] == [1, 1, 2, 1]
    assert get(one, key=5) == 3
    assert get(third) == 4
    assert get(one) == 5  # dropped by the two before it


def test_a_copy_of_a_frozen_value_has_a_cache_of_its_own_and_equals_it():
    @dataclass(frozen=True)
    class Value:
        number: int
        _cache: Cache = field(default_factory=Cache, init=False, compare=False)

    value = Value(3)
    value._cache.get("double", lambda: 6)
    copied = replace(value)
    assert copied == value
    assert copied._cache.get("double", lambda: 7) == 7
