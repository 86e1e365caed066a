# cython: language_level=3, cdivision=True
"""What is known of single tokens: biases, bans, and what the earlier tokens of a sequence say about the next one."""

from array import array
from numbers import Integral

cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.math cimport INFINITY
from libc.string cimport memset

from fastgen.errors import InvalidParameterError

cdef extern from "history/edits.h" nogil:
    void fg_edits_clear(fg_edit *slots, size_t capacity)
    void fg_edits_move(fg_edits *edits, fg_edit *slots, size_t capacity)
    fg_edit *fg_edits_at(fg_edits *edits, int32_t id)

cdef extern from "history.h" nogil:
    void fg_history_append(fg_history *history, fg_edits *edits, int32_t token, int is_prompt)
    void fg_history_index(fg_history *history)
    void fg_history_step(fg_history *history, fg_edits *edits)


@cython.final
cdef class History:
    def __cinit__(self, params, plan, tuple eos_ids):
        cdef fg_history *history = &self.c
        self.kept = []
        for name, value in (("bad_words", params.bad_words), ("dry_sequence_breakers", params.dry_sequence_breakers)):
            if any(isinstance(one, str) for one in value or ()):
                raise InvalidParameterError("texts need a tokenizer", parameter=name,
                                            hint="give token ids, or use a Generator")
        self.edits.repetition = params.repetition_penalty
        self.edits.presence, self.edits.frequency = params.presence_penalty, params.frequency_penalty
        ends = tuple([*(() if params.ignore_eos else eos_ids), *params.stop_token_ids])
        banned = [*params.suppress_tokens, *(word[0] for word in params.bad_words if len(word) == 1)]
        if params.ban_eos:
            banned += eos_ids
        self.records = plan.uses_history or params.min_tokens > 0
        history.repetition_window, history.frequency_window = plan.repetition_window, plan.frequency_window
        history.repetition_counts_prompt = plan.repetition_counts_prompt
        history.frequency_counts_prompt = plan.frequency_counts_prompt
        history.min_tokens = params.min_tokens
        self.set_sequences(&history.ends, [(token,) for token in ends] if params.min_tokens else [])
        self.set_sequences(&history.bad_words, [word for word in params.bad_words if len(word) > 1])
        if params.dry_multiplier > 0 and params.dry_penalty_last_n != 0:
            history.dry_multiplier, history.dry_base = params.dry_multiplier, params.dry_base
            history.dry_window = params.dry_penalty_last_n
            history.repeats.size = params.dry_allowed_length
            self.has_repeats = True
            # in the order of their last tokens, by which they are looked up
            self.set_sequences(&history.breakers, sorted(params.dry_sequence_breakers or (), key=lambda one: one[-1]))
        if params.no_repeat_ngram_size:
            history.ngrams.size = params.no_repeat_ngram_size - 1
            self.has_ngrams = True
        if plan.has_penalties:
            self.edits.raises = (params.repetition_penalty < 1 or params.presence_penalty < 0
                                 or params.frequency_penalty < 0)
        biases = dict(params.logit_bias or ())
        for token in banned:
            biases[token] = -INFINITY
        late = {*(word[-1] for word in params.bad_words), *(ends if params.min_tokens else ())}
        self.reserve_edits(len(biases) + len(late))
        for token, bias in biases.items():
            fg_edits_at(&self.edits, token).bias = bias
            if bias > 0:
                self.edits.raises = True
        for token in late:
            fg_edits_at(&self.edits, token)

    def __dealloc__(self):
        PyMem_Free(self.edits.slots)
        PyMem_Free(self.edits.patch_ids)
        PyMem_Free(self.edits.patch_floats)
        PyMem_Free(self.c.tokens)
        PyMem_Free(self.c.ngrams.heads)
        PyMem_Free(self.c.ngrams.links)
        PyMem_Free(self.c.repeats.heads)
        PyMem_Free(self.c.repeats.links)

    cdef int set_sequences(self, fg_sequences *sequences, list tokens) except -1:
        ids, starts = array("i"), array("I", [0])
        cdef int[::1] ids_view
        cdef unsigned int[::1] starts_view
        for one in tokens:
            ids.extend(one)
            starts.append(len(ids))
        self.kept += [ids, starts]
        sequences.count = len(tokens)
        if len(tokens):
            ids_view, starts_view = ids, starts
            sequences.ids, sequences.starts = <const int32_t *>&ids_view[0], <const uint32_t *>&starts_view[0]
        return 0

    cdef int reserve_edits(self, size_t more) except -1:
        """Have room for entries of `more` tokens; the table stays at most half full."""
        cdef size_t capacity = max(self.edits.capacity, <size_t>16)
        cdef fg_edit *slots
        cdef uint32_t *ids
        cdef float *floats
        if more == 0 or 2 * (self.edits.used + more) <= self.edits.capacity:
            return 0
        while capacity < 2 * (self.edits.used + more):
            capacity *= 2
        ids = <uint32_t *>PyMem_Malloc(capacity // 2 * sizeof(uint32_t))
        floats = <float *>PyMem_Malloc(2 * capacity * sizeof(float))
        slots = <fg_edit *>PyMem_Malloc(capacity * sizeof(fg_edit))
        if ids == NULL or floats == NULL or slots == NULL:
            PyMem_Free(ids)
            PyMem_Free(floats)
            PyMem_Free(slots)
            raise MemoryError
        fg_edits_clear(slots, capacity)
        old = <size_t>self.edits.slots
        fg_edits_move(&self.edits, slots, capacity)
        PyMem_Free(<void *><size_t>old)
        PyMem_Free(self.edits.patch_ids)
        PyMem_Free(self.edits.patch_floats)
        self.edits.patch_ids, self.edits.patch_floats = ids, floats
        return 0

    cdef int reserve(self, size_t more) except -1:
        """Have room for `more` tokens."""
        cdef size_t capacity = max(self.c.capacity, <size_t>64)
        cdef void *memory
        if self.c.length + more > self.c.capacity:
            while capacity < self.c.length + more:
                capacity *= 2
            if capacity > <size_t>1 << 31:
                raise InvalidParameterError("the history is too long", tokens=self.c.length + more)
            memory = PyMem_Realloc(self.c.tokens, capacity * sizeof(int32_t))
            if memory == NULL:
                raise MemoryError
            self.c.tokens, self.c.capacity = <int32_t *>memory, capacity
        if self.has_ngrams and self.c.ngrams.heads_count < self.c.capacity:
            self.reserve_index(&self.c.ngrams)
        if self.has_repeats and self.c.repeats.heads_count < self.c.capacity:
            self.reserve_index(&self.c.repeats)
        return 0

    cdef int reserve_index(self, fg_ngrams *ngrams) except -1:
        """Give an index of n-grams as many places as there is room for tokens, and fill it anew."""
        cdef uint32_t *heads = <uint32_t *>PyMem_Calloc(self.c.capacity, sizeof(uint32_t))
        cdef uint32_t *links = <uint32_t *>PyMem_Calloc(self.c.capacity, sizeof(uint32_t))
        if heads == NULL or links == NULL:
            PyMem_Free(heads)
            PyMem_Free(links)
            raise MemoryError
        PyMem_Free(ngrams.heads)
        PyMem_Free(ngrams.links)
        ngrams.heads, ngrams.links, ngrams.heads_count = heads, links, <uint32_t>self.c.capacity
        for other in range(2):      # both are filled in one go, so both begin empty
            ngrams = &self.c.repeats if other else &self.c.ngrams
            if ngrams.heads != NULL:
                memset(ngrams.heads, 0, ngrams.heads_count * sizeof(uint32_t))
        fg_history_index(&self.c)
        return 0

    cdef int observe(self, object token_ids, bint is_prompt, object vocab_size) except -1:
        """Take in tokens, or refuse all of them."""
        cdef int32_t token
        if isinstance(token_ids, Integral):
            token_ids = (token_ids,)
        tokens = token_ids.tolist() if hasattr(token_ids, "tolist") else list(token_ids)
        limit = 0x7FFFFFFF if vocab_size is None else vocab_size
        for token_id in tokens:
            if isinstance(token_id, bool) or not isinstance(token_id, Integral):
                raise InvalidParameterError("a token id must be an integer", type=type(token_id).__name__)
            if not 0 <= token_id < limit:
                raise InvalidParameterError("a token id is outside the vocabulary", code="token_out_of_range",
                                            token=token_id, vocab_size=vocab_size)
        if is_prompt and self.c.length > self.c.prompt:
            raise InvalidParameterError("the prompt comes before all outputs")
        if not self.records:
            return 0
        self.reserve(len(tokens))
        self.reserve_edits(len(tokens))
        for token_id in tokens:
            token = token_id
            fg_history_append(&self.c, &self.edits, token, is_prompt)
        return 0

    cdef void step(self) noexcept nogil:
        """Set the edits of the next token; they are the same for all rows of a batch."""
        if self.records:
            fg_history_step(&self.c, &self.edits)
