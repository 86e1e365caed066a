"""Programs learned from chat templates: the same bytes as Jinja, or Jinja; and no text of a user is a control token."""

from __future__ import annotations

import random
import threading
from datetime import datetime
from typing import Any

import pytest
from fakes import FakeTokenizer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from templates import CHATML, FAMILIES

from fastgen import control, rendering, segments
from fastgen.chat import ChatTemplate
from fastgen.errors import InvalidParameterError, PromptError
from fastgen.program import TAG, Program
from fastgen.prompt import PromptBuilder
from fastgen.rendering import JinjaTemplate

pytest.importorskip("jinja2")

ROLES = ["system", "user", "assistant", "tool", "critic"]
NASTY = [
    *segments.CONTENTS,
    "<|im_start|>",
    "end|>",
    "<|im_",
    "<think>\nhm</think>\n\nAnswer",
    "</think>",
    "<tool_response>x</tool_response>",
    "[/INST]",
    "CONTINUE_FINAL_MESSAGE_TAG",
    TAG + "x",
    "assistant\n",
    "x" * 700,
    "🙂" * 90,
    "\x85\x1c\u180e",
    "None",
    "True",
]
CONTENTS = st.one_of(st.sampled_from(NASTY), st.text(max_size=12))


def conversation(*pairs: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for role, content in zip(pairs[::2], pairs[1::2], strict=True)]


def template(family: str) -> ChatTemplate:
    return ChatTemplate(FAMILIES[family], bos_token="<s>", eos_token="</s>", name=family)


def by_jinja(one: ChatTemplate, messages: list[dict[str, Any]], mode: int) -> str | None:
    """Return what Jinja writes, or None if it refuses."""
    try:
        return one._jinja.render(messages, mode, datetime.now(), {})
    except PromptError:
        return None


def written(one: ChatTemplate, messages: list[dict[str, Any]], mode: int) -> str | None:
    """Return what the program writes, or None if it does not fit."""
    prompt = PromptBuilder()
    modes = {"add_generation_prompt": mode == rendering.OPEN, "continue_final_message": mode == rendering.CONTINUED}
    if not one.write(prompt, messages, **modes):
        return None
    text = str(prompt)
    assert "".join(text.encode()[a:b].decode() for a, b, _ in prompt.segments) == text
    return text


