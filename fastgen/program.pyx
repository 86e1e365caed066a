# cython: language_level=3, cdivision=True
"""Programs: what a chat template writes for one sequence of roles, and the tree in which they are found by these.

A program is a list of steps: write this text, write the content of message 2, write the date, strip what was written
since then. `fastgen.segments` learns programs from templates and says why they are right.
"""

cimport cython
from cpython.dict cimport PyDict_Next
from cpython.list cimport PyList_GET_ITEM
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t
from libc.string cimport memcmp

from datetime import datetime

from fastgen.prompt cimport Mark, PromptBuilder

cdef extern from "Python.h":
    PyObject *PyDict_GetItemWithError(object mapping, PyObject *key) except? NULL
    bint PyDict_CheckExact(object value)
    bint PyUnicode_CheckExact(object value)
    bint PyUnicode_CheckExact_ "PyUnicode_CheckExact"(PyObject *value)
    int PyUnicode_CompareWithASCIIString(PyObject *text, const char *other)

TAG = "CONTINUE_FINAL_MESSAGE_TAG "  # as transformers spells it

cdef bytes TAG_BYTES = TAG.encode().rstrip()
cdef enum:
    DEPTH = 8  # of strips within strips
    REPEATED = 1 << 20  # bytes of a prompt in which a content is repeated; of longer ones Jinja judges
    MAX_MESSAGES = 256
    MAX_STEPS = 1 << 18  # of all programs in a tree
    MAX_NODES = 1 << 13


@cython.final
cdef class Program:
    """What a template writes for messages of certain roles.

    Parameters
    ----------
    parts : sequence
        Texts (str), ``("content", i)``, ``("clock", format)`` and ``("strip", parts, left, right)``.
    guards : sequence of (int, str or None)
        The program is for conversations in which the content of message i lacks a text, or, for None, is not blank.
    continued : bool
        Whether to cut the prompt at the last tag, which stands for the end of the last content.
    """

    def __init__(self, parts, guards=(), continued=False):
        steps, texts, clocks = [], bytearray(), []
        parts, guards = tuple(parts), tuple([(int(place), lacked) for place, lacked in guards])
        flatten(parts, steps, texts, clocks, 0)
        contents = [first for kind, first, _ in steps if kind == CONTENT]
        places = [*contents, *(place for place, _ in guards)]
        if min(places, default=0) < 0:
            raise ValueError("a message before the first")
        if self.steps != NULL:
            raise TypeError("a program is made once")
        self.steps = <Step *>PyMem_Malloc(max(len(steps), 1) * sizeof(Step))
        if self.steps == NULL:
            raise MemoryError
        for kind, first, second in steps:
            self.steps[self.count] = Step(kind, first, second)
            self.count += 1
        self.parts, self.guards, self.continued = parts, guards, continued
        self.texts, self.clocks = bytes(texts), tuple(clocks)
        self.messages = max(places, default=-1) + 1
        self.repeats = len(contents) > len(set(contents))

    def __dealloc__(self):
        PyMem_Free(self.steps)

    def __len__(self):
        return self.count

    def write(self, PromptBuilder prompt not None, list contents not None, now=None):
        """Append the prompt of a conversation of which these are the contents; return whether the program fits it.

        Parameters
        ----------
        prompt : PromptBuilder
        contents : list of str
            One for each message.
        now : datetime, optional
            What a template that asks for the date is told; the present by default.
        """
        prompt.refuse_views()
        contents = list(contents)
        if len(contents) < self.messages or not all(type(content) is str for content in contents):
            return False
        return bool(self.fits(contents) and self.run(prompt, contents, now))

    cdef bint fits(self, list contents) except -1:
        for place, lacked in self.guards:
            content = contents[place]
            if not content or content.isspace() if lacked is None else lacked in content:
                return False
        return True

    cdef int run(self, PromptBuilder prompt, list contents, object now) except -1:
        """Return 1, or 0 with the prompt as it was: a lone surrogate, too much of what is repeated, no tag."""
        cdef size_t opened[DEPTH]
        cdef Py_ssize_t i, depth = 0
        cdef const uint8_t *texts = self.texts
        cdef Step *step
        cdef Mark before
        cdef list dates = None
        if self.clocks:
            now = now or datetime.now()
            dates = [str(now.strftime(form)) for form in self.clocks]
            prompt.refuse_views()
        before = prompt.mark()  # no Python code runs from here on, so nothing else can touch the prompt
        try:
            for i in range(self.count):
                step = &self.steps[i]
                if step.kind == TEXT:
                    prompt.put(texts + step.first, step.second, True)
                elif step.kind == CONTENT:
                    if prompt.put_str(<object>PyList_GET_ITEM(contents, step.first), False) >= 0:
                        prompt.go_back(before)
                        return 0
                elif step.kind == OPEN:
                    opened[depth] = prompt.length
                    depth += 1
                elif step.kind == CLOSE:
                    depth -= 1
                    prompt.strip(opened[depth], step.first, step.second)
                elif prompt.put_str(<object>PyList_GET_ITEM(dates, step.first), True) >= 0:
                    prompt.go_back(before)
                    return 0
                if self.repeats and prompt.length - before.length > REPEATED:
                    prompt.go_back(before)
                    return 0
            if self.continued and not cut(prompt, before.length):
                prompt.go_back(before)
                return 0
        except BaseException:
            prompt.go_back(before)
            raise
        return 1


