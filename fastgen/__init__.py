"""fastgen: the host side of text generation with torch language models.

    import fastgen as fg
    print(fg.generate("Why is the sky blue?", max_tokens=64))

Names are imported when they are first used, so ``import fastgen`` is quick and needs neither torch nor a model.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from fastgen._version import __version__

if _TYPE_CHECKING:
    from fastgen import cpu as cpu
    from fastgen import memory as memory
    from fastgen import text as text
    from fastgen.automaton import StopAutomaton as StopAutomaton
    from fastgen.batch import SamplerBatch as SamplerBatch
    from fastgen.cancellation import CancellationToken as CancellationToken
    from fastgen.chat import ChatTemplate as ChatTemplate
    from fastgen.control import ControlTokenWarning as ControlTokenWarning
    from fastgen.detokenizer import Detokenizer as Detokenizer
    from fastgen.engine import EngineConfig as EngineConfig
    from fastgen.errors import CancelledError as CancelledError
    from fastgen.errors import CheckpointError as CheckpointError
    from fastgen.errors import ConfigError as ConfigError
    from fastgen.errors import ContextLengthError as ContextLengthError
    from fastgen.errors import FastgenError as FastgenError
    from fastgen.errors import ForkedError as ForkedError
    from fastgen.errors import GenerationTimeout as GenerationTimeout
    from fastgen.errors import InvalidParameterError as InvalidParameterError
    from fastgen.errors import LogitsError as LogitsError
    from fastgen.errors import MissingDependencyError as MissingDependencyError
    from fastgen.errors import ModelNotFoundError as ModelNotFoundError
    from fastgen.errors import OverloadedError as OverloadedError
    from fastgen.errors import PromptError as PromptError
    from fastgen.errors import StreamClosedError as StreamClosedError
    from fastgen.errors import UnknownParameterError as UnknownParameterError
    from fastgen.generator import Generator as Generator
    from fastgen.grammar import Grammar as Grammar
    from fastgen.handle import Handle as Handle
    from fastgen.hub import Hub as Hub
    from fastgen.logprobs import TokenLogprobs as TokenLogprobs
    from fastgen.lookup import PromptLookup as PromptLookup
    from fastgen.loops import LoopDetector as LoopDetector
    from fastgen.oneline import generate as generate
    from fastgen.oneline import stream as stream
    from fastgen.output import GenerationOutput as GenerationOutput
    from fastgen.output import Piece as Piece
    from fastgen.params import SamplingParams as SamplingParams
    from fastgen.prompt import PromptBuilder as PromptBuilder
    from fastgen.sampler import Sampler as Sampler
    from fastgen.scheduler import Scheduler as Scheduler
    from fastgen.sink import Sink as Sink
    from fastgen.stop import StopMatcher as StopMatcher
    from fastgen.streams import TokenStream as TokenStream
    from fastgen.system import show_config as show_config
    from fastgen.tokenizer import load_tokenizer as load_tokenizer
    from fastgen.transcript import Transcript as Transcript

_WHERE = {
    "CancellationToken": "cancellation",
    "CancelledError": "errors",
    "ChatTemplate": "chat",
    "CheckpointError": "errors",
    "ConfigError": "errors",
    "ContextLengthError": "errors",
    "ControlTokenWarning": "control",
    "Detokenizer": "detokenizer",
    "EngineConfig": "engine",
    "FastgenError": "errors",
    "ForkedError": "errors",
    "GenerationOutput": "output",
    "GenerationTimeout": "errors",
    "Generator": "generator",
    "Grammar": "grammar",
    "Handle": "handle",
    "Hub": "hub",
    "InvalidParameterError": "errors",
    "LogitsError": "errors",
    "LoopDetector": "loops",
    "MissingDependencyError": "errors",
    "ModelNotFoundError": "errors",
    "OverloadedError": "errors",
    "Piece": "output",
    "PromptBuilder": "prompt",
    "PromptError": "errors",
    "PromptLookup": "lookup",
    "Sampler": "sampler",
    "SamplerBatch": "batch",
    "SamplingParams": "params",
    "Scheduler": "scheduler",
    "Sink": "sink",
    "StopAutomaton": "automaton",
    "StopMatcher": "stop",
    "StreamClosedError": "errors",
    "TokenLogprobs": "logprobs",
    "TokenStream": "streams",
    "Transcript": "transcript",
    "UnknownParameterError": "errors",
    "generate": "oneline",
    "load_tokenizer": "tokenizer",
    "show_config": "system",
    "stream": "oneline",
}

_MODULES = ("cpu", "memory", "text")

__all__ = ["__version__", *_MODULES, *_WHERE]


def __getattr__(name: str) -> _Any:
    if name in _MODULES:
        return _import_module(f"fastgen.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module 'fastgen' has no attribute {name!r}")
    value = getattr(_import_module(f"fastgen.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
