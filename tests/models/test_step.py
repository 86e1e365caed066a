"""StepModel: any callable as a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastgen.errors import ContextLengthError, InvalidParameterError, LogitsError
from fastgen.models.contract import Batch
from fastgen.models.step import StepModel

VOCAB = 11


def counting(ids: np.ndarray[Any, Any], state: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Return one row for each token: the id's, plus how many tokens came before."""
    seen = state.setdefault("seen", [])
    seen.extend(ids[0].tolist())
    rows = np.zeros((1, ids.shape[1], VOCAB), np.float32)
    rows[0, np.arange(ids.shape[1]), ids[0]] = len(seen)
    return rows


def test_one_call_for_each_segment_with_a_state_of_its_own() -> None:
    model = StepModel(counting)
    assert (model.vocab_size, model.name) == (None, "counting")
    cache = model.new_cache(3)
    logits = model.forward(Batch([1, 2, 3, 4], (0, 2), (0, 0), (3, 1)), cache)
    assert model.vocab_size == VOCAB
    assert (logits.shape, logits.dtype) == ((2, VOCAB), np.float32)
    assert (logits[0, 3], logits[1, 4]) == (3, 1)
    assert np.count_nonzero(logits) == 2
    model.forward(Batch([5, 6], (0, 2), (3, 1), (1, 1)), cache)
    assert [state.get("seen") for state in cache.states] == [[1, 2, 3, 5], None, [4, 6]]
    model.forward(Batch([7], (0,), (0,), (1,)), cache)  # position 0 is a new sequence
    assert cache.states[0]["seen"] == [7]


def test_move_hands_the_state_over() -> None:
    model = StepModel(counting)
    cache = model.new_cache(2)
    model.forward(Batch([1, 2], (0, 1), (0, 0), (1, 1)), cache)
    cache.move(1, 0)
    assert [state.get("seen") for state in cache.states] == [[2], None]
    model.forward(Batch([3], (0,), (1,), (1,)), cache)
    assert cache.states[0]["seen"] == [2, 3]
    with pytest.raises(InvalidParameterError):
        cache.move(0, 2)


def test_the_ids_are_a_row_of_int64() -> None:
    seen = []

    def step(ids: np.ndarray[Any, Any], state: dict[str, Any]) -> np.ndarray[Any, Any]:
        seen.append((ids.shape, ids.dtype))
        return np.zeros(VOCAB, np.float32)

    model = StepModel(step)
    model.forward(Batch((1, 2, 3), (0, 1), (0, 0), (2, 1)), model.new_cache(2))
    assert seen == [((1, 2), np.int64), ((1, 1), np.int64)]


@pytest.mark.parametrize("shape", [(VOCAB,), (1, VOCAB), (1, 2, VOCAB)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_shapes_and_dtypes_that_fit(shape: tuple[int, ...], dtype: Any) -> None:
    values = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    model = StepModel(lambda ids, state: values, vocab_size=VOCAB)
    logits = model.forward(Batch([1, 2], (0,), (0,), (2,)), model.new_cache(1))
    assert logits.dtype == np.float32
    assert logits[0].tolist() == values.reshape(-1, VOCAB)[-1].tolist()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_torch_tensors_fit(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    values = torch.arange(2 * VOCAB, dtype=getattr(torch, dtype)).reshape(1, 2, VOCAB).requires_grad_()
    model = StepModel(lambda ids, state: values)
    logits = model.forward(Batch([1, 2], (0,), (0,), (2,)), model.new_cache(1))
    assert logits[0].tolist() == list(range(VOCAB, 2 * VOCAB))


@pytest.mark.parametrize(
    "result",
    [None, "text", np.float32(1), np.zeros(VOCAB + 1, np.float32), np.zeros((2, VOCAB), np.float32),
     np.zeros((1, 3, VOCAB)), np.zeros((2, 2, VOCAB)), np.zeros(VOCAB, np.int32), np.zeros(0), [[1.0], [1.0, 2.0]]],
)  # fmt: skip
def test_other_results_are_refused(result: Any) -> None:
    model = StepModel(lambda ids, state: result, vocab_size=VOCAB)
    with pytest.raises(LogitsError) as caught:
        model.forward(Batch([1, 2], (0,), (0,), (2,)), model.new_cache(1))
    assert caught.value.code == "logits_invalid"


def test_the_vocabulary_stays_as_the_first_call_told() -> None:
    sizes = iter([VOCAB, VOCAB + 1])
    model = StepModel(lambda ids, state: np.zeros(next(sizes)))
    cache = model.new_cache(1)
    model.forward(Batch([1], (0,), (0,), (1,)), cache)
    with pytest.raises(LogitsError):
        model.forward(Batch([1], (0,), (1,), (1,)), cache)


def test_what_the_step_raises_passes_through() -> None:
    def step(ids: Any, state: Any) -> Any:
        raise KeyError("mine")

    model = StepModel(step)
    with pytest.raises(KeyError, match="mine"):
        model.forward(Batch([1], (0,), (0,), (1,)), model.new_cache(1))


def test_a_state_is_not_taken_back_and_the_context_ends() -> None:
    model = StepModel(counting, max_positions=3)
    cache = model.new_cache(1)
    model.forward(Batch([1, 2, 3], (0,), (0,), (3,)), cache)
    for start in (1, 4):
        with pytest.raises(InvalidParameterError):
            model.forward(Batch([1], (0,), (start,), (1,)), cache)
    with pytest.raises(ContextLengthError):
        model.forward(Batch([1], (0,), (3,), (1,)), cache)
    assert cache.states[0]["seen"] == [1, 2, 3]


def test_bad_arguments() -> None:
    with pytest.raises(InvalidParameterError):
        StepModel(3)  # type: ignore[arg-type]
    with pytest.raises(InvalidParameterError):
        StepModel(counting, vocab_size=0)
    with pytest.raises(InvalidParameterError):
        StepModel(counting, max_positions=0)
    with pytest.raises(InvalidParameterError):
        StepModel(counting).new_cache(0)


def test_nbytes_counts_arrays() -> None:
    model = StepModel(lambda ids, state: state.setdefault("row", np.zeros(VOCAB)))
    cache = model.new_cache(2)
    model.forward(Batch([1, 1], (0, 1), (0, 0), (1, 1)), cache)
    assert cache.nbytes == 2 * VOCAB * 8