class TestEquality:
    @pytest.mark.parametrize("family", FAMILIES)
    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        messages=st.lists(st.tuples(st.sampled_from(ROLES), CONTENTS), min_size=1, max_size=7),
        mode=st.sampled_from([0, rendering.OPEN, rendering.CONTINUED]),
    )
    def test_any_conversation(self, family: str, messages: list[tuple[str, str]], mode: int) -> None:
        one = template(family)
        turns = [{"role": role, "content": content} for role, content in messages]
        found = written(one, turns, mode)
        if found is not None:
            assert found == by_jinja(one, turns, mode)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_usual_conversations_have_programs(self, family: str) -> None:
        source = random.Random(family)
        one = template(family)
        runs = 0
        for turns in range(1, 9):
            for system in (False, True):
                roles = ["system"] * system + ["user", "assistant"] * turns
                for roles_here, mode in ((roles[:-1], rendering.OPEN), (roles, 0), (roles, rendering.CONTINUED)):
                    for _ in range(6):
                        messages = [{"role": role, "content": source.choice(NASTY)} for role in roles_here]
                        expected, found = by_jinja(one, messages, mode), written(one, messages, mode)
                        if found is not None:
                            runs += 1
                            assert found == expected
                            assert (
                                one.render(
                                    messages,
                                    add_generation_prompt=mode == rendering.OPEN,
                                    continue_final_message=mode == rendering.CONTINUED,
                                )
                                == expected
                            )
        # Gemma has no system; Qwen3 and DeepSeek look for what was thought
        assert runs >= (90 if family in ("gemma", "deepseek", "qwen3") else 250)

    def test_long_conversations(self) -> None:
        for length in (99, 255, 256, 257, 400):
            messages = conversation(*(text for place in range(length) for text in ("user", f"{place}\n")))
            for family in ("chatml", "llama3", "zephyr"):
                one = template(family)
                for _ in range(3):
                    assert one.render(messages) == by_jinja(one, messages, rendering.OPEN)

    def test_the_third_rendering_is_the_programs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        one = ChatTemplate(CHATML + "{# the third rendering #}")
        for number in range(2):
            one.render(conversation("user", str(number)))
        monkeypatch.setattr(JinjaTemplate, "render", None)
        expected = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
        assert one.render(conversation("user", "Hi")) == expected
        assert one.render((*conversation("user", "Hi"),)) == expected
        assert one.encode(conversation("user", "H"), FakeTokenizer()) == [
            256,
            *b"user\nH",
            257,
            10,
            256,
            *b"assistant\n",
        ]
        with pytest.raises(TypeError):
            one.render(conversation("user", "Hi"), mode="x")
        with pytest.raises(TypeError):
            one.render(conversation("critic", "Hi"))

    def test_tools_that_are_none_say_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        one = ChatTemplate(CHATML + "{{ tools }}{# none #}")
        for _ in range(2):
            one.render(conversation("user", "Hi"), tools=None)
        monkeypatch.setattr(JinjaTemplate, "render", None)
        assert one.render(conversation("user", "Hi"), tools=None, documents=None).endswith("assistant\nNone")
        for variables in ({"tools": []}, {"mode": None}):
            with pytest.raises(TypeError):
                one.render(conversation("user", "Hi"), **variables)

    def test_no_messages_at_all(self) -> None:
        one = ChatTemplate(CHATML + "{# no messages #}")
        one.program([])
        with pytest.raises(PromptError) as caught:
            one.render([])
        assert caught.value.code == "prompt_empty"
        assert isinstance(one.program([], add_generation_prompt=False, continue_final_message=True), str)

    def test_threads(self) -> None:
        one = ChatTemplate(FAMILIES["qwen"] + "{# threads #}")
        faults: list[Any] = []

        def work(seed: int) -> None:
            source = random.Random(seed)
            for _ in range(60):
                roles = source.choices(["system", "user", "assistant", "tool"], k=source.randint(1, 3))
                messages = [{"role": role, "content": source.choice(NASTY)} for role in roles]
                if one.render(messages) != by_jinja(one, messages, rendering.OPEN):
                    faults.append(messages)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not faults

    def test_objects_of_one_template_share_what_is_learned(self) -> None:
        source = CHATML + "{# shared #}"
        learned = ChatTemplate(source).program(["user"])
        assert isinstance(learned, Program)
        assert ChatTemplate(source, name="other").program(["user"]) is learned
        assert ChatTemplate(source, bos_token="<s>").program(["user"]) is not learned

    def test_faults_are_those_of_jinja(self) -> None:
        one = ChatTemplate(CHATML + "{# faults #}")
        one.program(["user"])
        with pytest.raises(PromptError) as caught:
            one.render(conversation("user", "é\udfff"))
        assert (caught.value.code, caught.value.details["offset"]) == ("prompt_not_utf8", 2)
        for messages, code in (([], "prompt_empty"), ("Hi", "prompt_invalid"), (None, "prompt_invalid")):
            for call in (one.render, lambda x: one.encode(x, FakeTokenizer()), lambda x: one.write(PromptBuilder(), x)):
                with pytest.raises(PromptError) as caught:
                    call(messages)
                assert caught.value.code == code

    def test_bytes_and_other_keys_are_left_to_jinja(self) -> None:
        one = ChatTemplate("{{ messages[0].content }}{{ messages[0].name }}{# keys #}")
        one.program(["user"])
        assert one.render([{"role": "user", "content": "Grüße".encode()}]) == "Grüße"
        assert one.render([{"role": "user", "content": "a", "name": "b"}]) == "ab"
        prompt = PromptBuilder()
        assert one.write(prompt, [{"role": "user", "content": "Grüße".encode()}])
        assert not one.write(prompt, [{"role": "user", "content": "a", "name": "b"}])
        assert not one.write(prompt, [{"role": "user", "content": None}])
        assert not one.write(prompt, [{"content": "a", "role": "user"}])
        assert str(prompt) == "Grüße"


