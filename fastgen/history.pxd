from libc.stdint cimport int32_t, int64_t, uint32_t

cdef extern from "history/edits.h" nogil:
    ctypedef struct fg_edit:
        int32_t id
        float bias
    ctypedef struct fg_edits:
        fg_edit *slots
        size_t capacity, used
        float repetition, presence, frequency
        int raises
        uint32_t *patch_ids
        float *patch_floats

cdef extern from "history.h" nogil:
    ctypedef struct fg_sequences:
        const int32_t *ids
        const uint32_t *starts
        size_t count
    ctypedef struct fg_ngrams:
        size_t size
        uint32_t *heads
        uint32_t *links
        uint32_t heads_count
    ctypedef struct fg_history:
        int32_t *tokens
        size_t length, prompt, capacity, min_tokens
        int64_t repetition_window, frequency_window, dry_window
        int repetition_counts_prompt, frequency_counts_prompt
        fg_ngrams ngrams, repeats
        double dry_multiplier, dry_base
        fg_sequences breakers, bad_words, ends


cdef class History:
    """What a sampler knows of single tokens: biases and bans, its sequence so far and what follows from that.

    Owns the table of edits and the history of `csrc/history.h`. If nothing in the parameters rests on earlier tokens,
    none are kept.
    """

    cdef fg_edits edits
    cdef fg_history c
    cdef bint records               # earlier tokens matter
    cdef bint has_ngrams, has_repeats
    cdef list kept                  # what C points into

    cdef int set_sequences(self, fg_sequences *sequences, list tokens) except -1
    cdef int reserve_edits(self, size_t more) except -1
    cdef int reserve(self, size_t more) except -1
    cdef int reserve_index(self, fg_ngrams *ngrams) except -1
    cdef int observe(self, object token_ids, bint is_prompt, object vocab_size) except -1
    cdef void step(self) noexcept nogil
