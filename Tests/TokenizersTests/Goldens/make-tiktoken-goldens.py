#!/usr/bin/env python3
"""Writes what Python's `tiktoken` makes of texts with a small set of ranks.

tiktoken/tokenizer.model         ranks, from the pieces of small/words-three-digits.json
tiktoken/tokenizer_config.json   control tokens, as GLM-4's names them
tiktoken-cases.json              texts and their ids; hashes of the ids of long sample texts

Usage: make-tiktoken-goldens.py     (written with tiktoken 0.14; make-goldens.py comes first)
"""
import base64
import importlib
import json
import os

import tiktoken

import sample_text

HERE = os.path.dirname(os.path.abspath(__file__))
texts = importlib.import_module("make-goldens").TEXTS
CONTROL = ["<|endoftext|>", "<|user|>", "<|assistant|>"]


def ranks():
    """The pieces as bytes: those of one byte first, then in the order in which they were learned."""
    with open(os.path.join(HERE, "small", "words-three-digits.json"), encoding="utf-8") as file:
        vocabulary = json.load(file)["model"]["vocab"]
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    of_character = {chr(byte): byte for byte in printable}
    of_character |= {chr(0x100 + index): byte for index, byte in enumerate(others)}
    pieces = [bytes(of_character[c] for c in text)
              for text, _ in sorted(vocabulary.items(), key=lambda item: item[1])]
    pieces.sort(key=lambda piece: len(piece) > 1)
    return {piece: rank for rank, piece in enumerate(pieces)}


def main():
    mergeable = ranks()
    folder = os.path.join(HERE, "tiktoken")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "tokenizer.model"), "wb") as file:
        for piece, rank in mergeable.items():
            file.write(base64.b64encode(piece) + b" %d\n" % rank)
    control = {text: len(mergeable) + index for index, text in enumerate(CONTROL)}
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as file:
        json.dump({"added_tokens_decoder": {
            str(id): {"content": text, "lstrip": False, "normalized": False, "rstrip": False,
                      "single_word": False, "special": True} for text, id in control.items()},
            "eos_token": "<|endoftext|>", "do_lower_case": False}, file, indent=1)
        file.write("\n")
    encoding = tiktoken.Encoding(
        "small", pat_str=importlib.import_module("make-goldens").WORDS % "{1,3}",
        mergeable_ranks=mergeable, special_tokens=control)
    cases = [[text, encoding.encode(text, allowed_special="all")]
             for text in texts + ["<|user|>hello<|assistant|> world<|endoftext|>"]]
    hashes = {}
    for kind in sample_text.KINDS:
        ids = encoding.encode(sample_text.make(kind, 20_000), allowed_special="all")
        hashes[kind] = [len(ids), f"{sample_text.fnv(ids):016x}"]
    with open(os.path.join(HERE, "tiktoken-cases.json"), "w", encoding="utf-8") as file:
        lines = ",\n".join(json.dumps(case) for case in cases)
        file.write(f'{{"cases":[\n{lines}],\n"hashes":{json.dumps(hashes)}}}\n')


if __name__ == "__main__":
    main()