class TestLearning:
    """What a program is, for templates that treat contents in known ways."""

    @pytest.mark.parametrize(
        ("source", "parts", "guards"),
        [
            ("a{{ messages[0].content }}b", ("a", ("content", 0), "b"), ()),
            ("{{ messages[0]['content'] | trim }}", (("strip", (("content", 0),), True, True),), ()),
            ("{{ messages[0].content.lstrip() }}", (("strip", (("content", 0),), True, False),), ()),
            ("{{ messages[0].content.rstrip() }}", (("strip", (("content", 0),), False, True),), ()),
            ("{{ ('a' + messages[0].content).strip() }}", (("strip", ("a", ("content", 0)), True, True),), ()),
            ("{{ 1 ~ messages[0].content ~ missing ~ 'b' }}", ("1", ("content", 0), "b"), ()),
            ("{% set ns = namespace(x='') %}{% set ns.x = ns.x + messages[0].content %}{{ ns.x }}",
             (("content", 0),), ()),
            ("{% set x %}[{{ messages[0].content }}]{% endset %}{{ x }}{{ x | trim }}",
             ("[", ("content", 0), "]", ("strip", ("[", ("content", 0), "]"), True, True)), ()),
            ("{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(messages[0].content) ~ '!' }}",
             ("<", ("content", 0), ">!"), ()),
            ("{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}{{ messages[0].content }}{% endcall %}",
             ("<", ("content", 0), ">"), ()),
            ("{% filter trim %} {{ messages[0].content }}{% endfilter %}",
             (("strip", (" ", ("content", 0)), True, True),), ()),
            ("{% for key, value in messages[0].items() %}{{ key }}={{ value }};{% endfor %}",
             ("role=user;content=", ("content", 0), ";"), ()),
            ("{% for x in [messages[0].content, 'b'] %}{{ x }}{% endfor %}", (("content", 0), "b"), ()),
            ("{{ messages | map(attribute='content') | map('trim') | first }}",
             (("strip", (("content", 0),), True, True),), ()),
            ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}", ("1",), ()),
            ("{% if messages[0].content %}{{ messages[0].content }}{% endif %}", (("content", 0),), ((0, None),)),
            ("{% if messages[0].content.strip() != '' %}y{% else %}n{% endif %}", ("y",), ((0, None),)),
            ("{% if ' ' ~ messages[0].content %}y{% endif %}", ("y",), ()),
            ("{% if (' ' ~ messages[0].content).strip() %}y{% endif %}", ("y",), ((0, None),)),
            ("{{ 'y' if '</think>' in messages[0].content else 'n' }}", ("n",), ((0, "</think>"),)),
            ("{{ messages[0].content.split('</think>')[-1] }}", (("content", 0),), ((0, "</think>"),)),
            ("{{ (messages[0].content | trim).startswith('<x') }}", ("False",), ((0, "<x"),)),
            ("{{ messages[0].content.endswith('x>') }}", ("False",), ((0, "x>"),)),
            ("{{ messages[0].content.replace('<image>', '') }}", (("content", 0),), ((0, "<image>"),)),
            ("{{ messages[0].content == 'x' }}{{ messages[0].content != none }}", ("FalseTrue",), ((0, "x"),)),
            ("{{ messages[0].content is string }}{{ messages[0].content is none }}{{ messages[0].content is mapping }}"
             "{{ messages[0].content is defined }}{{ messages[0].content is iterable }}"
             "{{ messages[0].content is number }}",
             ("TrueFalseFalseTrueTrueFalse",), ()),
            ("{{ messages[0].content | default('x') }}{{ messages[0].content.text }}{{ messages[0].content['text'] }}",
             (("content", 0),), ()),
            ("{{ messages[0].content | default('x', true) }}", (("content", 0),), ((0, None),)),
            ("{{ strftime_now('%Y') + '!' }}", (("clock", "%Y"), "!"), ()),
            ("{% generation %}{{ messages[0].content }}{% endgeneration %}", (("content", 0),), ()),
        ],
    )  # fmt: skip
    def test_known(self, source: str, parts: Any, guards: Any) -> None:
        one = ChatTemplate(source)
        program = one.program(["user"])
        assert isinstance(program, Program), program
        assert (program.parts, program.guards) == (parts, guards)
        for content in NASTY:
            found = written(one, conversation("user", content), rendering.OPEN)
            assert found in (None, by_jinja(one, conversation("user", content), rendering.OPEN))
            kept = [lacked in content if lacked else not content.strip() for _, lacked in guards]
            assert (found is None) == any(kept)

    @pytest.mark.parametrize(
        ("expression", "reason"),
        [
            ("messages[0].content[:3]", "[]"),
            ("messages[0].content[0]", "[]"),
            ("messages[0].content | upper", "upper"),
            ("messages[0].content.upper()", "upper"),
            ("messages[0].content | replace('a', 'b')", "replace"),
            ("messages[0].content | length", "length"),
            ("messages[0].content | e", "e"),
            ("messages[0].content | safe", "safe"),
            ("messages[0].content | int", "int"),
            ("('<' | e) + messages[0].content", "safe"),
            ("messages[0].content + ('x' | safe)", "safe"),
            ("('%s' | safe) % messages[0].content", "content"),
            ("messages[0].content | list | length", "list"),
            ("messages[0].content | tojson", "tojson"),
            ("messages[0].content | attr('x')", "attr"),
            ("messages[0].content is lower", "lower"),
            ("messages[0].content is eq('x')", "eq"),
            ("messages[0].content is sameas(1)", "sameas"),
            ("messages[0].content == messages[1].content", "compares"),
            ("messages[0] == messages[1]", "compares"),
            ("messages[0].content < 'a'", "content"),
            ("messages[0].content.strip('x')", "strips"),
            ("messages[0].content | trim('x')", "strips"),
            ("messages[0].content.split()[0]", "Type"),
            ("messages[0].content.split('a', 1)[0]", "Type"),
            ("messages[0].content.startswith(('a', 'b'))", "startswith"),
            ("messages[0].content.startswith('')", "startswith"),
            ("(messages[0].content + 'x').startswith('y')", "startswith"),
            ("'x' in (messages[0].content ~ 'y')", "in"),
            ("messages[0].content in 'abc'", "Type"),
            ("messages[0].content * 2", "content"),
            ("'%s' % messages[0].content", "content"),
            ("'{}'.format(messages[0].content)", "content"),
            ("['a'].index(messages[0].content)", "content"),
            ("{'a': 1}[messages[0].content]", "looks up"),
            ("messages[messages[0].content]", "looks up"),
            ("{messages[0].content: 1}", "content"),
            ("messages | tojson", "Type"),
            ("messages", "content"),
            ("messages | map(attribute='content') | join(' ')", "content"),
            ("messages | sort(attribute='content') | length", "content"),
            ("messages | map(attribute='content') | unique | list | length", "content"),
            ("[1, 2, 3] | random", "dice"),
            ("lipsum()", "dice"),
            ("strftime_now(messages[0].content)", "date"),
            ("'a' if strftime_now('%d') == '01' else 'b'", "=="),
            ("'a' if strftime_now('%d') else 'b'", "empty"),
            ("'a' if (messages[0].content ~ strftime_now('%d')) in ('x', 'y') else 'b'", "=="),
            ("cycler(1, 2).next() ~ messages[0].content.x.y", "Undefined"),
            ("raise_exception('no')", "TemplateError"),
        ],
    )  # fmt: skip
    def test_unknowable(self, expression: str, reason: str) -> None:
        one = ChatTemplate("{{ " + expression + " }}")
        found = one.program(["user", "user"])
        assert isinstance(found, str)
        assert reason in found
        assert not one.write(PromptBuilder(), conversation("user", "a", "user", "b"))

    @pytest.mark.parametrize(
        "source",
        [
            "{% for char in messages[0].content %}{{ char }}{% endfor %}",
            "{% set x = messages[0].content %}{% if x | length > 3 %}long{% endif %}",
            "{% set ns = namespace(x=messages[0].content) %}{{ ns.x[1:] }}",
            "{% macro f(x) %}{{ x | upper }}{% endmacro %}{{ f(messages[0].content) }}",
            "{% set x %}{{ messages[0].content }}{% endset %}{{ x.upper() }}",
            "{% macro f() %}{{ caller() | upper }}{% endmacro %}{% call f() %}{{ messages[0].content }}{% endcall %}",
            "{% filter upper %}{{ messages[0].content }}{% endfilter %}",
            "{% autoescape true %}{{ messages[0].content }}{% endautoescape %}",
            "{% include messages[0].content %}",
            "{% include 'x' %}",
            "{% for message in messages %}{{ loop.changed(message.content) }}{% endfor %}",
            "{% for message in messages if message.content > 'a' %}{% endfor %}",
            "{% for x in messages | groupby('content') %}{% endfor %}",
            "\0",
            "{{ 'a' * 1048570 }}{{ 'a' * 100 }}",
        ],
    )
    def test_unknowable_statements(self, source: str) -> None:
        assert isinstance(ChatTemplate(source).program(["user", "user"]), str)

    def test_what_is_not_equal_to_jinja_is_not_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(segments, "trace", lambda *_, **__: Program(["<", ("content", 0), ">"]))
        assert ChatTemplate("<{{ messages[0].content | trim }}>").program(["user"]) == "Jinja writes something else"

    def test_counters_in_namespaces(self) -> None:
        source = (
            "{% set ns = namespace(turn=0, seen=false) %}{% for m in messages %}{% if m.role == 'user' %}"
            "{% set ns.turn = ns.turn + 1 %}{{ ns.turn }}:{{ m.content }}{% if ns.turn == 2 %}!{% endif %}{% else %}"
            "{{ m.content | trim }}{% set ns.seen = true %}{% endif %}{% endfor %}{% if ns.seen %}.{% endif %}"
        )
        one = ChatTemplate(source)
        for roles in (["user"], ["user", "user"], ["user", "assistant", "user", "user"]):
            messages = [{"role": role, "content": f" {place} "} for place, role in enumerate(roles)]
            assert written(one, messages, 0) == by_jinja(one, messages, 0)

    def test_the_date_is_of_today(self) -> None:
        one = template("llama3.1")
        program = one.program(["user"])
        assert isinstance(program, Program)
        for year in (2024, 2031):
            prompt = PromptBuilder()
            assert program.write(prompt, ["Hi"], datetime(year, 7, 26))
            assert f"Today Date: 26 Jul {year}\n\n" in str(prompt)
            assert str(prompt) == one._jinja.render(
                conversation("user", "Hi"), rendering.OPEN, datetime(year, 7, 26), {}
            )


