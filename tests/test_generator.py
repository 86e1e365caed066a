"""The face that most people see: prompts of every kind, parameters, errors at the door."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from fakes import FakeTokenizer
from scripted import scripted, scripted_by_prompt

import fastgen as fg
from fastgen import GenerationOutput, Generator, SamplingParams
from fastgen.errors import (
    ContextLengthError,
    FastgenError,
    InvalidParameterError,
    LogitsError,
    PromptError,
    StreamClosedError,
    UnknownParameterError,
)

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TOKENIZER = FakeTokenizer(chat_template=CHATML)
VOCAB = TOKENIZER.vocab_size
EOS = TOKENIZER.eos_ids[0]


def generator(script: bytes | list[int] = b"Hello.", **options: Any) -> Generator:
    return Generator(scripted([*script, EOS], VOCAB, **options), TOKENIZER, defaults=SamplingParams(temperature=0))


def prompts_seen(prompt: Any, tokenizer: FakeTokenizer = TOKENIZER) -> list[int]:
    """Return the token ids that a prompt became: the model answers by them."""
    seen: list[list[int]] = []

    def answer(ids: list[int]) -> list[int]:
        seen.append(ids)
        return [EOS]

    Generator(scripted_by_prompt(answer, VOCAB), tokenizer).generate(prompt, temperature=0)
    return seen[0]


def test_generate():
    output = generator().generate("Hi")
    assert isinstance(output, GenerationOutput)
    assert str(output) == output.text == "Hello."
    assert (output.finish_reason, output.finish_detail) == ("stop", "eos")
    assert output.usage.prompt_tokens == 2
    assert output.params == SamplingParams(temperature=0)


def test_prompt_kinds_become_the_same_tokens():
    assert prompts_seen("né") == prompts_seen("né".encode()) == prompts_seen(list("né".encode())) == [*"né".encode()]
    assert prompts_seen(np.array([1, 2, 3])) == [1, 2, 3]


def test_text_prompts_hold_no_control_tokens():
    assert prompts_seen("<|im_end|>") == [*b"<|im_end|>"]


def test_bos_opens_text_where_the_model_wants_it():
    tokenizer = FakeTokenizer(add_bos=True, chat_template=CHATML)
    assert prompts_seen("a", tokenizer) == [tokenizer.bos_id, ord("a")]
    assert prompts_seen([97], tokenizer) == [97]
    assert prompts_seen("", tokenizer) == [tokenizer.bos_id]


def test_messages_go_through_the_chat_template():
    start, end = TOKENIZER.token_id("<|im_start|>"), TOKENIZER.token_id("<|im_end|>")
    ids = prompts_seen([{"role": "user", "content": "Hi"}])
    assert ids == [start, *b"user\nHi", end, *b"\n", start, *b"assistant\n"]


def test_control_strings_of_users_stay_text():
    ids = prompts_seen([{"role": "user", "content": "<|im_end|>"}])
    assert ids.count(TOKENIZER.token_id("<|im_end|>")) == 1
    assert bytes(token for token in ids if token < 256).count(b"<|im_end|>") == 1


def test_control_strings_become_control_tokens_on_request_and_loudly():
    messages = [{"role": "user", "content": "<|im_end|>"}]
    with pytest.warns(fg.ControlTokenWarning):
        ids = generator().encode_chat(messages, allow_control_tokens=True)
    assert ids.count(TOKENIZER.token_id("<|im_end|>")) == 2


def test_the_last_message_can_be_continued():
    messages = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "One, two,"}]
    gen = generator(b" three")
    ids = gen.encode_chat(messages, continue_final_message=True)
    assert bytes(ids[-9:]) == b"One, two,"
    output = gen.chat(messages, continue_final_message=True)
    assert (output.text, output.usage.prompt_tokens) == (" three", len(ids))


def test_tools_reach_the_template_and_forge_no_tokens():
    source = "{% if tools %}{{ tools | tojson }}{% endif %}" + CHATML
    tokenizer = FakeTokenizer(chat_template=source)
    gen = Generator(scripted([EOS], VOCAB), tokenizer)
    tools = [{"name": "look", "description": "<|im_end|>"}]
    ids = gen.encode_chat([{"role": "user", "content": "Hi"}], tools=tools)
    assert ids.count(tokenizer.token_id("<|im_end|>")) == 1
    assert bytes(ids[: ids.index(tokenizer.token_id("<|im_start|>"))]) == json.dumps(tools).encode()
    assert gen.chat([{"role": "user", "content": "Hi"}], tools=tools).usage.prompt_tokens == len(ids)


def test_a_stop_sequence_outside_the_vocabulary():
    with pytest.raises(InvalidParameterError, match="vocabulary") as caught:
        generator().generate("a", stop_token_sequences=[[1, VOCAB]])
    assert (caught.value.code, caught.value.details["parameter"]) == ("token_out_of_range", "stop_token_sequences")


def test_37_a_stop_that_is_a_special_token_stops_though_it_has_no_text():
    end = TOKENIZER.token_id("<|im_end|>")
    output = generator([*b"ab", end, *b"c"]).generate("a", stop=["<|im_end|>", "zzz"])
    assert (output.text, output.finish_detail, output.stop_reason) == ("ab", "stop_token", end)
    shown = generator([*b"ab", end, *b"c"]).generate("a", stop="<|im_end|>", skip_special_tokens=False)
    assert (shown.text, shown.finish_detail, shown.stop_reason) == ("ab", "stop_string", "<|im_end|>")


def test_what_is_visible_and_where():
    output = generator(b"Hello.").generate("a", stop="lo")
    assert (output.text, output.visible_tokens, output.text_offsets) == ("Hel", 3, (0, 1, 2, 3, 3))
    assert len(output.token_ids) == 5


@pytest.mark.parametrize("name", ["best_of", "distinct"])
def test_what_chooses_among_answers_can_not_be_streamed(name):
    with pytest.raises(InvalidParameterError, match=f"{name} can't be streamed"):
        generator().stream("a", **{name: 1})


def test_chat_without_a_template():
    with pytest.raises(PromptError, match="no chat template"):
        Generator(scripted([EOS], VOCAB), FakeTokenizer()).chat([{"role": "user", "content": "Hi"}])


def test_lists_keep_their_order():
    model = scripted_by_prompt(lambda prompt: [*reversed(prompt), EOS], VOCAB)
    outputs = Generator(model, TOKENIZER).generate(["abc", "d", "ef"], temperature=0)
    assert [(output.index, output.text) for output in outputs] == [(0, "cba"), (1, "d"), (2, "fe")]


def test_params_for_each_prompt():
    short, long = SamplingParams(max_tokens=1, temperature=0), SamplingParams(temperature=0)
    outputs = generator().generate(["a", "b"], [short, long])
    assert [output.text for output in outputs] == ["H", "Hello."]
    with pytest.raises(InvalidParameterError, match="differ in number"):
        generator().generate(["a", "b"], [SamplingParams()])
    with pytest.raises(InvalidParameterError, match="must be SamplingParams"):
        generator().generate(["a"], [{"max_tokens": 1}])


def test_overrides_come_on_top():
    assert generator().generate("a", SamplingParams(temperature=0, max_tokens=3), max_new_tokens=2).text == "He"
    assert generator().generate("a", max_tokens=2).params == SamplingParams(temperature=0, max_tokens=2)


def test_stream_pieces_join_to_the_text():
    pieces = list(generator("naïve 🙂".encode()).stream("a"))
    assert "".join(piece.text for piece in pieces) == "naïve 🙂"
    assert [piece.finish_reason for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].output.text == "naïve 🙂"


def test_stream_of_many_prompts_interleaves():
    pieces = list(generator(b"xy").stream(["a", "b"]))
    assert [piece.index for piece in pieces if piece.text] == [0, 1, 0, 1]
    assert sum(piece.output is not None for piece in pieces) == 2


def test_arguments_of_a_stream_are_checked_at_once():
    with pytest.raises(UnknownParameterError):
        generator().stream("a", temprature=1)


def test_same_seed_same_tokens_and_the_seed_is_returned():
    def step(ids: Any, state: dict[str, Any]) -> Any:
        return np.zeros((1, VOCAB), np.float32)

    gen = Generator(step, TOKENIZER)
    first = gen.generate("a", max_tokens=20, ignore_eos=True)
    again = gen.generate("a", max_tokens=20, ignore_eos=True, seed=first.seed)
    assert first.token_ids == again.token_ids
    batch = gen.generate(["a"] * 3, max_tokens=20, ignore_eos=True, seed=first.seed)
    assert {output.token_ids for output in batch} == {first.token_ids}
    assert gen.generate("a", max_tokens=20, ignore_eos=True, seed=first.seed + 1).token_ids != first.token_ids


@pytest.mark.parametrize("prompt", ["", b"", [], [[]], [""]])
def test_empty_prompt(prompt):
    with pytest.raises(PromptError) as caught:
        generator().generate(prompt)
    assert caught.value.code == "prompt_empty"


@pytest.mark.parametrize("prompt", [None, 5, {"role": "user"}, object(), [None], ["a", 5], [1.5], [True]])
def test_prompt_of_a_wrong_kind(prompt):
    with pytest.raises(InvalidParameterError):
        generator().generate(prompt)


def test_malformed_bytes_name_prompt_and_offset():
    with pytest.raises(PromptError) as caught:
        generator().generate(["ok", b"abc\xff"])
    assert caught.value.code == "prompt_not_utf8"
    assert caught.value.details == {"prompt": 1, "offset": 3}


@pytest.mark.parametrize("token", [-1, VOCAB, 1 << 70])
def test_token_out_of_range(token):
    with pytest.raises(InvalidParameterError) as caught:
        generator().generate([[1], [2, token]])
    assert caught.value.code == "token_out_of_range"
    assert caught.value.details["prompt"] == 1


def test_stop_token_out_of_range():
    with pytest.raises(InvalidParameterError, match="stop_token_ids"):
        generator().generate("a", stop_token_ids=[VOCAB])


def test_prompt_that_fills_the_context():
    gen = generator(max_positions=8)
    with pytest.raises(ContextLengthError) as caught:
        gen.generate("12345678")
    assert caught.value.details == {"prompt": 0, "prompt_tokens": 8, "context": 8}
    output = gen.generate("1234567")
    assert (output.text, output.finish_reason, output.finish_detail) == ("H", "length", "context")
    assert gen.generate("1234", max_tokens=1 << 30).finish_detail == "context"


@pytest.mark.parametrize(
    "bad",
    [
        {"max_tokens": 0},
        {"max_tokens": -1},
        {"max_tokens": 1 << 80},
        {"temperature": -1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_p": 0},
        {"top_p": 2},
        {"stop": ""},
    ],
)
def test_bad_parameters_are_named(bad):
    with pytest.raises(InvalidParameterError) as caught:
        generator().generate("a", **bad)
    assert next(iter(bad)) in str(caught.value)


def test_unknown_keyword_suggests_the_right_one():
    with pytest.raises(UnknownParameterError, match="did you mean 'temperature'"):
        generator().generate("a", temperatur=1)
    with pytest.raises(TypeError):
        generator().generate("a", temperatur=1)


def nan_at(step_number: int) -> Any:
    def step(ids: Any, state: dict[str, Any]) -> Any:
        state["n"] = state.get("n", -1) + 1
        logits = np.zeros((1, VOCAB), np.float32)
        logits[0, ord("x")] = 1
        if state.setdefault("first", int(ids[0, 0])) == ord("b") and state["n"] == step_number:
            logits[0, 11] = np.nan
        return logits

    return step


def test_bad_logits_raise_for_one_prompt():
    gen = Generator(nan_at(2), TOKENIZER)
    with pytest.raises(LogitsError) as caught:
        gen.generate("b", temperature=0)
    assert caught.value.details == {"row": 0, "step": 2, "index": 11, "counts": {"nan": 1, "inf": 0}}
    pieces = gen.stream("b", temperature=0)
    assert [next(pieces).text, next(pieces).text] == ["x", "x"]
    with pytest.raises(LogitsError):
        next(pieces)


def test_bad_logits_of_one_of_many_prompts_leave_the_others():
    good, bad = Generator(nan_at(2), TOKENIZER).generate(["a", "b"], temperature=0, max_tokens=5)
    assert (good.text, good.error) == ("xxxxx", None)
    assert (bad.text, bad.finish_reason, bad.finish_detail) == ("xx", "error", "logits_nonfinite")
    assert isinstance(bad.error, FastgenError)


def test_threads_may_share_a_generator():
    gen = Generator(scripted_by_prompt(lambda prompt: [*prompt, *prompt, EOS], VOCAB), TOKENIZER)
    results: dict[str, str] = {}

    def work(text: str) -> None:
        results[text] = gen.generate(text, temperature=0).text

    threads = [threading.Thread(target=work, args=(f"text {number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {f"text {number}": f"text {number}" * 2 for number in range(8)}


def test_close():
    with generator() as gen:
        assert gen.generate("a").text == "Hello."
    with pytest.raises(StreamClosedError):
        gen.generate("a")
    assert repr(gen) == "Generator(closed)"


def test_tokenizer_may_be_smaller_than_the_model():
    gen = Generator(scripted([VOCAB + 1], VOCAB + 64), TOKENIZER)
    assert gen.generate("a", temperature=0, max_tokens=2).token_ids == (0, 0)


@pytest.fixture(scope="module")
def gen(demo_path):
    return Generator.from_pretrained(demo_path)


@pytest.mark.demo
class TestDemo:
    """The real model, through the public names."""

    def test_greedy_answer_is_sensible(self, gen):
        assert gen.generate("The capital of France is", temperature=0, max_tokens=1).text == " Paris"

    def test_chat(self, gen):
        messages = [{"role": "user", "content": "What is 2 + 2? Answer with a number."}]
        reply = gen.chat(messages, temperature=0, max_tokens=24)
        assert "4" in reply.text
        assert reply.finish_detail in ("eos", "max_tokens")

    def test_batch_equals_single(self, gen):
        prompts = ["Once upon a time", "1, 2, 3,", "The sea is"]
        single = [gen.generate(prompt, temperature=0, max_tokens=12).token_ids for prompt in prompts]
        assert [output.token_ids for output in gen.generate(prompts, temperature=0, max_tokens=12)] == single

    def test_stream_equals_generate(self, gen):
        options = {"max_tokens": 24, "seed": 3, "temperature": 0.8, "top_p": 0.9}
        text = "".join(piece.text for piece in gen.stream("Emoji: 🙂 and 日本", **options))
        assert text == gen.generate("Emoji: 🙂 and 日本", **options).text

    def test_look_up_gives_the_same_copy_in_fewer_passes(self, gen, monkeypatch):
        text = (
            "The lighthouse was built in 1871 by masons from the mainland, who brought the granite over in flat boats."
        )
        messages = [{"role": "user", "content": f"Repeat this word for word:\n\n{text}"}]
        passes = []
        forward = type(gen.model).forward
        monkeypatch.setattr(
            type(gen.model), "forward", lambda self, batch, cache: passes.append(batch) or forward(self, batch, cache)
        )
        plain = gen.generate(messages, temperature=0, max_tokens=40)
        many = len(passes)
        quick = gen.generate(messages, temperature=0, max_tokens=40, prompt_lookup_num_tokens=10)
        assert quick.token_ids == plain.token_ids
        assert len(passes) - many < many / 2

    def test_info(self, gen):
        assert (gen.info.architecture, gen.info.quantization, gen.info.vocab_size) == ("llama", "Q4_1", 49152)
        assert gen.load_seconds > 0

    def test_a_process_ends_while_the_model_is_at_work(self, demo_path):
        code = (
            "import fastgen as fg\n"
            f"gen = fg.Generator.from_pretrained({str(demo_path)!r})\n"
            "handles = [gen.submit('Once', max_tokens=500) for _ in range(2)]\n"
            "next(gen.stream('Once', max_tokens=500))\n"
            "pieces = gen.stream('Once', max_tokens=500)\n"
            "next(pieces)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=False)
        assert (done.returncode, done.stderr) == (0, "")

    def test_one_line(self, demo_path, monkeypatch):
        monkeypatch.delenv("FASTGEN_MODEL", raising=False)
        assert fg.generate("The capital of France is", temperature=0, max_tokens=1).text == " Paris"
        assert "".join(p.text for p in fg.stream("The capital of France is", temperature=0, max_tokens=1)) == " Paris"
