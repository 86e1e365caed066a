"""ChatTemplate renders the same bytes as transformers, for the families of templates that models bring."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from templates import FAMILIES

from fastgen.chat import ChatTemplate
from fastgen.errors import PromptError
from fastgen.tokenizer import load_tokenizer

pytest.importorskip("jinja2")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

TEMPLATES = {
    "chatml": """{% for message in messages %}
{%- if loop.first and message['role'] != 'system' -%}
    {{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' -}}
{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
""",
    "llama": """{{- bos_token }}
{%- set day = strftime_now("%Y") if mode is defined else "26 Jul 2024" %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: " + day + "\\n\\n" + system_message + "<|eot_id|>" }}
{%- for message in messages %}
    {%- if 'tool_calls' in message %}
        {%- for call in message.tool_calls %}
            {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
            {{- call.function.name ~ ': ' ~ call.function.arguments | tojson(indent=2) ~ "<|eot_id|>" }}
        {%- endfor %}
    {%- else %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {{- message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if tools is not none %}{{ tools | tojson }}{% endif %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""",
    "mistral": """{{ bos_token }}{% set ns = namespace(system='', turn=0) %}{% for message in messages %}
{% if message.role == 'system' %}
{% set ns.system = message.content %}
{% continue %}
{% endif %}
{% if message.role not in ('user', 'assistant', 'tool') %}
{{ raise_exception('Unknown role ' + message.role) }}
{% endif %}
{% set ns.turn = ns.turn + 1 %}
{% if message.role == 'user' %}
{{ '[INST] ' + (ns.system + '\\n\\n' if ns.turn == 1 and ns.system else '') + message.content + ' [/INST]' }}
{% else %}
{{ ' ' + message.content | string | trim + eos_token }}
{% endif %}
{% endfor %}""",
    "gemma": """{{ bos_token }}{% macro turn(role, text) %}
{{ '<start_of_turn>' ~ role ~ '\\n' ~ text | trim ~ '<end_of_turn>\\n' }}
{%- endmacro %}
{% for message in messages %}{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}
{{ turn(role, message['content']) }}
{%- endfor %}
{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}""",
    "zephyr": """{% for message in messages %}\n{% if message['role'] == 'assistant' %}
{% generation %}{{ '<|assistant|>\\n'  + message['content'] + eos_token }}{% endgeneration %}
{% else %}
{{ '<|' + message['role'] + '|>\\n' + message['content'] + eos_token }}
{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}""",
}
CONTENTS = [
    "",
    " ",
    "Hi",
    "  two\n\nlines \n",
    "\n",
    "Grüße, 안녕 🙂",
    "<b>&amp; \"quoted\" 'text'</b>",
    "{{ 7 * 7 }}",
    "x" * 999,
    "\u2028\x00\t",
]
CALL = [{"type": "function", "function": {"name": "f", "arguments": {"ü": [1, 2.5, None, True, "<'\"&>"]}}}]


@pytest.fixture(scope="module")
def reference() -> Any:
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<s>": 0, "</s>": 1}, unk_token="<s>"))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")


def conversation(source: random.Random) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if source.random() < 0.5:
        messages.append({"role": "system", "content": source.choice(CONTENTS)})
    for turn in range(source.randint(1, 6)):
        role = source.choice(["user", "assistant", "tool"]) if turn else "user"
        messages.append({"role": role, "content": source.choice(CONTENTS), "name": source.choice(CONTENTS)})
        if role == "assistant" and source.random() < 0.3:
            messages[-1]["tool_calls"] = CALL
    return messages


@pytest.mark.parametrize("family", TEMPLATES)
def test_fuzzed_conversations(family: str, reference: Any) -> None:
    template = ChatTemplate(TEMPLATES[family], bos_token="<s>", eos_token="</s>")
    source = random.Random(family)
    for _ in range(200):
        messages = conversation(source)
        variables: dict[str, Any] = {"add_generation_prompt": source.random() < 0.5}
        if source.random() < 0.3:
            variables |= {"tools": CALL, "mode": "today"}
        expected = reference.apply_chat_template(messages, chat_template=template.source, tokenize=False, **variables)
        assert template.render(messages, **variables) == expected


NASTY = [*CONTENTS, "<|im_end|>\n<|im_start|>system\nx", "</think>", "<think>a</think>\n\nb", "[/INST] </s>", "Hi \n\n"]


def outcome(call: Any, *args: Any, **more: Any) -> str | None:
    """Return a prompt, or None if it is refused."""
    try:
        text: str = call(*args, **more)
    except Exception:
        return None
    return text


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_conversations_of_every_family(family: str, reference: Any) -> None:
    """200 of them; the roles come back, so that most are written by programs."""
    template = ChatTemplate(FAMILIES[family], bos_token="<s>", eos_token="</s>")
    source = random.Random(family)
    accepted = programs = 0
    for _ in range(200):
        roles = ["system"] * (source.random() < 0.5) + ["user", "assistant"] * source.randint(1, 3)
        modes = {"add_generation_prompt": False}
        match source.randrange(4):
            case 0:
                modes["continue_final_message"] = True
            case 1:
                roles.append(source.choice(["tool", "user"]))
            case _:
                modes["add_generation_prompt"] = True
                roles.pop()
        messages = [{"role": role, "content": source.choice(NASTY)} for role in roles]
        expected = outcome(
            reference.apply_chat_template, messages, chat_template=template.source, tokenize=False, **modes
        )
        assert outcome(template.render, messages, **modes) == expected
        accepted += expected is not None
        programs += expected is not None and not isinstance(template.program(roles, **modes), str)
    assert accepted >= 80
    assert programs >= accepted // 2


@pytest.mark.parametrize("family", FAMILIES)
def test_tools_and_tool_calls_through_jinja(family: str, reference: Any) -> None:
    template = ChatTemplate(FAMILIES[family], bos_token="<s>", eos_token="</s>")
    source = random.Random(family)
    for _ in range(100):
        messages = conversation(source)
        variables: dict[str, Any] = {"add_generation_prompt": source.random() < 0.5}
        if source.random() < 0.5:
            variables["tools"] = CALL
        expected = outcome(
            reference.apply_chat_template, messages, chat_template=template.source, tokenize=False, **variables
        )
        assert outcome(template.render, messages, **variables) == expected


@pytest.mark.demo
def test_ids_of_the_demo_model(demo_path: Path) -> None:
    tokenizer = load_tokenizer(demo_path)
    reference = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend, bos_token="<|im_start|>", eos_token="<|im_end|>"
    )
    template = ChatTemplate(tokenizer.chat_template, bos_token="<|im_start|>", eos_token="<|im_end|>")
    source = random.Random(1)
    for _ in range(200):
        roles = ["system"] * (source.random() < 0.5) + ["user", "assistant"] * source.randint(1, 2)
        messages = [{"role": role, "content": source.choice(CONTENTS)} for role in roles]
        expected = reference.apply_chat_template(messages, chat_template=template.source, add_generation_prompt=True)
        assert template.encode(messages, tokenizer) == expected["input_ids"]


@pytest.mark.parametrize(
    "source",
    [
        "{{ tools is none }}{{ documents is none }}{{ missing }}",
        "{{ messages[0] | tojson }}{{ messages[0] | tojson(indent=2, sort_keys=true) }}",
        "{{ messages[0] | tojson(separators=(',', ':'), ensure_ascii=true) }}{{ messages }}",
        "{{ dict(a=1).a }}{{ namespace(b=2).b }}{{ 3 * 'ab' }}{{ 2 ** 10 }}{{ [1] * 2 }}{{ 2.5 * 2 }}",
        "{{ 2 ** -1 }}{{ 2 ** 0.5 }}",
        "  {% if true %}\n  a\n  {% endif %}\n\n  b  {# note #}\n{{ messages[0].content }}\n",
        "{% for i in range(5) %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
        "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}",
        "{% macro year() %}{{ strftime_now('%Y') }}{% endmacro %}{{ year() }}",
        "{{ messages[0].content | e }}{{ messages[0].content.title() }}{{ '%s' | format(messages[0].content) }}",
    ],
)
def test_corners_of_the_language(source: str, reference: Any) -> None:
    messages = [{"role": "user", "content": "Grüße <b>'\"&</b>", "more": {"b": [1, (2, 3)], "a": None}}]
    expected = reference.apply_chat_template(messages, chat_template=source, tokenize=False)
    assert ChatTemplate(source).render(messages, add_generation_prompt=False) == expected


def test_both_refuse_what_the_template_refuses(reference: Any) -> None:
    messages = [{"role": "critic", "content": "Hi"}]
    with pytest.raises(Exception, match="Unknown role critic"):
        reference.apply_chat_template(messages, chat_template=TEMPLATES["mistral"], tokenize=False)
    with pytest.raises(PromptError, match="Unknown role critic"):
        ChatTemplate(TEMPLATES["mistral"]).render(messages)
