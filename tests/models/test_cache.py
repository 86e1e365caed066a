"""KVCache: growth, forgetting, moving."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from fastgen.errors import ContextLengthError, InvalidParameterError  # noqa: E402
from fastgen.models.cache import KVCache  # noqa: E402


def make(slots: int = 3, max_positions: int = 1000) -> KVCache:
    return KVCache(2, slots, 2, 4, max_positions)


def fill(cache: KVCache, slot: int, start: int, count: int, value: float) -> None:
    cache.extend((slot,), (start,), (count,))
    with torch.inference_mode():
        for layer in cache.layers:
            layer[slot, start : start + count] = value


def test_starts_without_memory_and_grows_by_doubling() -> None:
    cache = make()
    assert (cache.slots, cache.capacity, cache.nbytes) == (3, 0, 0)
    fill(cache, 1, 0, 5, 1.0)
    assert cache.capacity == 256
    assert cache.nbytes == 2 * 3 * 256 * 4 * 4 * 4
    fill(cache, 1, 5, 252, 2.0)
    assert cache.capacity == 512
    assert cache.lengths == [0, 257, 0]
    assert cache.layers[1][1, :5].unique().tolist() == [1.0]
    assert cache.layers[1][1, 5:257].unique().tolist() == [2.0]
    assert cache.layers[1][1, 257:].unique().tolist() == [0.0]
    fill(cache, 0, 0, 900, 1.0)
    assert cache.capacity == 1000  # doubling is bounded by max_positions


def test_keys_and_values_are_views() -> None:
    cache = make()
    fill(cache, 2, 0, 3, 0.0)
    with torch.inference_mode():
        cache.layers[0][2, 1] = torch.arange(16.0).view(4, 4)
    assert cache.keys(0).shape == cache.values(0).shape == (3, 2, 256, 4)
    assert cache.keys(0)[2, :, 1].flatten().tolist() == list(range(8))
    assert cache.values(0)[2, :, 1].flatten().tolist() == list(range(8, 16))


def test_a_shorter_sequence_leaves_zeros_behind() -> None:
    cache = make()
    fill(cache, 0, 0, 10, float("nan"))
    fill(cache, 0, 0, 4, 1.0)
    assert cache.lengths[0] == 4
    for layer in cache.layers:
        assert layer[0, 4:].abs().sum() == 0
    fill(cache, 0, 2, 1, 3.0)  # going back forgets what comes after
    assert cache.lengths[0] == 3
    assert cache.layers[0][0, :, 0, 0][:5].tolist() == [1.0, 1.0, 3.0, 0.0, 0.0]


def test_move_copies_what_is_live() -> None:
    cache = make()
    fill(cache, 0, 0, 9, 1.0)
    fill(cache, 2, 0, 4, 2.0)
    cache.move(2, 0)
    assert cache.lengths == [4, 0, 4]
    assert cache.layers[1][0, :4].unique().tolist() == [2.0]
    assert cache.layers[1][0, 4:].unique().tolist() == [0.0]
    cache.move(0, 0)
    assert cache.lengths == [4, 0, 4]
    with pytest.raises(InvalidParameterError):
        cache.move(0, 3)


@pytest.mark.parametrize(
    ("slots", "starts", "counts"),
    [
        ((3,), (0,), (1,)),
        ((-1,), (0,), (1,)),
        ((0, 0), (0, 0), (1, 1)),
        ((0,), (1,), (1,)),
        ((0,), (0,), (0,)),
        ((0,), (0, 0), (1,)),
    ],
)
def test_nonsense_is_refused_and_changes_nothing(
    slots: tuple[int, ...], starts: tuple[int, ...], counts: tuple[int, ...]
) -> None:
    cache = make()
    with pytest.raises(InvalidParameterError):
        cache.extend(slots, starts, counts)
    assert (cache.lengths, cache.capacity) == ([0, 0, 0], 0)


def test_the_context_ends() -> None:
    cache = make(max_positions=10)
    cache.extend((0, 1), (0, 0), (10, 3))
    with pytest.raises(ContextLengthError) as caught:
        cache.extend((1, 0), (3, 10), (1, 1))
    assert caught.value.details == {"needed": 11, "max_positions": 10}
    assert cache.lengths == [10, 3, 0]


def test_a_cache_has_slots() -> None:
    with pytest.raises(InvalidParameterError):
        make(slots=0)
