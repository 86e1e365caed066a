"""Chat templates: messages to prompt text, and to token ids in which no text of a user is a control token.

What Jinja writes is the definition. When messages of the same roles come a second time, the template's program for such
roles is learned (`fastgen.segments`), and from then on the program writes them: the same bytes in a fraction of the
time, with every byte marked as the template's or a message's. Left to Jinja are messages with other keys than role and
content, more variables, and roles for which what the template writes depends on what the contents are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fastgen.control import Hidden, check_roles, control_strings, encode_apart, encode_prompt, warn_of_control_tokens
from fastgen.errors import InvalidParameterError, PromptError
from fastgen.messages import checked, plain
from fastgen.program import Program, Programs
from fastgen.prompt import PromptBuilder
from fastgen.rendering import CONTINUED, OPEN, JinjaTemplate
from fastgen.segments import learn

if TYPE_CHECKING:
    from fastgen.tokenizer import Tokenizer

__all__ = ["ChatTemplate"]


class ChatTemplate:
    """A Jinja chat template, rendered in a sandbox to the same bytes as in `transformers`.

    The template is compiled when it is first used, so a faulty one does no harm to a model that is never chatted with.

    Parameters
    ----------
    source : str
        The text of the template.
    bos_token, eos_token : str, default ""
        What the template sees under these names.
    name : str, default "chat template"
        How errors call it.
    """

    __slots__ = ("_jinja", "_programs", "bos_token", "eos_token", "name", "source")

    def __init__(self, source: str, *, bos_token: str = "", eos_token: str = "", name: str = "chat template") -> None:
        self.source = source
        self.bos_token = bos_token
        self.eos_token = eos_token
        self.name = name
        self._jinja = JinjaTemplate(source, bos_token, eos_token, name)
        self._programs = _programs(source, bos_token, eos_token)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        **variables: Any,
    ) -> str:
        """Return the prompt of a conversation.

        Parameters
        ----------
        messages : sequence of mappings
            Each has a ``role`` (str) and a ``content`` (str, UTF-8 bytes or None). Other keys reach the template as
            they are; their values must be what JSON can hold.
        add_generation_prompt : bool, default True
            Whether the prompt ends with the opening of the answer.
        continue_final_message : bool, default False
            Whether the prompt ends with the content of the last message, for the model to go on with it. Say
            ``add_generation_prompt=False`` then.
        **variables
            More values for the template, such as ``tools``.

        Returns
        -------
        str
            The prompt, control strings included. To make token ids of it, use `encode`.

        Raises
        ------
        PromptError
            The messages are malformed (``prompt_empty``, ``prompt_invalid``, ``prompt_not_utf8``), or the template is
            faulty, refuses them, takes too long or grows out of bounds (``prompt_invalid``; the hint quotes the
            template).
        """
        mode = _mode(add_generation_prompt, continue_final_message)
        if _say_nothing(variables):
            prompt = PromptBuilder()
            if self._programs.write(prompt, messages, mode):
                return str(prompt)
        more = {name: plain(value, {"variable": name}) for name, value in variables.items()}
        conversation = checked(messages)
        text = self._jinja.render(conversation, mode, datetime.now(), more)
        self._notice(conversation, mode, more)
        return text

    def write(
        self,
        prompt: PromptBuilder,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
    ) -> bool:
        """Append a conversation to a prompt, trusted where the template wrote it; return whether that can be done.

        It can't, and nothing is written, where `program` tells why, and if a message has other keys than role and
        content, in this order, or no content. Parameters and errors as in `render`.
        """
        mode = _mode(add_generation_prompt, continue_final_message)
        if self._programs.write(prompt, messages, mode):
            return True
        conversation = checked(messages)
        program = self._learned([message["role"] for message in conversation], mode)
        if isinstance(program, str) or any(list(message) != ["role", "content"] for message in conversation):
            return False
        return program.write(prompt, [message["content"] for message in conversation])

    def program(
        self, roles: Sequence[str], *, add_generation_prompt: bool = True, continue_final_message: bool = False
    ) -> Program | str:
        """Return the program that writes messages of these roles, or why Jinja does."""
        return self._learned(list(roles), _mode(add_generation_prompt, continue_final_message))

    def encode(
        self,
        messages: Sequence[Mapping[str, Any]],
        tokenizer: Tokenizer,
        *,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        allow_control_tokens: bool = False,
        **variables: Any,
    ) -> list[int]:
        """Return the token ids of a conversation.

        Control strings that the template writes become control tokens; the same strings in what the messages and the
        variables hold are encoded as plain text, also where a string is put together from a content and its
        surroundings. Roles alone count as the application's own words: templates build control strings from them.

        Parameters
        ----------
        messages, add_generation_prompt, continue_final_message, **variables
            As in `render`.
        tokenizer : Tokenizer
            What encodes; its ``special_strings`` are the control strings.
        allow_control_tokens : bool, default False
            Whether control strings in messages become control tokens too. Whoever can write a message can then forge
            the messages of others, so it warns (`ControlTokenWarning`).

        Returns
        -------
        list of int
            Without a BOS that the template does not write. Equal to ``tokenizer.encode(rendered, control_tokens=True)``
            if no message holds a control string.

        Raises
        ------
        PromptError
            As `render`; also if a role holds a control string, or a message holds one and the template changes its
            text so that the two can't be told apart (both ``prompt_invalid``).
        """
        mode = _mode(add_generation_prompt, continue_final_message)
        if allow_control_tokens:
            warn_of_control_tokens()
        if _say_nothing(variables):
            prompt = PromptBuilder()
            if self._programs.write(prompt, messages, mode):
                if allow_control_tokens:
                    return tokenizer.encode(str(prompt), control_tokens=True)
                check_roles(messages, tokenizer)
                return encode_prompt(prompt, tokenizer)
        more = {name: plain(value, {"variable": name}) for name, value in variables.items()}
        conversation = checked(messages)
        now = datetime.now()
        if not allow_control_tokens:
            check_roles(conversation, tokenizer)
        text = self._jinja.render(conversation, mode, now, more)
        self._notice(conversation, mode, more)
        if allow_control_tokens:
            return tokenizer.encode(text, control_tokens=True)
        control = control_strings(tuple(tokenizer.special_strings))
        hidden = Hidden(control, text)
        disguised = [hidden.message(message) for message in conversation]
        others = {name: hidden.value(value) for name, value in more.items()}
        clean = disguised == conversation and others == more
        skeleton = text if clean else self._jinja.render(disguised, mode, now, others)
        if hidden.reveal(skeleton) != text:
            raise PromptError(
                "the chat template changes a message so that its text can't be kept apart from control strings",
                hint="take strings such as <|...|> that the tokenizer treats as control tokens out of the messages",
                template=self.name,
            )
        return encode_apart(text, skeleton, control, tokenizer)

    def _notice(self, messages: list[dict[str, Any]], mode: int, more: Mapping[str, Any]) -> None:
        """Learn the program for such messages when they come a second time."""
        if not _say_nothing(more) or any(
            len(message) != 2 or not isinstance(message["content"], str) for message in messages
        ):
            return
        roles = [message["role"] for message in messages]
        known = self._programs.known(roles, mode)
        if known is None:
            self._programs.learn(roles, mode, True)
        elif known is True:
            self._learned(roles, mode)

    def _learned(self, roles: list[str], mode: int) -> Program | str:
        known = self._programs.known(roles, mode)
        if known is None or isinstance(known, bool):

            def render(contents: list[str], now: datetime) -> str:
                messages = [{"role": role, "content": text} for role, text in zip(roles, contents, strict=True)]
                return self._jinja.render(messages, mode, now, {})

            known = learn(self.source, roles, self._jinja.values(mode), render, continued=mode == CONTINUED)
            self._programs.learn(roles, mode, known)
        return known


@lru_cache(maxsize=32)
def _programs(source: str, bos_token: str, eos_token: str) -> Programs:
    """Return the programs of a template, which all its objects share."""
    return Programs()


def _say_nothing(variables: Mapping[str, Any]) -> bool:
    """Tell whether a template sees nothing new: it gets None for these two anyway."""
    return all(value is None and name in ("tools", "documents") for name, value in variables.items())


def _mode(add_generation_prompt: bool, continue_final_message: bool) -> int:
    if continue_final_message and add_generation_prompt:
        raise InvalidParameterError(
            "the last message can't go on and be followed by an answer",
            hint="with continue_final_message=True say add_generation_prompt=False",
        )
    return CONTINUED if continue_final_message else OPEN if add_generation_prompt else 0
