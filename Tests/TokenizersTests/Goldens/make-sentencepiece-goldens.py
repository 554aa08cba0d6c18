#!/usr/bin/env python3
"""Writes small SentencePiece models and what Python's `sentencepiece` makes of texts with them.

sentencepiece/NAME/tokenizer.model   trained here on text made by sample_text.py
sentencepiece-cases.json             the texts; for each model their ids, and what these decode to

Usage: make-sentencepiece-goldens.py      (written with sentencepiece 0.2.3)
"""
import io
import json
import os
import tempfile

import sentencepiece

import sample_text

HERE = os.path.dirname(os.path.abspath(__file__))
TEXTS = [
    "", " ", "   ", "a", " a", "a ", "Hello world", "  Hello   world  ", "The quick brown fox, 12345 times.\n", "\tx\n\ny",
    "日本語のテキスト。", "é e\u0301 ﬁne Ａ１", "🦙🦙 llama", "aaaaaaaaaaaaaaaaaaaa", "a<sep>b", "a <sep> b", "<sep>", "<sep> a  <sep>", "\u2581a\u2581b",
    "ab<0x0A>c", "the house of the thought", "\u00a0x\u3000y", "x" * 100, "…—“quoted”", "\u0000\u0001",
]
KINDS = ("prose", "code", "json", "chinese", "unicode")
MODELS = {
    # Llama 2's settings.
    "bpe": dict(model_type="bpe", vocab_size=600, byte_fallback=True, normalization_rule_name="identity",
                remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True),
    # Gemma's: no dummy blank, user-defined symbols.
    "bpe-symbols": dict(model_type="bpe", vocab_size=500, byte_fallback=True, normalization_rule_name="identity",
                        remove_extra_whitespaces=False, add_dummy_prefix=False, user_defined_symbols=["<sep>"]),
    # T5's, with a table of replacements of our own, since nmt_nfkc has 240 KB.
    "unigram": dict(model_type="unigram", vocab_size=300, hard_vocab_limit=False, user_defined_symbols=["<sep>"]),
    "unigram-bytes": dict(model_type="unigram", vocab_size=420, hard_vocab_limit=False, byte_fallback=True,
                          normalization_rule_name="identity", remove_extra_whitespaces=True),
}
RULES = "FB01\t66 69\n65 301\tE9\n3000\t20\nA0\t20\n9\t20\nA\t20\nD\t20\nFF21\t41\nFF11\t31\n2026\t2E 2E 2E\n1\t\n"


def train(name, options):
    lines = [line for kind in ("prose", "code", "json") for line in sample_text.make(kind, 40_000, seed=7).split("\n") if line]
    lines += sample_text.make("chinese", 600, seed=7).split("\n")
    model = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        rules.write(RULES)
        rules.flush()
        if "normalization_rule_name" not in options:
            options = dict(options, normalization_rule_tsv=rules.name)
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=model, character_coverage=0.98, num_threads=1, minloglevel=2, **options)
    directory = os.path.join(HERE, "sentencepiece", name)
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "tokenizer.model"), "wb") as file:
        file.write(model.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def main():
    cases = {"texts": TEXTS, "models": {}, "hashes": {}}
    for name, options in MODELS.items():
        processor = train(name, options)
        cases["models"][name] = [[processor.encode(t), processor.decode(processor.encode(t))] for t in TEXTS]
        cases["hashes"][name] = {}
        for kind in KINDS:
            ids = processor.encode(sample_text.make(kind, 20_000))
            cases["hashes"][name][kind] = [len(ids), f"{sample_text.fnv(ids):016x}"]
    with open(os.path.join(HERE, "sentencepiece-cases.json"), "w", encoding="utf-8") as file:
        json.dump(cases, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
