#!/usr/bin/env python3
"""Writes chat-cases.json: what jinja2, set up as Hugging Face sets it up for chat templates, renders.

snippets        [template, what it renders over the first conversation, or null where it fails]
generated       the same for templates of template_generator.py, over its variables
conversations   the conversations
templates       whole templates written here, by name
rendered        by name: for each conversation, with and without generation prompt, the text or null
hashes          the same as FNV-1a hashes, for templates in the shared data

Usage: make-chat-goldens.py [SHARED]     (SHARED holds vectors/ and tiny-model/; written with jinja2 3.1.6)
"""
import json
import os
import sys

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

import constructs
import template_generator

HERE = os.path.dirname(os.path.abspath(__file__))

CONVERSATIONS = [
    [("system", "Be brief."), ("user", "  Hello <|im_end|>\n"), ("assistant", "Hi.\n"), ("user", "é 日本 🦙 'q' \"d\" \\ \t")],
    [("user", "Only one")],
    [("user", "")],
    [("system", ""), ("user", " \n ")],
    [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")],
    [("system", "{{ not a tag }} {% if %}"), ("user", "<s>{# c #}</s>")],
    [("tool", "42"), ("user", "&<>'\u2028\u0000\u007f")],
    [("user", "x"), ("user", "y"), ("system", "late")],
    [("user", "q"), ("assistant", "<think>\nhm\n\n</think>\n\nyes\n"), ("user", "<r>1</r>"), ("assistant", "<think>a</think>b")],
    [],
]

TEMPLATES = {
    "marks": "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
             "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "strict": """{{- bos_token }}
{%- if messages and messages[0].role == 'system' %}
    {%- set system = messages[0].content | trim %}
    {%- set rest = messages[1:] %}
{%- else %}
    {%- set system = none %}
    {%- set rest = messages %}
{%- endif %}
{%- for message in rest %}
    {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Roles must alternate, but message ' ~ loop.index ~ ' is of ' ~ message.role) }}
    {%- endif %}
    {%- if loop.first and system is not none %}
        {{- '[' + system + '] ' }}
    {%- endif %}
    {%- if message.role == 'user' %}
        {{- '<u>' + message.content.strip() + '</u>' }}
    {%- else %}
        {{- ' ' ~ message['content'] | trim ~ eos_token }}
    {%- endif %}
{%- else %}
    {{- 'nobody spoke' }}
{%- endfor %}
""",
    "lines": """{# A comment
over lines #}
{% for message in messages %}
  {% if loop.last %}
last: {{ message.content | tojson }}
  {% elif message.role in ['user', 'tool'] %}
  {{ loop.index }}/{{ loop.length }} {{ message.role | upper }}: {{ message.content }}
  {% else %}
\t{%+ if true %}kept{% endif +%}

  {% endif %}
{% endfor %}
{% set ns = namespace(n=0, seen='') %}
{% for message in messages %}{% set ns.n = ns.n + message.content | length %}{% set ns.seen = ns.seen ~ message.role[0] %}{% endfor %}
{{ ns.n }} {{ ns.seen }} {{ messages | map(attribute='role') | join(',') }}
{{ messages | selectattr('role', 'equalto', 'user') | list | length }}
{% if add_generation_prompt -%}
    go
{%- endif %}

end
""",
    # The constructs of Qwen3's template: reasoning that is cut out of answers before the last question.
    "thinking": """{%- set state = namespace(searching=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set place = (messages|length - 1) - loop.index0 %}
    {%- if state.searching and message.role == "user" and message.content is string and not(message.content.startswith('<r>') and message.content.endswith('</r>')) %}
        {%- set state.searching = false %}
        {%- set state.last = place %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if message.role == "assistant" %}
        {%- set thought = '' %}
        {%- if message.thought is defined and message.thought is not none %}
            {%- set thought = message.thought %}
        {%- elif '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {%- if loop.index0 > state.last or (loop.last and (not loop.first or thought)) %}
            {{- '<a>\n<think>\n' + thought.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}
        {%- else %}
            {{- '<a>\n' + content }}
        {%- endif %}
        {%- for call in message.tool_calls %}
            {{- call.arguments if call.arguments is string else call.arguments | tojson }}
        {%- endfor %}
        {{- '</a>\n' }}
    {%- else %}
        {{- '<' ~ message.role ~ '>' ~ content }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<a>\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}
""",
    # Those of GLM-4's: members that may be missing, an object written as indented JSON.
    "markers": """[gMASK]<sop>{% for item in messages %}{% if item['tools'] is defined %}<|system|>
{% for tool in item['tools'] %}{% if tool['type'] == 'function' %}## {{ tool['function']['name'] }}
{{ tool['function'] | tojson(indent=4) }}
{% endif %}{% endfor %}{% endif %}{% if item['content'] %}<|{{ item['role'] }}|>{{ item.get('metadata', '') }}
{{ item['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}""",
    # Those of Mistral's: chained selections of messages, comparison with one of them.
    "instructions": """{%- if messages and messages[0]["role"] == "system" %}
    {%- set system = messages[0]["content"] %}
    {%- set rest = messages[1:] %}
{%- else %}
    {%- set rest = messages %}
{%- endif %}
{%- set questions = rest | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in rest | rejectattr("role", "equalto", "tool") | selectattr("tool_calls", "undefined") %}
    {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
        {{- raise_exception("roles must alternate") }}
    {%- endif %}
    {%- set ns.index = ns.index + 1 %}
{%- endfor %}
{{- bos_token }}
{%- for message in rest %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == questions[-1]) %}
            {{- "[TOOLS]" + tools | string }}
        {%- endif %}
        {%- if loop.last and system is defined %}
            {{- "[INST] " + system + "\n\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- else %}
        {%- for key, value in message.items() if key != "role" %}
            {{- ('"' + key + '": ') ~ (value | tojson) }}
        {%- endfor %}
    {%- endif %}
{%- endfor %}
""",
    # Those of Yi's and of the first Llama 3's.
    "turns": """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% if messages and messages[0]['role'] == 'system' %}{% set system_message = messages[0]['content'] %}{% endif %}{% if system_message is defined %}{{ system_message }}{% endif %}{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<h>' + message['role'] + '</h>\n\n' + message['content'] | trim + '<e>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<h>assistant</h>\n\n' }}{% else %}{{ eos_token }}{% endif %}""",
}

SNIPPETS = [
    "{{ 1 + 2 * 3 - 4 // 3 }} {{ 7 % 3 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 1 / 4 }} {{ 2 * 1.5 }}",
    "{{ 'a' ~ 1 ~ none ~ true }}", "{{ 'a' 'b' }}", "{{ \"x\\ty\\x41\\u00e9\\q\" }}", "{{ [1, 2, 3][-1] }}", "{{ 'héllo'[1] }}",
    "{{ 'héllo'[1:3] }}", "{{ 'hello'[::-1] }}", "{{ 'hello'[-3:] }}", "{{ 'hello'[:-9] }}|{{ 'hello'[9:] }}|{{ 'hello'[4:0:-2] }}",
    "{{ [1,2,3,4][1:3] | join('-') }}", "{{ [1,2,3,4][::2] | tojson }}", "{{ {'a': 1, 'b': [true, none]} | tojson }}",
    "{{ {'a': {'b': [1, {}], 'c': []}} | tojson(indent=2) }}", "{{ 'é\"\\n\\\\/<>&' | tojson }}", "{{ missing }}|{{ missing is defined }}",
    "{{ missing.member }}", "{{ missing + 'a' }}", "{{ messages[99] }}", "{{ messages[0].nothing is undefined }}", "{{ messages[99].role }}",
    "{{ messages[0]['role'] }} {{ messages[0].role }}", "{{ 'a' if false }}|{{ 'a' if true else 'b' }}|{{ 'a' if 0 else 'b' if '' else 'c' }}",
    "{{ not true or true and false }}", "{{ 'x' or 'y' }} {{ '' or 'y' }} {{ 'x' and 'y' }}", "{{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }}",
    "{{ 'a' < 'b' }} {{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' != 'a' }} {{ [1] == [1] }}", "{{ 'ell' in 'hello' }} {{ 3 not in [1, 2] }}",
    "{{ 'role' in messages[0] }} {{ 'tool_calls' in messages[0] }}", "{{ not 1 in [1] }}", "{% if not messages is defined %}a{% else %}b{% endif %}",
    "{{ none is none }} {{ 1 is number }} {{ 'a' is string }} {{ {} is mapping }} {{ [] is iterable }} {{ 1 is iterable }} {{ 'a' is sequence }}",
    "{{ true is true }} {{ 1 is true }} {{ 3 is eq 3 }} {{ 3 is equalto(4) }} {{ 2 is in [1, 2] }} {{ true is boolean }} {{ 1.5 is integer }}",
    "{{ ' a b ' | trim }}|{{ 'xxaxx' | trim('x') }}|{{ ' a'.lstrip() }}|{{ 'a '.rstrip() }}|{{ 'xay'.strip('xy') }}",
    "{{ 'a,b,c'.split(',') | join('|') }} {{ ' a  b '.split() | join('|') }} {{ 'a,b,c'.split(',', 1) | last }}", "{{ 'abc'.startswith('ab') }}",
    "{{ 'abc'.endswith('bc') }}", "{{ 'aXbX'.replace('X', '--') }} {{ 'aXbX' | replace('X', '') }}", "{{ 'AbC' | lower }} {{ 'aé' | upper }}",
    "{{ 'hELLO' | capitalize }}", "{{ 'abc' | length }} {{ [1, 2] | length }} {{ 'é🦙' | count }}", "{{ [3, 1] | first }} {{ [3, 1] | last }}",
    "{{ missing | default('d') }} {{ '' | default('d') }}| {{ '' | default('d', true) }} {{ missing | d('e') }}", "{{ '12' | int + 1 }} {{ 'x' | int }}",
    "{% for k, v in {'a': 1, 'b': 2} | items %}{{ k }}={{ v }}{% if not loop.last %}, {% endif %}{% endfor %}", "{{ {'a': 1}.get('b', 5) }} {{ {'a': 1}.get('a') }}",
    "{% for k, v in {'a': 1}.items() %}{{ k ~ v }}{% endfor %}{{ {'x': 1, 'y': 2}.keys() | join }}", "{% for x in 'añ' %}{{ x }}.{% endfor %}",
    "{% for x in range(3) %}{{ x }}{% endfor %}{% for x in range(5, 1, -2) %}{{ x }}{% endfor %}",
    "{% for x in [1,2,3,4] if x % 2 == 0 %}{{ loop.index }}:{{ x }} {% else %}none{% endfor %}", "{% for x in [] %}a{% else %}none{% endfor %}",
    "{% for x in missing %}a{% else %}none{% endfor %}", "{% for x in [1, 2] %}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.previtem }}{{ loop.nextitem }} {% endfor %}",
    "{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}", "{% if true %}{% set y = 2 %}{% endif %}{{ y }}",
    "{% for i in [1] %}{% for j in [1, 2] %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}", "{% set a, b = [1, 2] %}{{ a }}{{ b }}",
    "{{ [[1, 'a'], [2, 'b']] | map(attribute='0') | join }}", "{{ ['a', 'b'] | reject('equalto', 'a') | join }}{{ [0, 1, '', 'x'] | select | join }}",
    "{{ messages | rejectattr('role', 'eq', 'user') | map(attribute='role') | join(' ') }}", "{{ messages | selectattr('content') | list | length }}",
    "a\n{% if true %}\nb\n{% endif %}\nc\n", "  {% if true %} x {% endif %}  \n", "a {%- if true %} b {%- endif %} c", "a {{- 'b' -}} c\n\n", "x\n  {{ 'y' }}\n",
    "x\n\t {# c #}\ny", "x {# c -#}  \n y", "  {%- if true -%}  z  {%- endif -%}  ", "  {%+ if true +%}\nq{% endif %}", "{{ '%}' }}{{ '}}' }}{{ {'a': {'b': 1}}.a.b }}",
    "\r\na\r\n{% if true %}\r\nb{% endif %}\r\n", "\n\n", "{{ 'a\nb' }}", "{{ messages[0].content | length }}", "{{ (1, ) | length }}", "{{ strftime_now is defined }}",
    "{{ raise_exception('no') }}", "{{ 1 / 0 }}", "{{ 'a' + 1 }}", "{{ 'a' < 1 }}", "{% if %}", "{% endif %}", "{{ 1 +", "{{ }}", "{% for x in y %}", "{{ 'abc }}", "{{ (1 }}",
    "{{ [1, 2 }}", "{% elif x %}", "{{ a b }}", "{{ 1 | nofilter }}", "{{ 1 is notest }}", "{% notag %}", "{{ - 3 }} {{ +3 }} {{ 3 - -2 }}", "{{ -3 | string }}", "{{ 1_000 }}",
    "{{ 'a' * 3 }}", "{{ [1] + [2] | list }}", "{{ 'x' is defined and not missing }}", "{{ messages is defined and messages | length > 1 }}", "{{ tools is none }} {{ tools is defined }}",
    "{{ 'a'.upper().lower() | upper }}", "{{ true }} {{ True }} {{ none }} {{ None }}", "{{ namespace(a=1).a }}", "{% set n = namespace() %}{% for i in [1,2] %}{% set n.last = i %}{% endfor %}{{ n.last }}",
    "{% set q.x = 1 %}", "{{ 10 // 3 * 3 + 10 % 3 }}", "{{ 'a' ~ 'b' | upper }}", "{{ ('a' ~ 'b') | upper }}", "{{ 2 ~ 3 * 4 }}", "{{ messages[0]['content'][:4] }}",
]
# Python writes the bounds of a range, complex numbers and addresses of objects; here they are errors.
UNSUPPORTED = ["range(0", "j)", "0j", " at 0x", "<LoopContext"]


class Generation(Extension):
    """The tag that marks what an assistant says, as transformers defines it."""
    tags = {"generation"}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(lineno)

    def _render(self, caller):
        return caller()


def fnv(data):
    """FNV-1a over bytes, as the tests do it."""
    value = 0xCBF29CE484222325
    for item in data:
        value = ((value ^ item) * 0x100000001B3) & (2**64 - 1)
    return value


def environment():
    def raise_exception(message):
        raise TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    result = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    result.filters["tojson"] = tojson
    result.globals["raise_exception"] = raise_exception
    result.globals["strftime_now"] = lambda format: format
    return result


def render(source, conversation, add_generation_prompt, variables={}):
    messages = [{"role": role, "content": content} for role, content in conversation]
    try:
        return environment().from_string(source).render(
            messages=messages, add_generation_prompt=add_generation_prompt, bos_token="<s>", eos_token="</s>",
            **{"tools": None, "documents": None, **variables})
    except Exception:  # whatever goes wrong, the template fails
        return None


def all_rendered(source):
    return [render(source, conversation, prompt) for conversation in CONVERSATIONS for prompt in (False, True)]


def generated():
    """Several hundred random templates, none of them long."""
    templates = [t for t in template_generator.templates(11, 1200) if len(t) < 300]
    return [[t, render(t, CONVERSATIONS[0], True, template_generator.VARIABLES)] for t in templates]


def main(shared):
    hashes = {}
    if shared:
        folder = os.path.join(shared, "vectors", "templates")
        sources = {name: open(os.path.join(folder, name), newline="").read() for name in sorted(os.listdir(folder))}
        for name in ("tiny-model", "vectors/phi3"):
            with open(os.path.join(shared, name, "tokenizer_config.json")) as file:
                sources[name] = json.load(file)["chat_template"]
        for name, source in sources.items():
            hashes[name] = [None if text is None else f"{fnv(text.encode()):016x}" for text in all_rendered(source)]
    value = {
        "conversations": CONVERSATIONS, "templates": TEMPLATES,
        "snippets": [[s, render(s, CONVERSATIONS[0], True)] for s in SNIPPETS + constructs.SNIPPETS],
        "generated": [row for row in generated() if not any(text in (row[1] or "") for text in UNSUPPORTED)],
        "rendered": {name: all_rendered(source) for name, source in TEMPLATES.items()}, "hashes": hashes}
    with open(os.path.join(HERE, "chat-cases.json"), "w", encoding="utf-8") as file:
        lines = []
        for key, entry in value.items():
            rows = [json.dumps(row) for row in entry] if isinstance(entry, list) else [
                f"{json.dumps(name)}:{json.dumps(row)}" for name, row in entry.items()]
            brackets = "[]" if isinstance(entry, list) else "{}"
            lines.append(f"{json.dumps(key)}:{brackets[0]}\n" + ",\n".join(rows) + brackets[1])
        file.write("{" + ",\n".join(lines) + "}\n")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
