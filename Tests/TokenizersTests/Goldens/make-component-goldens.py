#!/usr/bin/env python3
"""Writes component-cases.json: small tokenizers, each with one component of tokenizer.json, and the ids that Python's
`tokenizers` gives texts.

Every pair of common characters is a piece, so that the ids show where a text was cut; other characters are bytes.

Usage: make-component-goldens.py      (written with tokenizers 0.23.3)
"""
import json
import os
import random

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

HERE = os.path.dirname(os.path.abspath(__file__))
ALPHABET = "abAB1 .,-_\u00e9\u2581"
TEXTS = [
    "", "ab ab", " a  b ", "aB.bA,-_ab 11a1 b", "\u00e9a e\u0301b \u212b\ufb01 \uff21\u00bd \uac00\u1100\u1161", "\ufdfa x\u0323\u0307y", "\u0130I\u1e9e\u01c5\u03a3",
    "a\u00a0b\u3000a\nb\t", "a..b--a,,", "\u3001a\u3002b\u00bfa$a+b", "\u2581a\u2581b", "a\u0301\u0327b\u093e", "  ", "aaa  bbb   111",
]


def components():
    n, p = normalizers, pre_tokenizers
    for name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"):
        yield name, dict(normalizer=getattr(n, name)())
    yield "NFD, StripAccents, Lowercase", dict(normalizer=n.Sequence([n.NFD(), n.StripAccents(), n.Lowercase()]))
    yield "Strip", dict(normalizer=n.Strip())
    yield "Strip left", dict(normalizer=n.Strip(left=True, right=False))
    yield "Replace by expression", dict(normalizer=n.Sequence([n.Replace(Regex(r"\s+"), "_"), n.Replace(Regex("[0-9]{2,}"), "1")]))
    yield "Prepend and Replace", dict(normalizer=n.Sequence([n.Prepend("\u2581"), n.Replace(" ", "\u2581")]))
    for name in ("Whitespace", "WhitespaceSplit", "BertPreTokenizer", "Punctuation"):
        yield name, dict(pre_tokenizer=getattr(p, name)())
    for behavior in ("removed", "contiguous", "merged_with_previous", "merged_with_next"):
        yield f"Punctuation {behavior}", dict(pre_tokenizer=p.Punctuation(behavior))
        yield f"Split literal {behavior}", dict(pre_tokenizer=p.Split("a", behavior))
        yield f"Split inverted {behavior}", dict(pre_tokenizer=p.Split(Regex("[ab]+"), behavior, invert=True))
    yield "Digits", dict(pre_tokenizer=p.Digits(individual_digits=True))
    yield "Digits in runs", dict(pre_tokenizer=p.Digits(individual_digits=False))
    yield "CharDelimiterSplit", dict(pre_tokenizer=p.CharDelimiterSplit("-"))
    yield "Metaspace", dict(pre_tokenizer=p.Metaspace())
    yield "Metaspace first", dict(pre_tokenizer=p.Metaspace(prepend_scheme="first", split=False))
    yield "Whitespace, Digits", dict(pre_tokenizer=p.Sequence([p.WhitespaceSplit(), p.Digits(individual_digits=True)]))


def pair_model():
    vocabulary = {f"<0x{byte:02X}>": byte for byte in range(256)}
    for character in ALPHABET:
        vocabulary.setdefault(character, len(vocabulary))
    merges = []
    for left in ALPHABET:
        for right in ALPHABET:
            vocabulary.setdefault(left + right, len(vocabulary))
            merges.append((left, right))
    return models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True)


def unigram_model(byte_fallback):
    generator = random.Random(3)
    pieces = [("<unk>", 0.0)] + [(f"<0x{byte:02X}>", -9.0) for byte in range(256)]
    words = {c for c in ALPHABET[:-1]} | {"".join(generator.choice("abA1 .") for _ in range(generator.randint(2, 5))) for _ in range(120)}
    pieces += [(w, -round(generator.random() * 8 + len(w) / 4, 3)) for w in sorted(words)]
    return models.Unigram(pieces, 0, byte_fallback)


def main():
    generator = random.Random(7)
    texts = TEXTS + ["".join(generator.choice("abAB1 .,-_\u00e9\u65e5\n") for _ in range(30)) for _ in range(6)]
    cases = []
    for name, parts in components():
        tokenizer = Tokenizer(pair_model())
        for part, value in parts.items():
            setattr(tokenizer, part, value)
        settings = {part: json.loads(tokenizer.to_str())[part] for part in parts}
        cases.append([name, json.dumps(settings, ensure_ascii=False), [tokenizer.encode(t).ids for t in texts]])
    unigram = []
    for byte_fallback in (False, True):
        tokenizer = Tokenizer(unigram_model(byte_fallback))
        tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
        unigram.append([tokenizer.to_str(), [tokenizer.encode(t).ids for t in texts]])
    base = json.loads(Tokenizer(pair_model()).to_str())
    with open(os.path.join(HERE, "component-cases.json"), "w", encoding="utf-8") as file:
        rows = ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases)
        file.write('{"texts":' + json.dumps(texts, ensure_ascii=False) + ',\n"model":'
                   + json.dumps(json.dumps(base["model"], ensure_ascii=False, separators=(",", ":")), ensure_ascii=False)
                   + ',\n"cases":[\n' + rows + '],\n"unigram":'
                   + json.dumps(unigram, ensure_ascii=False, separators=(",", ":")) + "}\n")


if __name__ == "__main__":
    main()