ATOMS = ["m.content", "m.content", "m.role", "'x'", "' '", "'\\n'", "bos_token", "messages[0].content", "ns.x", "v"]
CONDITIONS = [
    "loop.first", "loop.last", "m.role == 'user'", "messages[0].role == m.role", "loop.index0 % 2 == 0", "ns.x", "v",
    "messages[loop.index0 - 1].role != m.role", "m.content", "'<|' in m.content", "m.content.startswith('a')",
    "m.content == ''", "m.content != none", "m.content is string", "m.content.strip() and add_generation_prompt",
    "m.content[0] == 'a'", "m.content | length > 3", "v == 'x'", "ns.x.endswith('x')", "not v",
]  # fmt: skip
EXPRESSIONS = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.one_of(
        st.builds("({} + {})".format, inner, inner),
        st.builds("({} ~ {})".format, inner, inner),
        st.builds("({} | trim)".format, inner),
        st.builds("{}.{}()".format, inner, st.sampled_from(["strip", "lstrip", "rstrip"])),
        st.builds("({} if {} else {})".format, inner, st.sampled_from(CONDITIONS), inner),
        st.builds("f({})".format, inner),
        st.builds("{}.split('<|')[-1]".format, inner),
        st.builds("({} | {})".format, inner, st.sampled_from(["e", "safe", "string", "default('x', true)", "upper"])),
    ),
    max_leaves=5,
)
STATEMENTS = st.recursive(
    st.one_of(st.builds("{{{{ {} }}}}".format, EXPRESSIONS), st.sampled_from(["<|im_end|>", "\n", " ", "text"])),
    lambda inner: st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds("{{% if {} %}}{}{{% else %}}{}{{% endif %}}".format, st.sampled_from(CONDITIONS), inner, inner),
        st.builds("{{% set v = {} %}}{}".format, EXPRESSIONS, inner),
        st.builds("{{% set ns.x = {} %}}{}".format, EXPRESSIONS, inner),
        st.builds("{{% set v %}}{}{{% endset %}}{{{{ v }}}}".format, inner),
        st.builds("{{% filter trim %}}{}{{% endfilter %}}".format, inner),
    ),
    max_leaves=5,
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    body=STATEMENTS,
    roles=st.lists(st.sampled_from(["system", "user", "assistant"]), min_size=1, max_size=4),
    contents=st.lists(st.lists(CONTENTS, min_size=4, max_size=4), min_size=3, max_size=3),
    continued=st.booleans(),
)
def test_programs_of_any_template_are_right_before_they_are_compared(
    body: str, roles: list[str], contents: list[list[str]], continued: bool
) -> None:
    source = (
        "{% macro f(x) %}[{{ x }}]{% endmacro %}{% set ns = namespace(x='') %}{% set v = 'v' %}"
        f"{{% for m in messages %}}{body}{{% endfor %}}{{{{ ns.x }}}}"
    )
    one = ChatTemplate(source, bos_token="<s>")
    mode = rendering.CONTINUED if continued else rendering.OPEN
    try:
        program = segments.trace(segments.traceable(source), roles, one._jinja.values(mode), continued=continued)
    except Exception:
        return
    for texts in contents:
        prompt = PromptBuilder()
        if program.write(prompt, texts[: len(roles)]):
            messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
            assert str(prompt) == by_jinja(one, messages, mode)


