# cython: language_level=3, cdivision=True
"""Prompts as bytes: what the application wrote is trusted, what it was given is not, and both are UTF-8.

A `PromptBuilder` holds the bytes of one prompt and, beside them, which stretches are trusted. Only in these may the
tokenizer see control tokens. Short prompts live inside the object; longer ones in blocks which all builders share
through a pool of fastgen.memory, so that building prompts takes no memory once the pool is warm.

Nothing is half done: text is written behind the end and counted only when all of it is sound. While a memoryview of a
prompt exists, the prompt can't be changed, so no view ever sees memory move.
"""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport (
    PyUnicode_1BYTE_KIND, PyUnicode_2BYTE_KIND, PyUnicode_DATA, PyUnicode_DecodeUTF8, PyUnicode_GetLength,
    PyUnicode_KIND,
)
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memmove

from fastgen.blocks cimport Pool, header_of
from fastgen.kernels.utf8 cimport fg_utf8_sequence, validate_utf8
from fastgen.unicode cimport char_at, put_chars, put_replaced, size_of_chars

from fastgen.errors import PromptError
from fastgen.memory import TextPool

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)
    bint Py_UNICODE_ISSPACE(Py_UCS4 char)

cdef size_t MAX_BYTES = <size_t>1 << 31
cdef Pool pool = TextPool(name="prompts")       # of all builders


