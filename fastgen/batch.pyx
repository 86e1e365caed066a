# cython: language_level=3, cdivision=True
"""Many sequences, each with a sampler of its own, in one call and on several threads."""

from concurrent.futures import ThreadPoolExecutor
from numbers import Integral
from os import getpid

cimport cython
from libc.stdint cimport int32_t

from fastgen.errors import FastgenError, InvalidParameterError, LogitsError
from fastgen.kernels.rows cimport Rows, Words, borrow, borrow_words, words_of
from fastgen.sampler cimport (
    FG_FAULT_NONE, FG_LOGPROBS_NONE, Sampler, batch_error, error_of, fg_fault, report_of, tokens_for,
)

from fastgen.workspace cimport Workspace

cdef extern from "base/fpenv.h" nogil:
    ctypedef unsigned long long fg_fpenv
    fg_fpenv fg_fpenv_enter()
    void fg_fpenv_leave(fg_fpenv before)

cdef enum:
    WORTH_A_THREAD = 1 << 19        # scores for each thread: about as long as handing them over takes


@cython.final
cdef class SamplerBatch:
    """Chooses a token for each of several sequences in one call without the GIL.

    Row r of the logits belongs to ``samplers[r]``: its parameters, its history, its seed and position. What comes out
    is what each sampler would choose alone, whatever its neighbors and the number of threads. They share the batch's
    scratch memory.

    Parameters
    ----------
    samplers : sequence of Sampler
        Each may stand in one place only.
    threads : int
        Most threads that work on a batch; batches of less than half a million scores for each use fewer.

    Raises
    ------
    InvalidParameterError
        Not samplers, one of them twice, or `threads` is not at least 1.

    Notes
    -----
    One batch serves one thread at a time, and its samplers may not be used meanwhile.
    """

    cdef readonly tuple samplers
    cdef readonly int threads
    cdef list workspaces
    cdef object pool
    cdef object pool_of             # the process whose threads these are
    cdef bint busy

    def __cinit__(self, samplers, *, threads=1):
        samplers = tuple(samplers)
        for one in samplers:
            if not isinstance(one, Sampler):
                raise InvalidParameterError("a batch is made of samplers", type=type(one).__name__)
        if len({id(one) for one in samplers}) < len(samplers):
            raise InvalidParameterError("a sampler stands in a batch twice")
        if isinstance(threads, bool) or not isinstance(threads, Integral) or not 1 <= threads <= 256:
            raise InvalidParameterError("threads must be an integer in [1, 256]", threads=threads)
        self.samplers, self.threads = samplers, threads
        self.workspaces = [Workspace() for _ in range(threads)]
        self.pool = None

    def __len__(self):
        return len(self.samplers)

    def __repr__(self):
        return f"SamplerBatch(<{len(self.samplers)} samplers>, threads={self.threads})"

    def close(self):
        """End the worker threads; the next call that needs them starts new ones."""
        pool, self.pool = self.pool, None
        if pool is not None:
            pool.shutdown()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def observe(self, token_ids):
        """Add one token to each sampler's history: what `sample` returned. Negative ones, of failed rows, are left out.

        Raises
        ------
        InvalidParameterError
            The numbers of tokens and samplers differ, or as `Sampler.observe`.
        """
        tokens = token_ids.tolist() if hasattr(token_ids, "tolist") else list(token_ids)
        if len(tokens) != len(self.samplers):
            raise InvalidParameterError("tokens and samplers differ in number", tokens=len(tokens),
                                        samplers=len(self.samplers))
        for sampler, token in zip(self.samplers, tokens, strict=True):
            if token >= 0:
                sampler.observe(token)

    def sample(self, logits, out=None, *, mask=None):
        """Choose a token for each row.

        Parameters
        ----------
        logits : array of float32, bfloat16 or float16, shape [samplers, vocab]
        out : writable int32 buffer of shape [samplers], optional
        mask : array of int32 or uint32, shape [words] or [samplers, words], optional
            All as for `Sampler.sample`.

        Returns
        -------
        int32 array of shape [samplers], or `out`

        Raises
        ------
        LogitsError, InvalidParameterError, FastgenError
            As `Sampler.sample`. Errors of rows leave the other rows alone: ``error.tokens``, ``error.rows``.
        """
        cdef Rows rows = borrow(logits)
        cdef Words words = None if mask is None else borrow_words(mask, (rows.count + 31) // 32, rows.rows)
        cdef Sampler sampler
        cdef int32_t[::1] tokens
        cdef size_t workers, entered = 0
        if not rows.is_batch or rows.rows != <size_t>len(self.samplers):
            raise LogitsError("a batch needs a row for each sampler", code="logits_invalid",
                              rows=rows.rows if rows.is_batch else None, samplers=len(self.samplers))
        tokens, out = tokens_for(rows.rows, out)
        if self.busy:
            raise FastgenError("two threads use one batch at a time", code="concurrent_use",
                               hint="give each thread a batch of its own")
        self.busy = True
        try:
            for sampler in self.samplers:
                self.enter(sampler, rows.count)
                entered += 1
            workers = max(<size_t>1, min(<size_t>self.threads, rows.rows * rows.count // WORTH_A_THREAD))
            self.run(rows, words, tokens, min(workers, rows.rows))
        finally:
            for sampler in self.samplers[:entered]:
                sampler.leave()
            self.busy = False
        for sampler in self.samplers:
            sampler._position += 1
        self.raise_faults(rows, tokens, out)
        return out

    cdef int enter(self, Sampler sampler, size_t count) except -1:
        cdef Workspace workspace
        if sampler.vocab_size is not None and count != <size_t>sampler.vocab_size:
            raise LogitsError("rows of logits have a wrong length", code="logits_invalid", expected=sampler.vocab_size,
                              found=count)
        sampler.begin(count)
        try:
            sampler.total = 0.0
            if sampler.c.plan.logprobs != FG_LOGPROBS_NONE or sampler.c.plan.entropy:
                sampler.reserve_reports(1, count)
            for workspace in self.workspaces:
                workspace.reserve(count, sampler.list_k, sampler.c.plan.mask_nan, sampler.c.plan.replay)
        except BaseException:
            sampler.leave()
            raise
        return 0

    cdef int run(self, Rows rows, Words words, int32_t[::1] tokens, size_t workers) except -1:
        """Give each worker an equal stretch of rows; the calling thread is one of them."""
        if workers > 1 and (self.pool is None or self.pool_of != getpid()):     # a fork leaves the threads behind
            self.pool = ThreadPoolExecutor(self.threads - 1, thread_name_prefix="fastgen-sampler")
            self.pool_of = getpid()
        bounds = [rows.rows * worker // workers for worker in range(workers + 1)]
        others = [self.pool.submit(self.work, rows, words, tokens, bounds[i], bounds[i + 1], i)
                  for i in range(1, workers)]
        try:
            self.work(rows, words, tokens, 0, bounds[1], 0)
        finally:
            for other in others:
                other.result()
        return 0

    def work(self, Rows rows, Words words, int32_t[::1] tokens, size_t first, size_t end, size_t worker):
        """Choose tokens for the rows in [first, end); for `sample` alone."""
        cdef Workspace workspace = self.workspaces[worker]
        cdef size_t row, token
        cdef fg_fault fault
        cdef fg_fpenv mode
        cdef list samplers = list(self.samplers)
        cdef Sampler sampler
        for row in range(first, end):
            sampler = samplers[row]
            with nogil:
                mode = fg_fpenv_enter()
                sampler.history.step()
                fault = sampler.choose(workspace, rows, row,
                                       words_of(words, row),
                                       sampler._choice, &token, sampler.reports)
                fg_fpenv_leave(mode)
            tokens[row] = -<int32_t>fault if fault != FG_FAULT_NONE else <int32_t>token

    cdef int raise_faults(self, Rows rows, int32_t[::1] tokens, object out) except -1:
        cdef Sampler sampler
        cdef size_t row
        faults = []
        for row in range(rows.rows):
            if tokens[row] < 0:
                sampler = self.samplers[row]
                fault = <fg_fault>-tokens[row]
                tokens[row] = -1
                faults.append(error_of(fault, rows, row, sampler.position - 1))
        if faults:
            raise batch_error(faults, out, rows.rows)
        return 0

    @property
    def logprobs(self):
        """What the parameters asked for, of the last call: a `TokenLogprobs` or None for each sampler."""
        cdef Sampler sampler
        return tuple([report_of(sampler, 0) if sampler.reported else None for sampler in self.samplers])
