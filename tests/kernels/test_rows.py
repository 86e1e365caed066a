"""The door for logits: every kind of array that is let in, and what is said to the others."""

from __future__ import annotations

import array
import gc
import re
import sys
import weakref
from typing import Any

import numpy as np
import pytest
from lending import DL_CUDA, DL_FLOAT, DL_INT, DTYPES, Lender, lend, pack

from fastgen.errors import LogitsError
from fastgen.kernels.logits import argmax, weights
from fastgen.params import SamplingParams
from fastgen.sampler import Sampler

Array = np.ndarray[Any, Any]
SCORES = np.array([1.0, -2.0, 7.5, 7.5, -np.inf], np.float32)
MATRIX = np.array([[1, 5, 2], [9, 8, 7], [0, 0, 3], [4, 6, 6]], np.float32)


def greedy(logits: Any) -> list[int]:
    """Return the tokens of a batch."""
    return list(map(int, Sampler(SamplingParams(temperature=0)).sample(logits)))


def refusal(logits: Any) -> LogitsError:
    with pytest.raises(LogitsError) as caught:
        argmax(logits)
    assert caught.value.code == "logits_invalid"
    with pytest.raises(LogitsError) as of_sampler:
        Sampler().sample(logits)
    assert of_sampler.value.code == "logits_invalid"
    if getattr(logits, "is_cpu", True):  # the sampler takes tensors of other devices, if they have scores
        assert str(of_sampler.value) == str(caught.value)
    return caught.value


# What is let in.


