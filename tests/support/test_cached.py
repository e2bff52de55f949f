"""A result is computed once: from then on its file is read."""

import pytest

from sparring.support.cached import cached
from sparring.support.files import write_text


def write(file, number):
    write_text(file, f"{number:.3g}")


@pytest.fixture
def numbers(tmp_path):
    """Calls `cached` for a number that is computed once more at each call."""
    file, computed = tmp_path / "folder" / "number.txt", []

    def call(path=file):
        def compute():
            computed.append(len(computed))
            return computed[-1]

        return cached(path, compute, read=lambda one: int(one.read_text()), write=write)

    call.file, call.computed = file, computed
    return call


def test_a_result_is_computed_once_and_then_read(numbers):
    assert [numbers(), numbers(), numbers()] == [0, 0, 0]
    assert numbers.computed == [0]


def test_a_new_result_is_read_back_so_that_it_is_that_of_later_calls(tmp_path):
    def call():
        return cached(tmp_path / "x", lambda: 0.123456, read=lambda one: float(one.read_text()), write=write)

    assert call() == call() == 0.123


def test_a_file_that_is_deleted_is_computed_again(numbers):
    numbers()
    numbers.file.unlink()
    assert numbers() == 1


def test_without_a_file_nothing_is_written(numbers, tmp_path):
    assert [numbers(None), numbers(None)] == [0, 1]
    assert not list(tmp_path.iterdir())


def test_a_computation_that_fails_leaves_no_folder_behind(tmp_path):
    with pytest.raises(ZeroDivisionError):
        cached(tmp_path / "folder" / "x", lambda: 1 // 0, read=int, write=write_text)
    assert not list(tmp_path.iterdir())
