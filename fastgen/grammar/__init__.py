"""Constrained decoding: which tokens keep a text within a JSON schema, a regular expression or a Lark grammar.

The work is done by llguidance, which is imported when the first grammar is made. Its masks are exact here: a token is
allowed if and only if the text with it can still grow into one that the grammar accepts.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from fastgen.errors import InvalidParameterError
from fastgen.grammar.matcher import Matcher
from fastgen.grammar.vocabulary import Vocabulary, check, invalid, llguidance
from fastgen.tokenizer import Tokenizer

__all__ = ["Grammar", "Matcher"]

KINDS: Final = ("json_schema", "regex", "grammar")  # the sampling parameters, at most one of which is set
MAX_RULES: Final = 512  # llguidance 1.9 follows rules and references on the stack; from some 1500 on it may overflow

# The end of a rule's name, or what may begin a reference within an embedded schema.
LARK_RULE: Final = re.compile(r"[\w\]})]\s*:|\$ref|\\u")


class Grammar:
    """A compiled grammar for one tokenizer; made by `json_schema`, `regex`, `lark` or `from_params`.

    A text that was among the last 64 of its tokenizer is not compiled again. Safe to use from any thread.
    """

    __slots__ = ("_kind", "_start", "_vocabulary")

    def __init__(self, tokenizer: Tokenizer, kind: str, source: str) -> None:
        self._vocabulary = Vocabulary.of(tokenizer)
        self._kind = kind
        self._start = self._vocabulary.start(kind, source)

    @classmethod
    def from_params(cls, params: Any, tokenizer: Tokenizer) -> Grammar | None:
        """Return the grammar that sampling parameters ask for, or None.

        Parameters
        ----------
        params : SamplingParams
            At most one of its ``json_schema``, ``regex`` and ``grammar`` (Lark) is set.
        tokenizer : Tokenizer

        Raises
        ------
        InvalidParameterError
            More than one is set, or as the constructors below.
        MissingDependencyError
            llguidance is not installed.
        """
        given = [name for name in KINDS if getattr(params, name, None) is not None]
        if len(given) > 1:
            raise InvalidParameterError("only one grammar can be followed", parameter=given[1], also_given=given[0])
        if not given:
            return None
        make = {"json_schema": cls.json_schema, "regex": cls.regex, "grammar": cls.lark}[given[0]]
        return make(getattr(params, given[0]), tokenizer)

    @classmethod
    def json_schema(cls, schema: str | dict[str, Any], tokenizer: Tokenizer) -> Grammar:
        """Return the grammar of the JSON texts that a schema accepts.

        Raises
        ------
        InvalidParameterError
            It is not JSON, not a schema, accepts nothing, or uses what llguidance does not support; the detail
            ``reason`` says what.
        """
        try:
            value = json.loads(schema) if isinstance(schema, str) else schema
            text = json.dumps({} if value is True else value, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise invalid("json_schema", f"it is not JSON: {error}") from None
        if not text.startswith("{"):
            raise invalid("json_schema", "a schema must be an object")
        if len(set(re.findall(r'"\$ref": ("(?:[^"\\]|\\.)*")', text))) > MAX_RULES:
            raise invalid("json_schema", f"it refers to more than {MAX_RULES} definitions")
        return cls(tokenizer, "json_schema", f"start: %json {text}")

    @classmethod
    def regex(cls, pattern: str, tokenizer: Tokenizer) -> Grammar:
        r"""Return the grammar of the texts that match a regular expression as a whole.

        The syntax is that of Rust's crate regex: no look-around, no back-references, ``\d`` and ``\w`` for all of
        Unicode.

        Raises
        ------
        InvalidParameterError
            As `json_schema`.
        """
        check("regex", pattern)
        matcher = llguidance().LLMatcher
        source = json.loads(matcher.grammar_from_regex(pattern))["grammars"][0]["lark_grammar"]
        return cls(tokenizer, "regex", source)

    @classmethod
    def lark(cls, text: str, tokenizer: Tokenizer) -> Grammar:
        """Return a grammar in llguidance's dialect of Lark.

        Raises
        ------
        InvalidParameterError
            As `json_schema`.
        """
        check("grammar", text)
        if len(LARK_RULE.findall(text)) > MAX_RULES:
            raise invalid("grammar", f"it has more than {MAX_RULES} rules")
        return cls(tokenizer, "grammar", text)

    def matcher(self, vocab_size: int) -> Matcher:
        """Return the state of one sequence at its start.

        Parameters
        ----------
        vocab_size : int
            Length of the model's row of logits, at least 1; it may differ from the tokenizer's.
        """
        if vocab_size < 1:
            raise InvalidParameterError("vocab_size must be positive", vocab_size=vocab_size)
        return Matcher(self._start.deep_copy(), self._vocabulary, self._kind, vocab_size)
