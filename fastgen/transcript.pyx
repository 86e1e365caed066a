# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""Transcript: the tokens of one answer, the text they make, and where that ends."""

from array import array

cimport cython
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memcpy

from fastgen.automaton cimport compiled, fg_stop_step
from fastgen.detokenizer cimport Detokenizer
from fastgen.kernels.tokens cimport Tokens, borrow_ids, id_of
from fastgen.loops cimport LoopDetector

from fastgen.errors import FastgenError, InvalidParameterError, StreamClosedError

cdef const uint8_t *REPLACEMENT = b"\xEF\xBF\xBD"

cdef enum:
    SPELLED = 8             # bytes of a token id in the automaton of sequences

DETAILS = {FG_END_EOS: "eos", FG_END_STOP_TOKEN: "stop_token", FG_END_STOP_SEQUENCE: "stop_token",
           FG_END_STOP_STRING: "stop_string", FG_END_REPETITION: "repetition"}


def spelled(tokens):
    """Return token ids as a text of two characters each: 16 bits at U+20000, then 15 bits at U+10000.

    The first of them begins no second one, so an automaton over the UTF-8 finds whole tokens only.
    """
    return "".join([chr(0x20000 + (token >> 15)) + chr(0x10000 + (token & 0x7FFF)) for token in tokens])


cdef inline void spell(int32_t token, uint8_t *out) noexcept nogil:
    """The same in UTF-8:  11110xxx 10xxxxxx 10xxxxxx 10xxxxxx, twice."""
    cdef uint32_t halves[2]
    cdef int i
    halves[0], halves[1] = 0x20000 + (<uint32_t>token >> 15), 0x10000 + (<uint32_t>token & 0x7FFF)
    for i in range(2):
        out[4 * i] = <uint8_t>(0xF0 | halves[i] >> 18)
        out[4 * i + 1] = <uint8_t>(0x80 | (halves[i] >> 12 & 0x3F))
        out[4 * i + 2] = <uint8_t>(0x80 | (halves[i] >> 6 & 0x3F))
        out[4 * i + 3] = <uint8_t>(0x80 | (halves[i] & 0x3F))


