"""Turns a folder of text files into what training reads.

    python prepare.py --texts BOOKS --output DATA [--tokenizer tokenizer.json]

Writes DATA/tokenizer.json (given or trained here: byte-level BPE, one digit a token),
DATA/tokens.npy (uint16, files in a fixed shuffled order, <|endoftext|> after each) and
DATA/words.json (words and names for synthetic facts; a tenth is reserved for evaluation).
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import random
import re
import shutil
import zlib

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train_tokenizer(texts, vocabulary=8192, characters_per_text=300_000):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator((text[:characters_per_text] for text in texts), trainer)
    return tokenizer


def count_words(text):
    lower = collections.Counter(re.findall(r"(?<= )[a-z]{3,12}(?=[ ,.;])", text))
    names = collections.Counter(re.findall(r"(?<=[a-z,] )[A-Z][a-z]{2,10}(?=[ ,.;])", text))
    return lower, names


def is_reserved(word):
    """A tenth of the words never occurs in training facts, so that evaluation keys are new."""
    return zlib.crc32(word.encode()) % 10 == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--tokenizer")
    options = parser.parse_args()
    output = pathlib.Path(options.output)
    output.mkdir(parents=True, exist_ok=True)

    paths = sorted(pathlib.Path(options.texts).rglob("*.txt"))
    random.Random(0).shuffle(paths)
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in paths]
    print(f"{len(texts)} files, {sum(map(len, texts)) / 1e6:.1f} M characters", flush=True)

    if options.tokenizer:
        shutil.copyfile(options.tokenizer, output / "tokenizer.json")
    else:
        train_tokenizer(texts).save(str(output / "tokenizer.json"))
    tokenizer = Tokenizer.from_file(str(output / "tokenizer.json"))
    end = tokenizer.token_to_id(SPECIAL_TOKENS[0])
    # A special token spelled out in a text stays text.
    clean = [text.replace("<|", "< |") for text in texts]
    encoded = tokenizer.encode_batch(clean, add_special_tokens=False)
    tokens = np.concatenate([np.array(e.ids + [end], dtype=np.uint16) for e in encoded])
    np.save(output / "tokens.npy", tokens)
    print(f"{len(tokens) / 1e6:.1f} M tokens", flush=True)

    words, names = collections.Counter(), collections.Counter()
    with concurrent.futures.ProcessPoolExecutor(min(16, os.cpu_count())) as pool:
        for lower, upper in pool.map(count_words, texts, chunksize=4):
            words.update(lower)
            names.update(upper)
    words = [word for word, count in words.most_common(30_000) if count >= 5]
    names = [
        name for name, count in names.most_common(6_000)
        if count >= 5
    ]
    pools = {
        "words": [word for word in words if not is_reserved(word)],
        "names": [name for name in names if not is_reserved(name)],
        "reserved_words": [word for word in words if is_reserved(word)],
        "reserved_names": [name for name in names if is_reserved(name)],
    }
    (output / "words.json").write_text(json.dumps(pools))
    print({name: len(pool) for name, pool in pools.items()}, flush=True)


if __name__ == "__main__":
    main()
