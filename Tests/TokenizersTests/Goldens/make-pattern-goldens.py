#!/usr/bin/env python3
"""Writes pattern-cases.json: where regular expressions cut texts, as Python's `tokenizers` (Oniguruma) and
`regex` (for tiktoken's expressions) have it.

texts     what is cut
models    the expressions of published models, one after the other, and for each text the lengths in bytes of
          its pieces
samples   for each of them FNV-1a hashes of the lengths over every kind of sample text
random    expressions made at random: expression, text, lengths
behaviors expression, behaviour, invert, text, pieces

Usage: make-pattern-goldens.py [COUNT]    (written with tokenizers 0.23.3 and regex 2026.11.19)
"""
import json
import os
import random
import sys

import regex
from tokenizers import Regex, pre_tokenizers

import sample_text

HERE = os.path.dirname(os.path.abspath(__file__))
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
WORDS = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s" + TAIL
CASED = (r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + "+%s|" + r"[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER + "*%s|")
SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
MODELS = {
    "gpt2": [GPT2],
    "llama3": [WORDS % "{1,3}"],
    "qwen2": [WORDS % ""],
    "qwen35": [CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
               r"|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "o200k": [CASED % (CONTRACTIONS + "?", CONTRACTIONS + "?") + r"\p{N}{1,3}|" + SYMBOLS],
    "tekken": [CASED % ("", "") + r"\p{N}|" + SYMBOLS],
    "deepseek-v3": [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
                    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
                    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}"],
    "smollm": [r"\p{N}", GPT2],
    "kimi-k2": [r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
                r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+" + CONTRACTIONS + r"?|[^\r\n\p{L}\p{N}]?"
                r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
                + CONTRACTIONS + r"?|\p{N}{1,3}" + TAIL],
    "bloom": [r" ?[^(\s|[.,!?…。，、।۔،])]+"],
}
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$"
          r"|\s*[\r\n]|\s+(?!\S)|\s")
TEXTS = [
    "", " ", "Hello  world, it's WE'LL'S 12345 67 x\u0301y\n\n  \tq\r\n end ", "日本語の、テスト。한국어 123", "It'\u017f K\u212a",
    "HTTPServerError ǅabc Ünïcödé ʰx ٣٤٥६", "if (x_1 != y->z) { return \"a\\n\"; } // ok\n\n\n", "🦙👨‍👩‍👧 $€+~^ „q“ –—",
    "   leading\n \n trailing   ", "a/b\r\n/c //\n\n", "\u00a0\u3000\u2028x\u0085", "'S'T'Re'VE 'll'D don't",
]
BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]


def pieces(expressions, text):
    stages = [pre_tokenizers.Split(Regex(e), "isolated") for e in expressions]
    return [p for p, _ in pre_tokenizers.Sequence(stages).pre_tokenize_str(text)]


def lengths(parts):
    return [len(p.encode()) for p in parts]


def random_expression(generator, depth=0):
    """An expression that no part of is repeated where it may match nothing."""
    atoms = ["a", "b", "c", " ", ".", r"\d", r"\s", r"\w", r"\S", "[ab]", "[^a]", r"[^\s1]", r"\p{L}", r"[\p{Lu}1]", "é",
             "[a-c&&[^b]]", r"\n", "(?i:A)", "(?i:[b-c])", r"\p{^L}", r"[^\p{Ll}]", "日", r"[\w-]"]

    def atom():
        if depth < 3 and generator.random() < 0.3:
            inner = random_expression(generator, depth + 1)
            return "(?:" + inner + ")" if generator.random() < 0.7 else "(" + inner + ")"
        return generator.choice(atoms)

    def part():
        chance = generator.random()
        if chance < 0.08 and depth < 2:
            return generator.choice(["(?=", "(?!"]) + random_expression(generator, depth + 1) + ")"
        if chance < 0.11:
            return generator.choice(["(?<=a)", "(?<!a)", "(?<=b|ac)", r"\b", r"\B", "^", "$", r"\A", r"\z", r"\Z"])
        piece = atom()
        count = generator.choice(["", "", "", "*", "+", "?", "{1,2}", "{2}", "{0,3}", "{2,}", "+?", "*?", "??", "{1,3}?", "{1,3}+"])
        if count in ("", "?", "??", "{1,2}", "{2}", "{0,3}") or not piece.startswith("("):
            possessive = not piece.startswith("(") and count in ("*", "+", "?") and generator.random() < 0.2
            return piece + count + ("+" if possessive else "")
        # Repeated without end: only what takes something.
        return "(?:" + generator.choice(atoms) + piece + ")" + count
    sequences = ["".join(part() for _ in range(generator.randint(1, 4))) for _ in range(generator.randint(1, 3))]
    return "|".join(sequences)


def random_text(generator):
    alphabet = generator.choice(["ab", "abc 1", "aAbBc  1\n", "aéE日本 \n.-_1", "ab\n"])
    return "".join(generator.choice(alphabet) for _ in range(generator.randint(0, 24)))


def main(count):
    generator = random.Random(20261130)
    models, samples = {}, {}
    for name, expressions in MODELS.items():
        models[name] = [expressions, [lengths(pieces(expressions, t)) for t in TEXTS]]
        samples[name] = {}
        for kind in sample_text.KINDS:
            found = lengths(pieces(expressions, sample_text.make(kind, 20_000)))
            samples[name][kind] = [len(found), f"{sample_text.fnv(found):016x}"]
    models["cl100k"] = [[CL100K], [lengths(regex.findall(CL100K, t)) for t in TEXTS]]
    samples["cl100k"] = {}
    for kind in ("prose", "code", "json", "chinese"):  # the other kinds differ by versions of Unicode
        found = lengths(regex.findall(CL100K, sample_text.make(kind, 20_000)))
        samples["cl100k"][kind] = [len(found), f"{sample_text.fnv(found):016x}"]

    expressions = []
    while len(expressions) < count:
        expression, text = random_expression(generator), random_text(generator)
        try:
            expressions.append([expression, text, lengths(pieces([expression], text))])
        except BaseException:  # a panic of the library too
            continue  # Oniguruma refuses some, and gives some up
    behaviors = []
    for expression, text in [(r"\s+", " a  b c "), (r"\d", "1a22b3"), ("a|b", "aabxba"), ("x*", "axxb"), (r"(?=b)", "abcb")]:
        for behavior in BEHAVIORS:
            for invert in (False, True):
                split = pre_tokenizers.Split(Regex(expression), behavior, invert)
                behaviors.append([expression, "".join(w.title() for w in behavior.split("_")), invert, text,
                                  [p for p, _ in split.pre_tokenize_str(text)]])
    data = {"texts": TEXTS, "models": models, "samples": samples, "random": expressions, "behaviors": behaviors}
    with open(os.path.join(HERE, "pattern-cases.json"), "w", encoding="utf-8") as file:
        groups = []
        for key, value in data.items():
            lines = ([f"{json.dumps(k)}:{json.dumps(v, ensure_ascii=False, separators=(',', ':'))}" for k, v in value.items()]
                     if isinstance(value, dict) else [json.dumps(v, ensure_ascii=False, separators=(",", ":")) for v in value])
            brackets = "{}" if isinstance(value, dict) else "[]"
            groups.append(f"{json.dumps(key)}:{brackets[0]}\n" + ",\n".join(lines) + brackets[1])
        file.write("{" + ",\n".join(groups) + "}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
