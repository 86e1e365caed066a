"""The exception family: one base, stable codes, the built-in parents that ordinary code expects.

Every error has a ``code`` from the table `CODES`. The code is the contract: it is the same in Python, in HTTP bodies
and in metric labels, and does not change within a major version. The text is for people and may improve.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

__all__ = [
    "CODES",
    "CancelledError",
    "CheckpointError",
    "ConfigError",
    "ContextLengthError",
    "FastgenError",
    "ForkedError",
    "GenerationTimeout",
    "InvalidParameterError",
    "LogitsError",
    "MissingDependencyError",
    "ModelNotFoundError",
    "OverloadedError",
    "PromptError",
    "StreamClosedError",
    "UnknownParameterError",
]

MAX_DETAILS: Final = 4


class Code(NamedTuple):
    """What a code means: the recovery it calls for, the HTTP status it maps to, its cause."""

    category: str  # request: fix the call; file: fix the file; model: the model misbehaves; retry; shed; setup; bug
    status: int
    cause: str


CODES: Final[Mapping[str, Code]] = {
    "invalid_value": Code("request", 400, "an argument is out of its range or of the wrong type"),
    "unknown_parameter": Code("request", 400, "a keyword that no parameter has"),
    "prompt_empty": Code("request", 400, "there is nothing to generate from"),
    "prompt_not_utf8": Code("request", 400, "bytes of a prompt are not UTF-8, or a string holds a lone surrogate"),
    "prompt_invalid": Code("request", 400, "the messages do not fit the chat template"),
    "context_length_exceeded": Code("request", 400, "prompt and answer do not fit the model's context"),
    "token_out_of_range": Code("request", 400, "a token id is negative or not below the vocabulary size"),
    "logits_invalid": Code("request", 400, "logits of a wrong shape, dtype, device or layout"),
    "logits_nonfinite": Code("model", 500, "a row of logits holds NaN or +inf"),
    "no_candidates": Code("model", 500, "every logit of a row is -inf: nothing is left to choose from"),
    "checkpoint_corrupt": Code("file", 500, "a checkpoint or vocabulary file contradicts itself or ends early"),
    "checkpoint_unsupported": Code("file", 500, "a sound file of a format, architecture or type that is not supported"),
    "model_not_found": Code("setup", 404, "no file, folder, hub id or name of a model matches"),
    "missing_dependency": Code("setup", 500, "an optional package is not installed"),
    "config_invalid": Code("setup", 500, "a setting is unknown or out of its range"),
    "stream_closed": Code("request", 409, "the stream has already ended"),
    "overloaded": Code("shed", 429, "more work than the configured limits admit"),
    "timeout": Code("retry", 408, "the deadline passed first"),
    "cancelled": Code("request", 499, "the caller cancelled the generation"),
    "concurrent_use": Code("bug", 500, "two threads used an object at a time that serves one"),
    "forked": Code("bug", 500, "an object of the parent process was used after fork()"),
    "internal_error": Code("bug", 500, "a fault of fastgen itself"),
}


class FastgenError(Exception):
    """Base of all errors of fastgen.

    Parameters
    ----------
    message : str
        Static text: what went wrong. Values belong in `details`.
    code : str, optional
        One of `CODES`; the class has a default.
    hint : str, optional
        How to mend it, in one sentence.
    correlation_id : str, optional
        The id of the request that failed.
    **details
        At most four values that say where: ``row=3, step=17``.
    """

    default_code = "internal_error"

    code: str
    message: str
    hint: str | None
    details: dict[str, Any]
    correlation_id: str | None

    def __init__(
        self,
        message: str,
        /,
        *,
        code: str | None = None,
        hint: str | None = None,
        correlation_id: str | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.hint = hint
        self.details = dict(list(details.items())[:MAX_DETAILS])
        self.correlation_id = correlation_id

    @property
    def category(self) -> str:
        """Which recovery applies: request, file, model, retry, shed, setup or bug."""
        return CODES[self.code].category

    @property
    def status(self) -> int:
        """The HTTP status that the code maps to."""
        return CODES[self.code].status

    def to_dict(self) -> dict[str, Any]:
        """Return everything that a log line or an error body needs."""
        return {
            "code": self.code,
            "category": self.category,
            "message": self.message,
            "hint": self.hint,
            "details": dict(self.details),
            "correlation_id": self.correlation_id,
        }

    def __str__(self) -> str:
        where = ", ".join(f"{name}={value!r}" for name, value in self.details.items())
        text = f"{self.message} ({where})" if where else self.message
        return f"{text}; {self.hint}" if self.hint else text

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.__dict__)


def _rebuild(cls: type[FastgenError], message: str, state: dict[str, Any]) -> FastgenError:
    error = cls(message)
    error.__dict__.update(state)
    return error


class InvalidParameterError(FastgenError, ValueError):
    """An argument is out of its range or of the wrong type."""

    default_code = "invalid_value"


class UnknownParameterError(InvalidParameterError, TypeError):
    """A keyword that no parameter has."""

    default_code = "unknown_parameter"


class PromptError(FastgenError, ValueError):
    """A prompt is empty, not UTF-8, or does not fit the chat template."""

    default_code = "prompt_invalid"


class ContextLengthError(FastgenError, ValueError):
    """Prompt and answer do not fit the model's context."""

    default_code = "context_length_exceeded"


class LogitsError(FastgenError, ArithmeticError):
    """A row of logits can't be sampled from.

    For a batch, `tokens` holds what the sound rows yielded (-1 in the rows that failed), and `rows` one error for each
    row that failed.
    """

    default_code = "logits_nonfinite"
    tokens: Any = None
    rows: tuple[LogitsError, ...] = ()


class CheckpointError(FastgenError, OSError, ValueError):
    """A checkpoint, vocabulary or tokenizer file is corrupt or not supported."""

    default_code = "checkpoint_corrupt"


class ModelNotFoundError(FastgenError, FileNotFoundError):
    """No file, folder, hub id or name of a model matches."""

    default_code = "model_not_found"


class MissingDependencyError(FastgenError, ImportError):
    """An optional package is not installed; the hint holds the command that installs it."""

    default_code = "missing_dependency"


class ConfigError(FastgenError, ValueError):
    """A setting is unknown or out of its range."""

    default_code = "config_invalid"


class StreamClosedError(FastgenError):
    """The stream has already ended."""

    default_code = "stream_closed"


class OverloadedError(FastgenError):
    """More work than the configured limits admit."""

    default_code = "overloaded"


class GenerationTimeout(FastgenError, TimeoutError):  # noqa: N818 - the public name
    """The deadline passed first."""

    default_code = "timeout"


class CancelledError(FastgenError):
    """The caller cancelled the generation."""

    default_code = "cancelled"


class ForkedError(FastgenError):
    """An object of the parent process was used after fork()."""

    default_code = "forked"


def missing_dependency(package: str, extra: str, purpose: str) -> MissingDependencyError:
    """Return the error for a package that an extra brings: ``raise missing_dependency(...) from error``."""
    return MissingDependencyError(
        f"{purpose} needs the package {package!r}",
        hint=f"install it with: pip install 'fastgen-llm[{extra}]'",
        package=package,
    )
