# cython: language_level=3, cdivision=True
"""From a row of logits to a token: every sampler without a sort of the row, a copy or an allocation.

What a sampler keeps is a stretch of the row in descending order: the k best, a nucleus, the scores near a center. A
stretch is a short list if it has few tokens, else it is described by the scores and ids where it begins and ends, so no
order is ever computed. `csrc/sampler.h` has the details; `Sampler.explain` says what a plan costs.
"""

import secrets
from numbers import Integral

cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.string cimport memset

from fastgen.errors import FastgenError, InvalidParameterError, LogitsError
from fastgen.explain import explain
from fastgen.history cimport History
from fastgen.kernels.logits cimport kernels_in_use, no_candidates, nonfinite
from fastgen.kernels.rows cimport Words, borrow, borrow_words, is_remote, words_of
from fastgen.logprobs import TokenLogprobs
from fastgen.params import SamplingParams
from fastgen.plan import compile_plan
from fastgen.workspace cimport Workspace, taken

cdef extern from "base/fpenv.h" nogil:
    ctypedef unsigned long long fg_fpenv
    fg_fpenv fg_fpenv_enter()
    void fg_fpenv_leave(fg_fpenv before)

cdef extern from "kernels/logits.h" nogil:
    size_t fg_block_count(size_t count)

cdef extern from "sampler.h" nogil:
    enum: FG_LIST_MOST, FG_LOGPROBS_ALL
    void fg_mt19937_seed(fg_mt19937 *generator, uint32_t seed)
    fg_fault fg_sampler_choose(fg_sampler *sampler, fg_workspace *work, const fg_row *row, size_t *token,
                               fg_report *report)
    fg_fault fg_sampler_distribution(fg_sampler *sampler, fg_workspace *work, const fg_row *row, double *probabilities)

KINDS = ("temperature", "dynatemp", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff",
         "top_n_sigma", "xtc", "mirostat_1", "mirostat_2")      # in the order of fg_op_kind
MODES = ("raw_logprobs", "processed_logprobs", "raw_logits", "processed_logits")


cdef object error_of(fg_fault fault, Rows rows, size_t row, object step):
    where = {"row": row, "step": step}
    if fault == FG_FAULT_NO_CANDIDATES:
        return no_candidates(where)
    return nonfinite(rows.dtype, rows.data + <int64_t>row * rows.row_stride, rows.count, where)


cdef object batch_error(list faults, object tokens, size_t rows):
    """Return the error for a batch: that of the first row that failed, with all of them in `rows`."""
    error = LogitsError(faults[0].message, code=faults[0].code, **faults[0].details)
    if len(faults) > 1:
        error.hint = f"{len(faults)} of {rows} rows failed; .rows has the error of each"
    error.tokens, error.rows = tokens, tuple(faults)
    return error