@cython.final
@cython.auto_pickle(False)
cdef class Transcript:
    """What one answer says, token by token: detokenizer, stops and loops in the order in which they count.

    A token is looked at once, and its text, its place and the end it may bring come of the same look, so text, tokens
    and log-probabilities are all cut at one place. At one token the precedence is: end of sequence, stop token, stop
    sequence, stop string, loop. Within the first `min_tokens` tokens only the first two count.

    Given out is text that no stop can take back: `StopMatcher` says what stop strings hold, and of what may become a
    stop sequence all text is held.

    Parameters
    ----------
    tokenizer : Tokenizer
    params : SamplingParams
        What it says about stops, loops and text.

    Notes
    -----
    A token costs O(its bytes), amortized; no memory is taken but that of tokens and text, which doubles. One transcript
    serves one thread at a time.
    """

    def __cinit__(self, tokenizer, params):
        self.params = params
        self.detokenizer = Detokenizer(
            tokenizer, params.skip_special_tokens, hold=params.hold,
            spaces_between_special_tokens=params.spaces_between_special_tokens)
        if params.stop:
            self.stops = compiled(params.stop)
        if params.stop_token_sequences:
            self.sequences = compiled(tuple(map(spelled, params.stop_token_sequences)))
        if params.repetition_detection is not None:
            self.loops = LoopDetector(*params.repetition_detection)
        ends = {2 * token + 1 for token in params.stop_token_ids}
        if not params.ignore_eos:
            ends |= {2 * token for token in tokenizer.eos_ids}
        self.ends = array("q", sorted(ends))
        self.min_tokens, self.keeps_stop = params.min_tokens, params.include_stop_str_in_output
        self.visible = <size_t>-1
        self.which = -1

    def __dealloc__(self):
        PyMem_RawFree(self.ids)
        PyMem_RawFree(self.starts)
        PyMem_RawFree(self.bytes)

    cdef fg_end end_of(self, int32_t token) noexcept nogil:
        cdef Py_ssize_t first = 0, end = self.ends.shape[0], middle
        while first < end:
            middle = (first + end) // 2
            if self.ends[middle] < 2 * <int64_t>token:
                first = middle + 1
            else:
                end = middle
        if first == self.ends.shape[0] or self.ends[first] >> 1 != token:
            return FG_GOES_ON
        return FG_END_STOP_TOKEN if self.ends[first] & 1 else FG_END_EOS

    cdef fg_end advance(self, int32_t token) noexcept nogil:
        cdef const uint8_t *text
        cdef size_t size, capacity
        cdef uint8_t word[SPELLED]
        cdef fg_stop_step step
        cdef fg_end end
        cdef bint searched = self.count >= self.min_tokens
        cdef void *memory
        if self.count == self.capacity:
            capacity = max(2 * self.capacity, <size_t>64)
            memory = PyMem_RawRealloc(self.ids, capacity * sizeof(int32_t))
            if memory == NULL:
                return FG_NO_MEMORY
            self.ids = <int32_t *>memory
            memory = PyMem_RawRealloc(self.starts, capacity * sizeof(uint64_t))
            if memory == NULL:
                return FG_NO_MEMORY
            self.starts, self.capacity = <uint64_t *>memory, capacity
        self.ids[self.count] = token
        self.starts[self.count] = (self.decoded + self.detokenizer.c.held) << 1
        if self.detokenizer.c.decoder.count > 0:
            self.starts[self.count] |= 1
        end = self.end_of(token)
        if end != FG_GOES_ON:
            self.visible = self.count
            self.count += 1
            return self.finish(end)
        if self.detokenizer.advance(token, &text, &size) < 0:
            return FG_NOT_A_TOKEN
        self.count += 1
        if self.sequences is not None and searched:
            spell(token, word)
            self.sequences.feed(&self.sequence_state, word, SPELLED, False, &step)
            if step.stop >= 0:
                self.which = step.stop
                return self.end_sequence(text, size, step.stop_size // SPELLED)
        end = self.read(text, size, searched)
        if end == FG_GOES_ON and self.loops is not None and self.loops.feed(token) and searched:
            end = self.finish(FG_END_REPETITION)
        return end

    cdef fg_end read(self, const uint8_t *text, size_t size, bint searched) noexcept nogil:
        """Take in text; a stop string that completes in it is the end."""
        cdef fg_stop_step step
        cdef fg_end end
        self.decoded += size
        if self.stops is None or not searched:
            return self.release(text, size)
        self.stops.feed(&self.stop_state, text, size, self.keeps_stop, &step)
        end = self.release(step.head, step.head_size)
        if end == FG_GOES_ON:
            end = self.release(text, step.body_size)
        if end == FG_GOES_ON and step.stop >= 0:
            self.which = step.stop
            self.end = end = FG_END_STOP_STRING
        return end

    cdef fg_end release(self, const uint8_t *text, size_t size) noexcept nogil:
        """Append to the text what no stop string can take back."""
        cdef size_t room
        cdef void *memory
        if size > self.room - self.size:
            room = max(2 * self.room, self.size + size + 256)
            memory = PyMem_RawRealloc(self.bytes, room)
            if memory == NULL:
                return FG_NO_MEMORY
            self.bytes, self.room = <uint8_t *>memory, room
        if size:
            memcpy(self.bytes + self.size, text, size)
            self.size += size
        return FG_GOES_ON

    cdef fg_end let_go(self) noexcept nogil:
        """What the stop strings hold back is text after all."""
        cdef fg_stop_step step
        if self.stops is None:
            return FG_GOES_ON
        self.stops.flush(&self.stop_state, &step)
        return self.release(step.head, step.head_size)

    cdef fg_end finish(self, fg_end end) noexcept nogil:
        """End the text: all that is held back comes out, unless it completes a stop string."""
        cdef const uint8_t *text
        cdef size_t size
        cdef fg_end found
        self.detokenizer.finish(&text, &size)
        found = self.read(text, size, self.count > self.min_tokens)
        if found == FG_GOES_ON:
            found = self.let_go()
        if found == FG_GOES_ON:
            self.end = found = end
        return found

    cdef fg_end end_sequence(self, const uint8_t *text, size_t size, size_t tokens) noexcept nogil:
        """End the text where a stop sequence of so many tokens begins or, if it is kept, ends; `text` is its last."""
        cdef uint64_t start = self.starts[self.count - tokens]
        cdef fg_end found = self.let_go()
        if found == FG_GOES_ON:
            found = self.read(text, size, False)
        self.detokenizer.finish(&text, &size)
        if found == FG_GOES_ON:
            found = self.read(text, size, False)
        if found == FG_GOES_ON and not self.keeps_stop:
            self.visible = self.count - tokens
            self.size = <size_t>(start >> 1)
            if start & 1:           # a character that the sequence would have completed, or broken
                found = self.release(REPLACEMENT, 3)
        if found == FG_GOES_ON:
            self.end = found = FG_END_STOP_SEQUENCE
        return found

    cdef size_t safe(self) noexcept nogil:
        cdef size_t held
        if self.end != FG_GOES_ON or self.sequences is None:
            return self.size
        held = self.sequences.held(self.sequence_state) // SPELLED
        return self.size if held == 0 else min(self.size, <size_t>(self.starts[self.count - held] >> 1))

    cdef str take(self):
        """Return the text that may be given out and has not been."""
        cdef size_t first = self.taken, end = self.safe()
        if first >= end:
            return ""
        self.taken = end
        return PyUnicode_DecodeUTF8(<const char *>self.bytes + first, end - first, NULL)

    cdef int fail(self, fg_end end, int32_t token) except -1:
        if end == FG_NOT_A_TOKEN:
            raise InvalidParameterError("a token id is outside the vocabulary", code="token_out_of_range", token=token,
                                        hint="the ids may come from another model's tokenizer",
                                        vocab_size=self.detokenizer.c.count)
        raise MemoryError

    cdef int look(self) except -1:
        if self.busy:
            raise FastgenError("two threads use one transcript at a time", code="concurrent_use",
                               hint="each answer has a transcript of its own")
        return 0

    cdef int enter(self) except -1:
        self.look()
        if self.end != FG_GOES_ON:
            raise StreamClosedError("the text has already ended", hint="each answer has a transcript of its own")
        return 0

    def push(self, token_id):
        """Take the next token.

        Parameters
        ----------
        token_id : int

        Returns
        -------
        str
            The text that may leave now, often the token's own, sometimes none; whole characters.

        Raises
        ------
        InvalidParameterError
            The id is no integer, or outside the vocabulary (``token_out_of_range``); nothing has changed.
        StreamClosedError
            The text has ended.
        """
        cdef int32_t token = id_of(token_id)
        cdef fg_end end
        self.enter()
        end = self.advance(token)
        if end < 0:
            self.fail(end, token)
        return self.take()

    def push_many(self, token_ids):
        """Take tokens one after the other, without the GIL, up to the one that ends the text.

        Parameters
        ----------
        token_ids : array or sequence of int
            What `fastgen.kernels.tokens.find` takes. `token_count` tells how many of them were taken.

        Returns
        -------
        str
            The text that may leave now.

        Raises
        ------
        InvalidParameterError, StreamClosedError
            As `push`; the tokens before the one that is refused have been taken.
        """
        cdef Tokens tokens = borrow_ids(token_ids)
        cdef size_t i = 0
        cdef fg_end end = FG_GOES_ON
        self.enter()
        self.busy = True        # nothing below raises before it is False again
        with nogil:
            while i < tokens.count and end == FG_GOES_ON:
                end = self.advance(tokens.ids[i])
                i += 1
        self.busy = False
        if end < 0:
            self.fail(end, tokens.ids[i - 1])
        return self.take()

    def close(self, str detail):
        """End the text for a reason of its own: the limit, a wish, an error.

        Parameters
        ----------
        detail : str
            What `finish_detail` shall say, unless the last character completes a stop string.

        Returns
        -------
        str
            What was held back.

        Raises
        ------
        StreamClosedError
            The text has ended.
        """
        self.enter()
        self.detail = detail
        if self.finish(FG_END_TOLD) < 0:
            raise MemoryError
        return self.take()

    @property
    def finish_detail(self):
        """Why the text has ended, None before: see `GenerationOutput`."""
        self.look()
        if self.end == FG_GOES_ON:
            return None
        return self.detail if self.end == FG_END_TOLD else DETAILS[self.end]

    @property
    def stop_reason(self):
        """The stop string, stop token or stop sequence that ended the text."""
        self.look()
        if self.end == FG_END_STOP_TOKEN:
            return self.ids[self.count - 1]
        if self.end == FG_END_STOP_STRING:
            return self.params.stop[self.which]
        return self.params.stop_token_sequences[self.which] if self.end == FG_END_STOP_SEQUENCE else None

    @property
    def text(self):
        """All text that may be given out."""
        self.look()
        return PyUnicode_DecodeUTF8(<const char *>self.bytes, self.safe(), NULL)

    @property
    def token_count(self):
        """How many tokens have been taken, the one that ended the text included."""
        self.look()
        return self.count

    @property
    def visible_tokens(self):
        """How many tokens the text comes from; later ones ended it, or their text was cut off or is held back."""
        cdef size_t size, tokens
        self.look()
        size, tokens = self.safe(), min(self.count, self.visible)
        while tokens > 0 and self.starts[tokens - 1] >> 1 >= size:
            tokens -= 1
        return tokens

    @property
    def text_offsets(self):
        """For each token where its text begins, in characters of `text`: a tuple of int.

        Tokens that share a character have the same offset, and those beyond the text its length.
        """
        cdef size_t place = 0, characters = 0, size, start, i
        cdef list offsets
        self.look()
        size, offsets = self.safe(), [None] * self.count
        for i in range(self.count):
            start = min(<size_t>(self.starts[i] >> 1), size)
            while place < start:            # starts never go back
                characters += self.bytes[place] & 0xC0 != 0x80
                place += 1
            offsets[i] = characters
        return tuple(offsets)