@cython.final
@cython.freelist(8)
cdef class PromptBuilder:
    """A prompt in the making: bytes of UTF-8, each trusted or not.

    It is reused by `clear`. The prompt is read by ``bytes(b)``, ``str(b)``, ``len(b)`` (in bytes) and
    ``memoryview(b)``; while a view exists, what would change the prompt raises PromptError (``concurrent_use``).
    A call that raises leaves the prompt as it was.

    Parameters
    ----------
    errors : {"strict", "replace"}, default "strict"
        What to do about bytes that are not UTF-8 and lone surrogates: raise PromptError (``prompt_not_utf8``), or write
        U+FFFD, one for each maximal subpart of a character, as ``bytes.decode`` does, and one for each surrogate.

    Raises
    ------
    PromptError
        ``prompt_invalid``: `errors` is something else.
    """

    def __cinit__(self, *, errors="strict"):
        self.data, self.capacity = self.inline_bytes, INLINE_BYTES
        self.stretches, self.room = self.inline_stretches, INLINE_STRETCHES
        self.length = self.count = 0
        self.messages = self.views = 0
        if errors != "strict" and errors != "replace":
            raise PromptError("errors must be 'strict' or 'replace'", hint="leave it out to refuse what is not UTF-8")
        self.replace = errors == "replace"

    def __dealloc__(self):
        self.release()

    # Memory.

    cdef void release(self) noexcept:
        if self.data != self.inline_bytes:
            pool.restore(self.data)
        if self.stretches != self.inline_stretches:
            pool.restore(self.stretches)
        self.data, self.capacity = self.inline_bytes, INLINE_BYTES
        self.stretches, self.room = self.inline_stretches, INLINE_STRETCHES

    cdef int refuse_views(self) except -1:
        if self.views:
            raise PromptError("the prompt can't change while it is viewed", code="concurrent_use",
                              hint="release its memoryview first", views=self.views)
        return 0

    cdef Mark mark(self) noexcept:
        cdef Mark mark
        mark.length, mark.count = self.length, self.count
        return mark

    cdef void go_back(self, Mark mark) noexcept:
        self.length, self.count = mark.length, mark.count
        if self.count:
            self.stretches[self.count - 1].end = self.length

    cdef void truncate(self, size_t length) noexcept:
        while self.count > 1 and self.stretches[self.count - 2].end >= length:
            self.count -= 1
        if length == 0:
            self.count = 0
        self.length = length
        if self.count:
            self.stretches[self.count - 1].end = length

    cdef int have_room(self, size_t more) except -1:
        """Have room for `more` bytes and one more stretch."""
        cdef size_t needed = self.length + more
        cdef uint8_t *data
        cdef Stretch *stretches
        if more > MAX_BYTES or needed > MAX_BYTES:
            raise PromptError("the prompt is too long", hint="shorten it", bytes=needed, limit=MAX_BYTES)
        if needed > self.capacity:
            data = <uint8_t *>pool.draw(max(needed, self.capacity + self.capacity // 2))
            memcpy(data, self.data, self.length)
            if self.data != self.inline_bytes:
                pool.restore(self.data)
            self.data, self.capacity = data, header_of(data).size
        if self.count == self.room:
            stretches = <Stretch *>pool.draw(2 * self.room * sizeof(Stretch))
            memcpy(stretches, self.stretches, self.count * sizeof(Stretch))
            if self.stretches != self.inline_stretches:
                pool.restore(self.stretches)
            self.stretches, self.room = stretches, 2 * self.room
        return 0

    # Writing: room first, then the bytes behind the end, then `commit`.

    cdef int commit(self, size_t size, bint trusted) except -1:
        if size == 0:
            return 0
        self.length += size
        if self.count == 0 or self.stretches[self.count - 1].trusted != trusted:
            self.stretches[self.count].trusted = trusted
            self.count += 1
        self.stretches[self.count - 1].end = self.length
        return 0

    cdef int put(self, const uint8_t *source, size_t size, bint trusted) except -1:
        self.have_room(size)
        memcpy(self.data + self.length, source, size)
        return self.commit(size, trusted)

    cdef Py_ssize_t put_str(self, object text, bint trusted) except? -1:
        """Write a str and return -1; or the number of sound bytes before a lone surrogate, and nothing is written."""
        cdef size_t size = PyUnicode_GetLength(text), written
        cdef const void *chars = PyUnicode_DATA(text)
        cdef int kind = PyUnicode_KIND(text)
        cdef bint sound
        if PyUnicode_IS_ASCII(text):
            self.put(<const uint8_t *>chars, size, trusted)
            return -1
        if kind == PyUnicode_1BYTE_KIND:
            self.have_room(size_of_chars(<const uint8_t *>chars, size))
            written = put_chars(self.data + self.length, <const uint8_t *>chars, size, self.replace, &sound)
        elif kind == PyUnicode_2BYTE_KIND:
            self.have_room(size_of_chars(<const uint16_t *>chars, size))
            written = put_chars(self.data + self.length, <const uint16_t *>chars, size, self.replace, &sound)
        else:
            self.have_room(size_of_chars(<const uint32_t *>chars, size))
            written = put_chars(self.data + self.length, <const uint32_t *>chars, size, self.replace, &sound)
        if not sound:
            return written
        self.commit(written, trusted)
        return -1

    cdef Py_ssize_t put_bytes(self, object text, bint trusted) except? -1:
        """The same for bytes."""
        cdef const uint8_t *source = <const uint8_t *>PyBytes_AS_STRING(text)
        cdef size_t size = PyBytes_GET_SIZE(text), sound = validate_utf8(source, size)
        if sound == size:
            self.put(source, size, trusted)
        elif self.replace:
            self.have_room(3 * size)
            self.commit(put_replaced(self.data + self.length, source, size), trusted)
        else:
            return sound
        return -1

    cdef int put_object(self, object text, bint trusted, Py_ssize_t message) except -1:
        """Write text of either type, or raise PromptError; `message` is its place, or -1."""
        cdef Py_ssize_t offset
        if isinstance(text, str):
            offset = self.put_str(text, trusted)
        elif isinstance(text, bytes):
            offset = self.put_bytes(text, trusted)
        else:
            raise not_text(text, message)
        if offset < 0:
            return 0
        what = "a lone surrogate" if isinstance(text, str) else "bytes that are not UTF-8"
        raise PromptError(f"the text holds {what}", code="prompt_not_utf8", offset=offset,
                          hint="send well-formed Unicode, or have it replaced with errors='replace'",
                          **({} if message < 0 else {"message_index": message}))

    cdef int put_turn(self, object role, object content, bint closed) except -1:
        """Write a message in ChatML, or only its opening."""
        self.refuse_views()
        cdef Mark before = self.mark()
        try:
            self.put(b"<|im_start|>", 12, True)
            self.put_object(role, False, self.messages)
            self.put(b"\n", 1, True)
            if closed:
                self.put_object(content, False, self.messages)
                self.put(b"<|im_end|>\n", 11, True)
        except BaseException:
            self.go_back(before)
            raise
        return 0

    cdef int strip(self, size_t start, bint left, bint right) noexcept:
        """Take white space, as `str.strip` knows it, off either end of what was written since `start`."""
        cdef size_t first = start, last = self.length, i, removed
        while right and last > start:
            i = last - 1
            while self.data[i] & 0xC0 == 0x80:
                i -= 1
            if not Py_UNICODE_ISSPACE(char_at(self.data + i)):
                break
            last = i
        while left and first < last and Py_UNICODE_ISSPACE(char_at(self.data + first)):
            first += fg_utf8_sequence(self.data + first, last - first).length
        removed = first - start
        if removed:
            memmove(self.data + start, self.data + first, last - first)
        elif last == self.length:
            return 0
        self.length = last - removed
        # Ends move down by what went before them; stretches that are left empty go, and their neighbors are joined.
        i = self.count
        while i and self.stretches[i - 1].end > start:
            i -= 1
        first = i
        for i in range(first, self.count):
            last = self.stretches[i].end
            last = min(max(last, start + removed) - removed, self.length)
            if last > (self.stretches[first - 1].end if first else 0):
                if first == 0 or self.stretches[first - 1].trusted != self.stretches[i].trusted:
                    self.stretches[first].trusted = self.stretches[i].trusted
                    first += 1
                self.stretches[first - 1].end = last
        self.count = first
        return 0

    # The public face.

    def text(self, text, trusted=False):
        """Append text (str, or bytes of UTF-8) and return the builder.

        Parameters
        ----------
        text : str or bytes
        trusted : bool, default False
            Whether control strings in it are control tokens. Say True only of text that you wrote.

        Raises
        ------
        PromptError
            ``prompt_not_utf8``, with the offset in bytes; ``prompt_invalid``: of another type, or the prompt would be
            longer than 2 GiB; ``concurrent_use``: the prompt is viewed.
        """
        self.refuse_views()
        self.put_object(text, bool(trusted), -1)
        return self

    def control(self, text):
        """Append trusted text, such as ``"<|im_start|>"``, and return the builder; raises as `text`."""
        self.refuse_views()
        if not isinstance(text, str):
            raise not_text(text, -1)
        self.put_object(text, True, -1)
        return self

    def message(self, role, content):
        """Append a message in ChatML and return the builder: ``<|im_start|>role\\ncontent<|im_end|>\\n``.

        Role and content are not trusted. For the format of a model, see `ChatTemplate.write`.

        Raises
        ------
        PromptError
            As `text`; the details have the ``message_index``.
        """
        self.put_turn(role, content, True)
        self.messages += 1
        return self

    def open(self, role="assistant"):
        """Append the opening of the answer in ChatML, ``<|im_start|>assistant\\n``, and return the builder."""
        self.put_turn(role, None, False)
        return self

    def clear(self):
        """Forget the prompt and give its memory back to the pool."""
        self.refuse_views()
        self.release()
        self.length = self.count = 0
        self.messages = 0

    def reserve(self, Py_ssize_t size):
        """Have room for `size` more bytes at once, as `estimate` tells."""
        self.refuse_views()
        self.have_room(max(size, 0))

    @staticmethod
    def estimate(messages):
        """Return how many bytes messages take by `message`; at most, if bytes are to be replaced.

        Parameters
        ----------
        messages : iterable of mappings
            With ``role`` and ``content``.
        """
        cdef size_t total = 0
        for message in messages:
            total += 24 + bytes_of(message["role"]) + bytes_of(message["content"])
        return total

    @property
    def segments(self):
        """The prompt as (start, end, trusted), in bytes; neighbors differ in trust."""
        cdef size_t start = 0, i
        result = []
        for i in range(self.count):
            result.append((start, self.stretches[i].end, bool(self.stretches[i].trusted)))
            start = self.stretches[i].end
        return result

    def masked(self, str blank not None):
        """Return the prompt as str, with `blank`, an ASCII character, for each character that is not trusted."""
        cdef PromptBuilder out = PromptBuilder.__new__(PromptBuilder)
        cdef size_t start = 0, i, at
        cdef uint8_t fill = <uint8_t>ord(blank)
        cdef uint8_t *to
        out.have_room(self.length)
        to = out.data
        for i in range(self.count):
            if self.stretches[i].trusted:
                memcpy(to, self.data + start, self.stretches[i].end - start)
                to += self.stretches[i].end - start
            else:
                for at in range(start, self.stretches[i].end):
                    if self.data[at] & 0xC0 != 0x80:
                        to[0] = fill
                        to += 1
            start = self.stretches[i].end
        return PyUnicode_DecodeUTF8(<char *>out.data, to - out.data, NULL)

    def encode(self, tokenizer, *, allow_control_tokens=False):
        """Return the token ids of the prompt; control tokens only where it is trusted.

        Parameters and errors as in `ChatTemplate.encode`.
        """
        from fastgen.control import encode_prompt
        return encode_prompt(self, tokenizer, allow_control_tokens=allow_control_tokens)

    def __len__(self):
        return self.length

    def __bytes__(self):
        return PyBytes_FromStringAndSize(<char *>self.data, self.length)

    def __str__(self):
        return PyUnicode_DecodeUTF8(<char *>self.data, self.length, NULL)

    def __repr__(self):
        return f"<PromptBuilder of {self.length} bytes>"

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.data, self.length, 1, flags)
        self.views += 1

    def __releasebuffer__(self, Py_buffer *buffer):
        self.views -= 1


cdef object not_text(object value, Py_ssize_t message):
    return PromptError("a text must be str or bytes", hint="decode or convert it first", type=type(value).__name__,
                       **({} if message < 0 else {"message_index": message}))


cdef size_t bytes_of(object text) except? 0:
    """Return how many bytes of UTF-8 a text has; of bytes that are not UTF-8, how many it may become."""
    cdef size_t size
    if isinstance(text, bytes):
        size = PyBytes_GET_SIZE(text)
        return size if validate_utf8(<const uint8_t *>PyBytes_AS_STRING(text), size) == size else 3 * size
    if not isinstance(text, str):
        raise not_text(text, -1)
    size = PyUnicode_GetLength(text)
    if PyUnicode_KIND(text) == PyUnicode_1BYTE_KIND:
        return size_of_chars(<const uint8_t *>PyUnicode_DATA(text), size)
    if PyUnicode_KIND(text) == PyUnicode_2BYTE_KIND:
        return size_of_chars(<const uint16_t *>PyUnicode_DATA(text), size)
    return size_of_chars(<const uint32_t *>PyUnicode_DATA(text), size)