class TestContinuing:
    @pytest.mark.parametrize("content", ["Hi", "Hi ", " Hi\n\n", "", " ", TAG, f"a {TAG} b "])
    def test_the_last_message_stays_open(self, content: str) -> None:
        messages = conversation("user", "x", "assistant", content)
        for source, kept in (
            (CHATML, content),
            (CHATML.replace("message['content']", "message['content'] | trim"), None),
        ):
            one = ChatTemplate(source)
            head = "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n"
            expected = head + content if kept is not None else (head + content.lstrip()).rstrip()
            if kept is None and content.strip() and content != content.rstrip():
                expected = (head + content.lstrip()).rstrip()
            for _ in range(3):
                found = one.render(messages, add_generation_prompt=False, continue_final_message=True)
                assert found == (expected if kept is not None else found)
                assert found == by_jinja(one, messages, rendering.CONTINUED)

    def test_not_both(self) -> None:
        with pytest.raises(InvalidParameterError):
            ChatTemplate(CHATML).render(conversation("user", "x"), continue_final_message=True)

    @pytest.mark.parametrize("source", ["{{ messages[0].content[:1] }}", "x", "{# content #}"])
    def test_a_content_that_is_not_written_is_refused(self, source: str) -> None:
        one = ChatTemplate(source, name="demo")
        for _ in range(3):
            with pytest.raises(PromptError) as caught:
                one.render(conversation("user", "Hi"), add_generation_prompt=False, continue_final_message=True)
            assert caught.value.details == {"template": "demo"}

    def test_a_template_that_drops_the_last_message(self) -> None:
        one = ChatTemplate("{{ messages[0].content }}{# drops #}")
        found = one.program(["user", "user"], add_generation_prompt=False, continue_final_message=True)
        assert found == "it does not write the last content as it is"
        for _ in range(3):
            with pytest.raises(PromptError):
                one.render(
                    conversation("user", TAG, "user", "Hi"), add_generation_prompt=False, continue_final_message=True
                )

    def test_no_content(self) -> None:
        with pytest.raises(PromptError):
            ChatTemplate(CHATML).render(
                [{"role": "user", "content": None}], add_generation_prompt=False, continue_final_message=True
            )

    def test_ids(self) -> None:
        one = ChatTemplate(CHATML)
        messages = conversation("user", "<|im_end|>", "assistant", "a<|im_start|>")
        for _ in range(3):
            ids = one.encode(messages, FakeTokenizer(), add_generation_prompt=False, continue_final_message=True)
            assert ids == [256, *b"user\n<|im_end|>", 257, 10, 256, *b"assistant\na<|im_start|>"]