@pytest.mark.parametrize(
    "lender",
    [
        SCORES,
        SCORES.astype(np.float16),
        SCORES.astype("=f4"),
        memoryview(SCORES),
        memoryview(SCORES.tobytes()).cast("f"),
        array.array("f", SCORES.tolist()),
        Lender(SCORES, DL_FLOAT),
        Lender(SCORES.astype(np.float16), DL_FLOAT),
        Lender(pack(SCORES, "bfloat16")),
        Lender(SCORES, DL_FLOAT, compact=True),
        Lender(SCORES, DL_FLOAT, byte_offset=64),
    ],
    ids=[
        "numpy f4",
        "numpy f2",
        "native f4",
        "view",
        "cast",
        "array",
        "dlpack f4",
        "dlpack f2",
        "dlpack bf16",
        "no strides",
        "offset",
    ],
)
def test_one_row(lender: Any) -> None:
    assert argmax(lender) == 2
    assert Sampler(SamplingParams(temperature=0)).sample(lender) == 2
    np.testing.assert_allclose(weights(lender)[:2], np.exp(SCORES[:2] - 7.5), rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    row = torch.tensor(SCORES.tolist(), dtype=getattr(torch, dtype))
    assert argmax(row) == 2
    assert argmax(row[1:]) == 1
    assert argmax(row.requires_grad_()) == 2
    assert argmax(torch.nn.Parameter(row.detach())) == 2
    batch = torch.tensor(MATRIX.tolist(), dtype=getattr(torch, dtype))
    assert greedy(batch) == [1, 0, 2, 1]
    assert greedy(batch[::2]) == [1, 2]
    assert greedy(batch[:, 1:]) == [0, 0, 1, 0]
    assert greedy(row.detach().expand(3, 5)) == [2, 2, 2]


def test_read_only() -> None:
    scores = SCORES.copy()
    scores.flags.writeable = False
    assert argmax(scores) == 2
    assert argmax(memoryview(SCORES.tobytes()).cast("f")) == 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_batch(dtype: str) -> None:
    bits = pack(MATRIX, dtype)
    assert greedy(lend(bits, dtype)) == [1, 0, 2, 1]
    assert greedy(lend(bits[::2], dtype)) == [1, 2], "rows a distance apart"
    assert greedy(lend(bits[::-1], dtype)) == [1, 2, 0, 1], "rows in reverse"
    assert greedy(lend(bits[:, 1:], dtype)) == [0, 0, 1, 0], "a part of each row"
    assert greedy(lend(np.broadcast_to(bits[1], (5, 3)), dtype)) == [0] * 5, "one row five times"
    assert greedy(lend(bits[:, :1], dtype)) == [0] * 4, "rows of one score"


@pytest.mark.parametrize("dtype", DTYPES)
def test_batch_of_one_is_a_batch(dtype: str) -> None:
    bits = pack(MATRIX[:1], dtype)
    assert Sampler(SamplingParams(temperature=0)).sample(lend(bits, dtype)).tolist() == [1]


def test_one_score_may_have_any_stride() -> None:
    assert argmax(np.zeros(8, np.float32)[:1][::-1]) == 0
    assert argmax(np.zeros(9, np.float32)[::9]) == 0


# What is not.


@pytest.mark.parametrize("dtype", ["f8", "i4", "u2", "u1", "?", "c8", ">f4", ">f2", "O", "f4,f4", "S4"])
def test_wrong_dtype(dtype: str) -> None:
    error = refusal(np.zeros(4, dtype))
    assert "float32, bfloat16 or float16" in str(error)
    assert "format" in error.details


@pytest.mark.parametrize(
    ("lent", "message"),
    [
        (np.zeros((), np.float32), r"must be \[vocab\] or \[rows, vocab\]"),
        (np.zeros((1, 2, 3), np.float32), r"must be \[vocab\] or \[rows, vocab\] \(shape=\(1, 2, 3\)\)"),
        (np.zeros(0, np.float32), "are empty"),
        (np.zeros((0, 3), np.float32), "are empty"),
        (np.zeros((3, 0), np.float32), "are empty"),
        (np.zeros(8, np.float32)[::2], "adjacent in memory"),
        (np.zeros(8, np.float32)[::-1], "adjacent in memory"),
        (np.zeros((3, 4), np.float32).T, "adjacent in memory"),
        (np.zeros((3, 4), np.float32)[:, ::-1], "adjacent in memory"),
        (np.broadcast_to(np.float32(0), 5), "adjacent in memory"),
        (np.zeros(4, [("a", "u1"), ("score", "<f4")])["score"], "whole number of scores apart"),
        (b"abcd", "float32, bfloat16 or float16"),
        (memoryview(b"abcd"), "float32, bfloat16 or float16"),
    ],
)
def test_wrong_shape(lent: Any, message: str) -> None:
    assert re.search(message, str(refusal(lent)))


@pytest.mark.parametrize("nothing", [None, 1.0, "text", [1.0, 2.0], (1.0,), {0: 1.0}, object(), np.float32])
def test_not_an_array(nothing: Any) -> None:
    assert "must be an array" in str(refusal(nothing))


@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_wrong_tensors() -> None:
    torch = pytest.importorskip("torch")
    row = torch.zeros(4)
    for tensor, message in (
        (torch.zeros(4, device="meta"), r"CPU memory \(device='meta'\)"),
        (row.to_sparse(), "dense tensor"),
        (torch.zeros(4, 4).to_sparse_csr(), "dense tensor"),
        (row.to_mkldnn(), "dense tensor"),
        (torch.zeros(4, dtype=torch.float64), "torch.float64"),
        (torch.zeros(4, dtype=torch.int32), "torch.int32"),
        (torch.zeros(8)[::2], "adjacent in memory"),
        (torch.zeros(1).expand(4), "adjacent in memory"),
        (torch.zeros(3, 4).T, "adjacent in memory"),
        (torch.zeros(()), "must be"),
        (torch.zeros(0), "are empty"),
        (torch.zeros(1, 1, 4), "must be"),
        (torch._efficientzerotensor((4,)), "no memory"),
    ):
        assert re.search(message, str(refusal(tensor)))


class Raises:
    def __dlpack__(self) -> Any:
        raise RuntimeError("not today")


class Lies:
    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __dlpack__(self) -> Any:
        return self._answer


FOUR = np.zeros(4, np.float32)


@pytest.mark.parametrize(
    ("liar", "message"),
    [
        (Raises(), "do not give their memory away"),
        (Lies(None), "unknown version"),
        (Lies(FOUR), "unknown version"),
        (Lies(sys), "unknown version"),
        (Lender(FOUR, DL_FLOAT, capsule=b"dltensor_versioned"), "unknown version"),
        (Lender(FOUR, DL_FLOAT, capsule=b"used_dltensor"), "unknown version"),
        (Lender(FOUR, DL_FLOAT, device=DL_CUDA), "CPU memory"),
        (Lender(FOUR, DL_INT), "float32, bfloat16 or float16"),
        (Lender(FOUR, DL_FLOAT, bits=64), "float32, bfloat16 or float16"),
        (Lender(FOUR, DL_FLOAT, bits=8), "float32, bfloat16 or float16"),
        (Lender(FOUR, DL_FLOAT, lanes=4), "float32, bfloat16 or float16"),
        (Lender(FOUR, DL_FLOAT, shape=()), "must be"),
        (Lender(FOUR, DL_FLOAT, shape=(1,) * 3), "must be"),
        (Lender(FOUR, DL_FLOAT, shape=(0,)), "are empty"),
        (Lender(FOUR, DL_FLOAT, shape=(1 << 31,)), "too large"),
        (Lender(FOUR, DL_FLOAT, shape=((1 << 20) + 1, 1), strides=(0, 1)), "too large"),
        (Lender(FOUR, DL_FLOAT, shape=(2,), strides=(2,)), "adjacent in memory"),
    ],
)
def test_lies_and_strange_capsules(liar: Any, message: str) -> None:
    assert message in str(refusal(liar))


@pytest.mark.parametrize("shape", [(-1,), (2, -4), (-2, 4), (-(1 << 63),)])
def test_negative_shape(shape: tuple[int, ...]) -> None:
    refusal(Lender(FOUR, DL_FLOAT, shape=shape, strides=(1,) * len(shape)))


# Ownership.


def test_memory_is_given_back() -> None:
    class Scores(np.ndarray):  # type: ignore[type-arg]
        pass

    for action in (argmax, Sampler().sample):
        scores = SCORES.copy().view(Scores)
        alive = weakref.ref(scores)
        action(scores)
        bad = scores[::2]
        with pytest.raises(LogitsError) as caught:
            action(bad)
        del scores, bad, caught
        gc.collect()
        assert alive() is None


def test_buffer_is_released() -> None:
    scores = array.array("f", [1.0, 2.0])
    assert argmax(scores) == 1
    with pytest.raises(LogitsError):
        argmax(memoryview(scores).cast("B"))
    gc.collect()
    scores.append(3.0)  # refused while an export is open
    assert argmax(scores) == 2
