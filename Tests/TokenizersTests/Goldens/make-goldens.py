#!/usr/bin/env python3
"""Writes what Python's `tokenizers` makes of texts, for the tests to compare with.

small/*.json        small tokenizers, trained here on text made by sample_text.py, that cover the stages
small-cases.json    texts; for each small tokenizer what they become, and what that decodes to
hashes.json         for each small tokenizer, and for each real one found in the shared data: FNV-1a hashes
                    of the ids of every kind of sample text, and of the decoded text of random ids

Usage: make-goldens.py [SHARED]     (SHARED holds vectors/ and tiny-model/; written with tokenizers 0.23.3)
"""
import json
import os
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import sample_text

HERE = os.path.dirname(os.path.abspath(__file__))
WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
CONTROL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|user|>", "<|end|>"]
FIRST_COUNT, OTHER_COUNT, SMALL_COUNT = 1_000_000, 200_000, 20_000
TEXTS = [
    "", " ", "  ", "\n", " \n \t", "Hello world", " hi", "hi ", "It's WE'LL don't 'S 'ſx", "a1234567 12", "e\u0301 \u212b \ud55c",
    "\u1112\u1161\u11ab", "a\u0327\u0301b", "日本語、中文。", "🦙👨‍👩‍👧", "<|im_start|>user\nhi<|im_end|>\n", "<|user|>\n hi  <|end|> x</s> y",
    "x<s>y", "[MASK]", "a[MASK]", "a [MASK] b", "[MASK][MASK]", "é[MASK]", "\u2581a\u2581\u2581b", "a <EXTRA> b<extra>c", "\u0001\u007f\u0080",
    "if x:\n\n    return  {'a': 0x1F}\r\n", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "<|im_", "<|im_end|", "<<|end|>|>", "\u00a0\u3000x", "the of\u2028and\u0085to", "\ud7a3\u11a8", "<0x0A>", "'", "''s", "?'t", "\n\n'll",
]


def corpus():
    return [sample_text.make(kind, 60_000, seed=7) for kind in ("prose", "code", "json")] + [
        sample_text.make("chinese", 10_000, seed=7), ("a" * 99 + "\n" + "-" * 50 + "\n") * 20]


def train(tokenizer, alphabet=(), size=420, limit=None, unknown=None, special=()):
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=list(alphabet), show_progress=False, **({"limit_alphabet": limit} if limit else {}),
                                  special_tokens=list(special))
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def edited(tokenizer, **model):
    data = json.loads(tokenizer.to_str())
    data["model"].update(model)
    return Tokenizer.from_str(json.dumps(data))


def small_tokenizers():
    alphabet = pre_tokenizers.ByteLevel.alphabet()

    llama = Tokenizer(models.BPE())
    llama.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(WORDS % "{1,3}"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    llama.decoder = decoders.ByteLevel()
    train(llama, alphabet, size=520)
    # Words that merging would not give, so that taking them whole shows.
    vocabulary = json.loads(llama.to_str())["model"]["vocab"]
    for word in ("hello", "Ġworld", "thought", "house"):
        vocabulary.setdefault(word, len(vocabulary))
    llama = edited(llama, ignore_merges=True, vocab=vocabulary)
    llama.add_special_tokens(CONTROL)
    begin = llama.token_to_id("<s>")
    llama.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[
            ("<s>", begin), ("</s>", llama.token_to_id("</s>"))])])
    yield "words-three-digits", llama

    qwen = Tokenizer(models.BPE())
    qwen.normalizer = normalizers.NFC()
    qwen.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(WORDS % ""), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    qwen.decoder = decoders.ByteLevel()
    train(qwen, alphabet)
    qwen.add_special_tokens(CONTROL)
    qwen.add_tokens([AddedToken("<EXTRA>", normalized=False, rstrip=True), AddedToken("e\u0301\u0301", normalized=True)])
    yield "words-nfc", qwen

    gpt2 = Tokenizer(models.BPE())
    gpt2.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)
    gpt2.decoder = decoders.ByteLevel()
    train(gpt2, alphabet)
    gpt2.add_special_tokens([AddedToken("[MASK]", lstrip=True, normalized=False)])
    gpt2.add_tokens([AddedToken("<extra>", single_word=True), AddedToken("ŭ日", normalized=False)])
    yield "gpt2", gpt2

    digits = Tokenizer(models.BPE())
    digits.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split("the", "merged_with_previous"), pre_tokenizers.Split("of", "contiguous"),
        pre_tokenizers.Split("and", "isolated"), pre_tokenizers.Digits(individual_digits=False),
        pre_tokenizers.Split("a", "merged_with_next"), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    digits.decoder = decoders.ByteLevel()
    train(digits, alphabet)
    digits.add_tokens([AddedToken("[MASK]", single_word=True, lstrip=True, rstrip=True), AddedToken(" x")])
    yield "digits-and-splits", digits

    bytes_named = [f"<0x{byte:02X}>" for byte in range(256)]
    phi = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    phi.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    train(phi, limit=60, size=700, special=["<unk>", "<s>", "</s>"] + bytes_named)
    phi.pre_tokenizer = None
    phi.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    phi.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
                                     decoders.Strip(" ", 1, 0)])
    data = json.loads(phi.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]
    phi = Tokenizer.from_str(json.dumps(data))
    phi.add_special_tokens([AddedToken(t, rstrip=True, normalized=False) for t in CONTROL[2:]])
    phi.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    yield "sentencepiece-byte-fallback", phi

    metaspace = Tokenizer(models.BPE(unk_token="<unk>"))
    metaspace.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    metaspace.decoder = decoders.Metaspace(prepend_scheme="first")
    train(metaspace, limit=50, size=400, special=["<unk>"])
    metaspace.add_special_tokens(CONTROL[:2] + [AddedToken("[MASK]", lstrip=True)])
    yield "metaspace-unknown", metaspace

    # Pieces that hold the visible blank inside: nothing may be cut at it. No decoder at all, unknown fused.
    across = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    across.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(" ", "\u2581")])
    train(across, limit=45, size=300, special=["<unk>"])
    across.add_tokens([AddedToken("the\u2581x", normalized=True, single_word=True)])
    yield "across-words", across