class TestInjection:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_ids_are_those_of_jinja_and_no_message_forges_one(self, family: str) -> None:
        specials = ["<s>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>",
                    "<end_of_turn>", "<start_of_turn>", "<|end|>", "<|user|>", "<|system|>", "<|assistant|>",
                    "<｜User｜>", "<｜Assistant｜>", "[INST]", "[/INST]", "</s>"]  # fmt: skip
        tokenizer = FakeTokenizer(specials)
        one, source = template(family), random.Random(family)
        pieces = [*specials, *(text[:3] for text in specials), *(text[2:] for text in specials), "a", " ", "\n", "é"]
        runs = 0
        for _ in range(200):
            roles = ["user", "assistant"] * source.randint(1, 3)
            clean = [{"role": role, "content": "ok"} for role in roles]
            dirty = [{"role": role, "content": "".join(source.choices(pieces, k=4))} for role in roles]
            expected = [token for token in one.encode(clean, tokenizer) if token >= 256]
            prompt = PromptBuilder()
            assert one.write(prompt, clean)
            if one.write(PromptBuilder(), dirty):
                runs += 1
                ids = one.encode(dirty, tokenizer)
                assert [token for token in ids if token >= 256] == expected
                assert b"".join(map(tokenizer.token_bytes, ids)).decode() == by_jinja(one, dirty, rendering.OPEN)
            assert one.encode(clean, tokenizer) == tokenizer.encode(one.render(clean), control_tokens=True)
        assert runs > 150

    @pytest.mark.parametrize(
        ("source", "contents", "ids"),
        [
            ("<|im_end{{ messages[0].content }}", ["|>"], [*b"<|im_end|>"]),
            ("{{ messages[0].content }}_end|>", ["<|im"], [*b"<|im_end|>"]),
            ("<|{{ messages[0].content }}|>", ["im_end"], [*b"<|im_end|>"]),
            ("{{ messages[0].content }}{{ messages[1].content }}", ["<|im_", "end|>"], [*b"<|im_end|>"]),
            ("{{ messages[0].content | trim }}_end|>{{ messages[1].content }}", ["<|im \n", ""], [*b"<|im_end|>"]),
            ("<|im_end|>{{ messages[0].content }}<|im_end|>", ["<|im_end|>"], [257, *b"<|im_end|>", 257]),
        ],
    )
    def test_across_boundaries(self, source: str, contents: list[str], ids: list[int]) -> None:
        one = ChatTemplate(source)
        messages = [{"role": "user", "content": content} for content in contents]
        for _ in range(3):
            assert one.encode(messages, FakeTokenizer()) == ids
        assert isinstance(one.program(["user"] * len(contents)), Program)

    def test_roles_are_checked_whoever_writes(self) -> None:
        one = ChatTemplate(CHATML)
        messages = conversation("user", "a", "x<|im_end|>", "b")
        assert isinstance(one.program(["user", "x<|im_end|>"]), Program)
        for _ in range(3):
            with pytest.raises(PromptError) as caught:
                one.encode(messages, FakeTokenizer())
            assert caught.value.details == {"message_index": 1, "role": "x<|im_end|>"}

    def test_the_opt_out_warns(self) -> None:
        one = ChatTemplate(CHATML + "{# opt-out #}")
        for _ in range(4):
            with pytest.warns(control.ControlTokenWarning):
                ids = one.encode(conversation("user", "<|im_end|>"), FakeTokenizer(), allow_control_tokens=True)
            assert ids == [256, *b"user\n", 257, 257, 10, 256, *b"assistant\n"]

    def test_variables_are_text_too(self) -> None:
        one = ChatTemplate("<|im_start|>{{ tools | tojson }}{{ messages[0].content }}<|im_end|>")
        tools = [{"name": "<|im_end|>", "<|im_start|>": 1}]
        ids = one.encode(conversation("user", "a"), FakeTokenizer(), tools=tools)
        assert ids == [256, *b'[{"name": "<|im_end|>", "<|im_start|>": 1}]a', 257]


class TestTime:
    @pytest.mark.parametrize(
        "source",
        [
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            "{% for i in range(99999) if (range(99999) | list | length) < 0 %}{% endfor %}",
            "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(99) }}",
            "{% for x in [1] recursive %}{{ loop([1]) }}{{ loop([1]) }}{% endfor %}",
        ],
    )
    def test_a_rendering_without_end_ends(self, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("fastgen.sandbox.MAX_SECONDS", 0.05)
        one = ChatTemplate(source, name="demo")
        with pytest.raises(PromptError) as caught:
            one.render(conversation("user", "a"))
        assert caught.value.details["template"] == "demo"
        assert caught.value.hint in (
            "the template says: the template takes too long",
            "the template says: maximum recursion depth exceeded",
        ) or "recursion" in str(caught.value.hint)
        assert isinstance(one.program(["user"]), str)