cdef int cut(PromptBuilder prompt, size_t start) except -1:
    """End a prompt where its last tag begins, as transformers does; without the tag's space, all at its end goes."""
    cdef size_t size = len(TAG_BYTES), at = prompt.length
    cdef const uint8_t *tag = TAG_BYTES
    cdef bint spaced
    while at >= start + size:
        if memcmp(prompt.data + at - size, tag, size) == 0:
            spaced = at < prompt.length and prompt.data[at] == 32
            prompt.truncate(at - size)
            if not spaced:
                prompt.strip(start, False, True)
            return 1
        at -= 1
    return 0


cdef object flatten(parts, list steps, texts, list clocks, int depth):
    for part in parts:
        if isinstance(part, str):
            start = len(texts)
            texts += part.encode()
            steps.append((TEXT, start, len(texts) - start))
        elif part[0] == "content":
            steps.append((CONTENT, int(part[1]), 0))
        elif part[0] == "clock":
            steps.append((CLOCK, len(clocks), 0))
            clocks.append(part[1])
        elif part[0] == "strip":
            if depth == DEPTH:
                raise ValueError("strips within strips")
            steps.append((OPEN, 0, 0))
            flatten(part[1], steps, texts, clocks, depth + 1)
            steps.append((CLOSE, bool(part[2]), bool(part[3])))
        else:
            raise ValueError("no part of a program")


@cython.final
cdef class Node:
    """What is known of conversations whose roles are the path to the node; the places of `known` are the modes."""

    cdef dict after  # role: Node
    cdef list known  # Program; str: why there can be none; True: seen once; None

    def __cinit__(self):
        self.after, self.known = {}, [None, None, None]


@cython.final
cdef class Programs:
    """A tree of programs by roles and mode (0: closed, 1: open for an answer, 2: the last message goes on).

    Bounded: when it is full it is emptied.
    """

    cdef Node root
    cdef Py_ssize_t steps, nodes

    def __cinit__(self):
        self.root = Node()

    cdef Program find(self, object messages, int mode, list contents):
        """Return the program for messages and fill in their contents; None if there is none.

        There is none for messages of another kind: exact dicts with the keys role and content, in
        this order, and exact strings as values.
        """
        cdef Py_ssize_t i, place, size = len(messages)
        cdef PyObject *key
        cdef PyObject *role
        cdef PyObject *found
        cdef PyObject *content
        cdef Node node = self.root
        for i in range(size):
            message = messages[i]
            if not PyDict_CheckExact(message) or len(<dict>message) != 2:
                return None
            place = 0
            PyDict_Next(message, &place, &key, &role)
            if not PyUnicode_CheckExact_(key) or not PyUnicode_CheckExact_(role):
                return None
            if PyUnicode_CompareWithASCIIString(key, b"role"):
                return None
            PyDict_Next(message, &place, &key, &content)
            if not PyUnicode_CheckExact_(key) or not PyUnicode_CheckExact_(content):
                return None
            if PyUnicode_CompareWithASCIIString(key, b"content"):
                return None
            contents.append(<object>content)
            found = PyDict_GetItemWithError(node.after, role)
            if found == NULL:
                return None
            node = <Node>found
        program = node.known[mode] if size else None
        return program if type(program) is Program else None

    def write(self, PromptBuilder prompt not None, messages, int mode):
        """Append the prompt of a conversation if there is a program for it; return whether there is."""
        cdef list contents
        cdef Program program
        prompt.refuse_views()
        if not 0 <= mode <= 2 or (type(messages) is not list and type(messages) is not tuple):
            return False
        contents = []
        program = self.find(messages, mode, contents)
        if program is None or (program.guards and not program.fits(contents)):
            return False
        return bool(program.run(prompt, contents, None))

    def known(self, roles, int mode):
        """Return a Program, why there can be none (str), True if such roles were seen once, or None."""
        cdef Node node = self.root
        for role in roles:
            node = node.after.get(role)
            if node is None:
                return None
        return node.known[mode] if 0 <= mode <= 2 else None

    def learn(self, roles, int mode, value):
        """Keep what `known` will return."""
        cdef Node node
        cdef Py_ssize_t size = len(value) if type(value) is Program else 0
        if size and len(roles) < value.messages:
            raise ValueError("the program is for more messages")
        if len(roles) > MAX_MESSAGES or not 0 <= mode <= 2 or size > MAX_STEPS:
            return
        if self.steps + size > MAX_STEPS or self.nodes + len(roles) > MAX_NODES:
            self.root, self.steps, self.nodes = Node(), 0, 0
        node = self.root
        for role in roles:
            if role not in node.after:
                node.after[role] = Node()
                self.nodes += 1
            node = node.after[role]
        node.known[mode] = value
        self.steps += size