def random_ids(size, seed):
    generator = sample_text.SampleText(seed)
    return [generator.pick(size) for _ in range(12)]


def hashes(tokenizer, size_of):
    result = {}
    for kind in sample_text.KINDS:
        ids = tokenizer.encode(sample_text.make(kind, size_of(kind))).ids
        result[kind] = [len(ids), f"{sample_text.fnv(ids):016x}"]
    size = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
    for name, skip in (("decoded", True), ("decoded with special tokens", False)):
        text = "\0".join(tokenizer.decode(random_ids(size, seed), skip_special_tokens=skip) for seed in range(1000))
        result[name] = [size, f"{sample_text.fnv(text.encode()):016x}"]
    return result


def case(tokenizer, text):
    """[ids with the template, ids without, those with special tokens as text, text, text with special tokens]."""
    def ids(**options):
        return " ".join(map(str, tokenizer.encode(text, **options).ids))

    full, plain = ids(), ids(add_special_tokens=False)
    tokenizer.encode_special_tokens = True
    as_text = ids(add_special_tokens=False)
    tokenizer.encode_special_tokens = False
    decode = [tokenizer.decode(list(map(int, full.split())), skip_special_tokens=skip) for skip in (True, False)]
    return [full, plain, as_text] + decode


def write(name, value):
    """JSON with one line for each entry of the second level."""
    def compact(value):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    with open(os.path.join(HERE, name), "w", encoding="utf-8") as file:
        groups = []
        for key, entries in value.items():
            if isinstance(entries, dict):
                lines = [f"{compact(k)}:{compact(v)}" for k, v in entries.items()]
                groups.append(f"{compact(key)}:{{\n" + ",\n".join(lines) + "}")
            else:
                groups.append(f"{compact(key)}:[\n" + ",\n".join(map(compact, entries)) + "]")
        file.write("{" + ",\n".join(groups) + "}\n")


def main(shared):
    os.makedirs(os.path.join(HERE, "small"), exist_ok=True)
    texts = TEXTS + [sample_text.make("unicode", 100, seed=seed) for seed in range(8)]
    cases, all_hashes = {"texts": texts}, {}
    for name, tokenizer in small_tokenizers():
        with open(os.path.join(HERE, "small", name + ".json"), "w", encoding="utf-8") as file:
            json.dump(json.loads(tokenizer.to_str()), file, ensure_ascii=False, separators=(",", ":"))
            file.write("\n")
        cases[name] = [case(tokenizer, text) for text in texts]
        all_hashes[name] = hashes(tokenizer, lambda kind: SMALL_COUNT)
    write("small-cases.json", cases)
    if shared:
        for name in ("vectors/llama3", "vectors/qwen2", "vectors/phi3", "tiny-model"):
            tokenizer = Tokenizer.from_file(os.path.join(shared, name, "tokenizer.json"))
            large = ("prose", "code", "json", "chinese")
            all_hashes[name] = hashes(tokenizer, lambda kind: FIRST_COUNT if kind in large else OTHER_COUNT)
    write("hashes.json", all_hashes)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