cdef object integer(str name, object value, object low, object high):
    """Return `value` if it is an integer in [low, high)."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= value < high:
        raise InvalidParameterError("an argument must be an integer in [low, high)", argument=name, value=value,
                                    low=low, high=high)
    return int(value)


@cython.final
cdef class Sampler:
    """Chooses tokens from logits.

    The same seed and logits give the same tokens on every SIMD level, batch size, thread count and machine: the uniform
    number is a pure function of (seed, choice, position, purpose). `position` counts the calls of `sample`; row r of a
    batch is choice ``choice + r``.

    Parameters
    ----------
    params : SamplingParams, optional
        Neutral without one: temperature 1, nothing cut off. Strings in it (`bad_words`, `dry_sequence_breakers`,
        grammars) need a tokenizer: `Generator` turns them into ids.
    vocab_size : int, optional
        Scores in a row. With it, all memory is taken now, ids in `params` are checked against it, and rows of another
        length are refused; without it, memory grows when a longer row comes.
    choice : int
        Number of this continuation of its request, below 2**32.
    eos_ids : sequence of int
        Tokens that end a text: `min_tokens` and `ban_eos` bar them.
    workspace : Workspace, optional
        Scratch memory to share with other samplers that are never used at the same time.

    Raises
    ------
    InvalidParameterError
        Wrong types; strings in `params`; ids not below `vocab_size` (``token_out_of_range``).

    Notes
    -----
    Scratch is 84 bytes for each 256 scores of a row, a bit for each, and 97 KiB, more with top_k above 768. Penalties
    take up to 128 bytes for each different token of the history, and the history 4 to 40 bytes for each token. One
    sampler serves one thread at a time.
    """

    def __cinit__(self, params=None, vocab_size=None, *, choice=0, eos_ids=(), Workspace workspace=None):
        if params is None:
            params = SamplingParams()
        if not isinstance(params, SamplingParams):
            raise InvalidParameterError("params must be SamplingParams", type=type(params).__name__)
        self.params = params
        self.plan = compile_plan(params)
        self.vocab_size = None if vocab_size is None else integer("vocab_size", vocab_size, 1, 1 << 31)
        self.c.seed = (secrets.randbits(63) if params.seed is None else params.seed) & 0xFFFFFFFFFFFFFFFF
        if params.profile == "llamacpp":
            self.c.seed &= 0xFFFFFFFF       # as many bits as its generator takes
        self._choice = integer("choice", choice, 0, 1 << 32)
        self.workspace = Workspace() if workspace is None else workspace
        self.set_plan()
        self.history = History(params, self.plan, tuple(eos_ids))
        self.c.edits = &self.history.edits
        if vocab_size is not None:
            self.enter(vocab_size)
            self.leave()

    def __dealloc__(self):
        PyMem_Free(<void *>self.c.allowed)
        PyMem_Free(self.c.generators)
        PyMem_Free(self.reports)
        PyMem_Free(self.report_ids)
        PyMem_Free(self.report_values)

    cdef int set_plan(self) except -1:
        cdef fg_plan *plan = &self.c.plan
        params = self.params
        plan.greedy, plan.count = self.plan.greedy, len(self.plan.ops)
        self.list_k = 0
        for index, op in enumerate(self.plan.ops):
            plan.ops[index].kind, plan.ops[index].flags = KINDS.index(op.kind), op.flags
            plan.ops[index].a, plan.ops[index].b, plan.ops[index].c = op.a, op.b, op.c
            if op.kind == "top_k" and op.a <= FG_LIST_MOST:
                self.list_k = max(self.list_k, <size_t>op.a)
            elif op.kind == "mirostat_1":
                self.c.mu = 2 * op.a
            elif op.kind == "mirostat_2":
                self.c.mu = 2 * op.a
        plan.mode, plan.entropy = MODES.index(params.logprobs_mode), params.entropy
        plan.mask_nan = params.nan_policy == "mask"
        plan.logprobs = FG_LOGPROBS_NONE
        if params.logprobs is not None:
            everything = params.logprobs < 0 or params.logprobs > FG_LIST_MOST
            plan.logprobs = FG_LOGPROBS_ALL if everything else params.logprobs
            self.list_k = max(self.list_k, <size_t>max(0, plan.logprobs))
        plan.replay = params.profile == "llamacpp" and not plan.greedy
        if plan.replay:
            self.c.generators = <fg_replay *>taken(PyMem_Malloc(sizeof(fg_replay)))
            fg_mt19937_seed(&self.c.generators.token, <uint32_t>self.c.seed)
            fg_mt19937_seed(&self.c.generators.xtc, <uint32_t>self.c.seed)
        return 0

    cdef int check_ids(self, size_t count) except -1:
        """Refuse ids that a row of `count` scores does not have; make the bitmask of what is allowed."""
        cdef uint32_t *allowed
        params = self.params
        named = {
            "logit_bias": [token for token, _ in params.logit_bias or ()],
            "allowed_token_ids": params.allowed_token_ids or (),
            "suppress_tokens": params.suppress_tokens,
            "bad_words": [token for word in params.bad_words for token in word],
        }
        for name, tokens in named.items():
            for token in tokens:
                if token >= count:
                    raise InvalidParameterError("a token id is outside the vocabulary", code="token_out_of_range",
                                                parameter=name, token=token, vocab_size=count)
        if params.allowed_token_ids is not None:
            allowed = <uint32_t *>taken(PyMem_Calloc((count + 31) // 32, sizeof(uint32_t)))
            for token in params.allowed_token_ids:
                allowed[<size_t>token // 32] |= <uint32_t>1 << (<uint32_t>token % 32)
            PyMem_Free(<void *>self.c.allowed)
            self.c.allowed = allowed
        self.checked = count
        return 0

    cdef int begin(self, size_t count) except -1:
        """Refuse a second thread; check ids against rows of `count` scores."""
        if self.busy:
            raise FastgenError("two threads use one sampler at a time", code="concurrent_use",
                               hint="give each thread a sampler of its own")
        self.busy = True
        try:
            if count != self.checked:
                self.check_ids(count)
        except BaseException:
            self.busy = False
            raise
        return 0

    cdef int enter(self, size_t count) except -1:
        """Begin, with all memory for rows of `count` scores."""
        self.begin(count)
        try:
            self.workspace.reserve(count, self.list_k, self.c.plan.mask_nan, self.c.plan.replay)
        except BaseException:
            self.busy = False
            raise
        return 0

    cdef void leave(self) noexcept:
        self.busy = False

    @property
    def seed(self):
        """The seed in use: the one in `params`, or the one that was drawn."""
        return self.c.seed if self.params.seed is None or self.params.profile == "llamacpp" else self.params.seed

    @property
    def position(self):
        """How many calls of `sample` came before, failed ones included; set it to repeat or to skip tokens."""
        return self._position

    @position.setter
    def position(self, value):
        if self.c.plan.replay:
            raise InvalidParameterError("llama.cpp's generator has no positions", profile="llamacpp")
        self._position = integer("position", value, 0, 1 << 32)

    @property
    def passes(self):
        """How often the last row was read, by purpose, in whole passes.

        ``scan``: maxima and faults; ``weigh``: sums of exponentials; ``filter``: a threshold that skips most blocks;
        ``visit``: score by score. ``lift`` says which part of the row was copied, block by block, under masks and
        edits.
        """
        cdef double blocks = max(<size_t>1, fg_block_count(self.checked))
        return {"scan": self.c.passes.scanned / blocks, "weigh": self.c.passes.weighed / blocks,
                "filter": self.c.passes.filtered / blocks, "lift": self.c.passes.lifted / blocks,
                "visit": self.c.passes.visited / blocks}

    @property
    def masked(self):
        """How many scores of the last row were NaN or +inf and were left out (``nan_policy="mask"``)."""
        return self.c.masked

    @property
    def nbytes(self):
        """Bytes of scratch memory."""
        return self.workspace.nbytes

    def __repr__(self):
        return f"Sampler({self.params!r}, vocab_size={self.vocab_size})"

    def explain(self):
        """Return the plan in words: its steps in order, and the passes over the row that each takes."""
        return explain(self.params, self.plan)

    def observe(self, token_ids, *, prompt=None):
        """Add tokens to the history, on which penalties, DRY, n-gram bans, bad words and `min_tokens` rest.

        Parameters
        ----------
        token_ids : int or sequence of int
            In order: the prompt first, then each token that was chosen.
        prompt : bool, optional
            Whether they are the prompt's. Without it: those before the first `sample` are.

        Raises
        ------
        InvalidParameterError
            Not token ids; ids not below `vocab_size` (``token_out_of_range``); prompt tokens behind outputs. Nothing is
            added then.
        FastgenError
            ``concurrent_use``: another thread is inside this sampler.
        """
        if self.busy:
            raise FastgenError("two threads use one sampler at a time", code="concurrent_use",
                               hint="give each thread a sampler of its own")
        self.history.observe(token_ids, self._position == 0 if prompt is None else prompt, self.vocab_size)

    cdef fg_fault choose(self, Workspace workspace, Rows rows, size_t row, const uint32_t *mask,
                         uint32_t choice, size_t *token, fg_report *report) noexcept nogil:
        """Choose a token for one row. The caller holds the floating-point mode and has called `next_step`."""
        cdef fg_row one
        one.kernels, one.data = kernels_in_use(), rows.data + <int64_t>row * rows.row_stride
        one.dtype, one.count, one.mask = rows.dtype, rows.count, mask
        one.choice, one.position, one.total = choice, self._position, self.total
        return fg_sampler_choose(&self.c, &workspace.c, &one, token, report)

    def sample(self, logits, out=None, *, mask=None):
        """Choose a token for each row.

        Parameters
        ----------
        logits : array of float32, bfloat16 or float16, shape [vocab] or [rows, vocab]
            NumPy, torch, the buffer protocol or DLPack; not copied and not changed. -inf bars a token. Of a tensor on
            an accelerator the best scores are brought to the host, or the row if they do not suffice.
        out : writable int32 buffer of shape [rows], optional
            Takes the tokens of a batch, and is returned.
        mask : array of int32 or uint32, shape [words] or [rows, words], words at least (vocab + 31) // 32, optional
            Bit i % 32 of word i // 32 says whether token i may be chosen, as in llguidance and xgrammar.

        Returns
        -------
        int, or int32 array of shape [rows] for a batch

        Raises
        ------
        LogitsError
            ``logits_nonfinite`` (NaN or +inf; names row, step, first index and counts), ``no_candidates`` (nothing is
            left to choose from), or ``logits_invalid`` (shape, dtype, device, layout). In a batch all other rows are
            sampled first: ``error.tokens`` holds them, -1 where a row failed, and ``error.rows`` one error for each of
            those.
        InvalidParameterError
            `out` or `mask` do not fit; ids in the parameters that the row does not have; a batch where the plan keeps a
            state for each row (mirostat, profile "llamacpp").
        FastgenError
            ``concurrent_use``: another thread is inside this sampler.
        """
        if is_remote(logits):
            from fastgen.devices import sample_tensor
            return sample_tensor(self, logits, out, mask)
        return self.sample_rows(logits, out, mask, 0.0, None)

    @property
    def _edits(self):
        """How many tokens have an entry of their own: no others get another score than the model's."""
        return self.history.edits.used

    @property
    def _raises(self):
        """Whether an edit may raise a score."""
        return self.history.edits.raises != 0

    def _sample(self, logits, out, mask, double total, const double[::1] totals=None):
        """Choose tokens; `total`, or `totals` with one for each row of a batch, is `fg_row.total`."""
        return self.sample_rows(logits, out, mask, total, totals)

    cdef object sample_rows(self, object logits, object out, object mask, double total, const double[::1] totals):
        cdef Rows rows = borrow(logits)
        cdef Words words = None if mask is None else borrow_words(mask, (rows.count + 31) // 32, rows.rows)
        if self.vocab_size is not None and rows.count != <size_t>self.vocab_size:
            raise LogitsError("rows of logits have a wrong length", code="logits_invalid", expected=self.vocab_size,
                              found=rows.count)
        if rows.is_batch and (self.c.plan.replay or self.params.mirostat) and not self.c.plan.greedy:
            raise InvalidParameterError("this plan keeps a state for one sequence", hint="use a SamplerBatch",
                                        profile=self.params.profile, mirostat=self.params.mirostat)
        if out is not None and not rows.is_batch:
            raise InvalidParameterError("out is for batches of rows")
        self.enter(rows.count)
        try:
            self.total = total
            if self.c.plan.logprobs != FG_LOGPROBS_NONE or self.c.plan.entropy:
                self.reserve_reports(rows.rows, rows.count)
            if rows.is_batch:
                return self.sample_batch(rows, words, out, totals)
            return self.sample_row(rows, words)
        finally:
            self.leave()

    cdef int reserve_reports(self, size_t rows, size_t count) except -1:
        cdef size_t width = 0, row
        if self.c.plan.logprobs == FG_LOGPROBS_ALL:
            width = count
        elif self.c.plan.logprobs > 0:
            width = <size_t>self.c.plan.logprobs
        if rows > self.report_rows or width > self.report_width:
            self.reported = self.report_rows = self.report_width = 0
            self.reports = <fg_report *>taken(PyMem_Realloc(self.reports, rows * sizeof(fg_report)))
            self.report_ids = <uint32_t *>taken(PyMem_Realloc(self.report_ids, max(<size_t>1, rows * width) * 4))
            self.report_values = <float *>taken(PyMem_Realloc(self.report_values, max(<size_t>1, rows * width) * 4))
            self.report_rows, self.report_width = rows, width
        for row in range(rows):
            memset(&self.reports[row], 0, sizeof(fg_report))
            self.reports[row].failed = True
            self.reports[row].ids = self.report_ids + row * self.report_width
            self.reports[row].values = self.report_values + row * self.report_width
        self.reported = rows
        return 0

    cdef object sample_row(self, Rows rows, Words words):
        cdef size_t token
        cdef fg_fault fault
        cdef fg_fpenv mode
        with nogil:
            mode = fg_fpenv_enter()
            self.history.step()
            fault = self.choose(self.workspace, rows, 0, words_of(words, 0), self._choice, &token, self.reports)
            fg_fpenv_leave(mode)
        self._position += 1
        if fault != FG_FAULT_NONE:
            raise error_of(fault, rows, 0, <int64_t>self._position - 1)
        return token

    cdef object sample_batch(self, Rows rows, Words words, object out, const double[::1] totals):
        cdef size_t row, token
        cdef int32_t[::1] tokens
        cdef fg_fault fault
        cdef list faults
        cdef bint any_fault = False, has_totals = totals is not None
        cdef fg_fpenv mode
        tokens, out = tokens_for(rows.rows, out)
        with nogil:
            mode = fg_fpenv_enter()
            self.history.step()
            for row in range(rows.rows):
                if has_totals:
                    self.total = totals[row]
                fault = self.choose(
                    self.workspace, rows, row, words_of(words, row), self._choice + <uint32_t>row, &token,
                    NULL if self.reports == NULL else self.reports + row,
                )
                tokens[row] = -<int32_t>fault if fault != FG_FAULT_NONE else <int32_t>token
                any_fault = any_fault or fault != FG_FAULT_NONE
            fg_fpenv_leave(mode)
        self._position += 1
        if any_fault:
            faults = []
            for row in range(rows.rows):
                if tokens[row] < 0:
                    fault = <fg_fault>-tokens[row]
                    tokens[row] = -1
                    faults.append(error_of(fault, rows, row, <int64_t>self._position - 1))
            raise batch_error(faults, out, rows.rows)
        return out

    @property
    def logprobs(self):
        """What `params.logprobs` and `params.entropy` asked for, of the last call.

        Returns
        -------
        tuple of TokenLogprobs, one for each row; empty if nothing was asked for.
        """
        return tuple([report_of(self, row) for row in range(self.reported)])

    def distribution(self, logits, *, mask=None):
        """Return the probabilities that the next call of `sample` would draw from: for tests and for the curious.

        XTC is decided by the uniform number of the present position. Nothing is counted and nothing changes.

        Parameters
        ----------
        logits, mask
            One row; as `sample`.

        Returns
        -------
        float64 array of shape [vocab]
            0 for what is cut off.

        Raises
        ------
        LogitsError, InvalidParameterError
            As `sample`.
        """
        import numpy as np
        cdef Rows rows = borrow(logits)
        cdef Words words = None if mask is None else borrow_words(mask, (rows.count + 31) // 32, rows.rows)
        cdef fg_row one
        cdef fg_fault fault
        cdef fg_fpenv mode
        cdef double[::1] probabilities
        if rows.is_batch:
            raise LogitsError("this takes one row, [vocab]", code="logits_invalid", rows=rows.rows)
        if self.vocab_size is not None and rows.count != <size_t>self.vocab_size:
            raise LogitsError("rows of logits have a wrong length", code="logits_invalid", expected=self.vocab_size,
                              found=rows.count)
        out = np.empty(rows.count)
        probabilities = out
        self.enter(rows.count)
        self.total = 0.0
        one.kernels, one.data, one.dtype, one.count = kernels_in_use(), rows.data, rows.dtype, rows.count
        one.mask = words_of(words, 0)
        one.choice, one.position, one.total = self._choice, self._position, 0.0
        with nogil:
            mode = fg_fpenv_enter()
            self.history.step()
            fault = fg_sampler_distribution(&self.c, &self.workspace.c, &one, &probabilities[0])
            fg_fpenv_leave(mode)
        self.leave()
        if fault != FG_FAULT_NONE:
            raise error_of(fault, rows, 0, <int64_t>self._position)
        return out


cdef object report_of(Sampler sampler, size_t row):
    cdef fg_report *report = &sampler.reports[row]
    if report.failed:
        return TokenLogprobs(-1)
    return TokenLogprobs(
        report.id,
        report.token if sampler.params.logprobs is not None else None,
        tuple([report.ids[i] for i in range(report.count)]),
        tuple([report.values[i] for i in range(report.count)]),
        report.entropy if sampler.params.entropy else None,
        report.probability if sampler.params.entropy else None,
    )


cdef tuple tokens_for(size_t rows, object out):
    """Return a view of `out`, or of a new array, and that array."""
    cdef int32_t[::1] tokens
    if out is None:
        import numpy as np
        out = np.empty(rows, np.int32)
    try:
        tokens = out
    except (TypeError, ValueError, BufferError) as error:
        hint = "a writable, contiguous int32 buffer"
        raise InvalidParameterError("out can't take the tokens", hint=hint, type=type(out).__name__) from error
    if <size_t>tokens.shape[0] != rows:
        raise InvalidParameterError("out has a wrong length", expected=rows, found=tokens.shape[0])
    return tokens, out
