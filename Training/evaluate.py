"""Measures a checkpoint on held-out books: retrieval by length, and perplexity.

    torchrun --nproc-per-node 4 evaluate.py --model MODEL --data DATA --books HELDOUT \
        --output results.json [--tasks required|public|perplexity ...] [--lengths ...] [--count 100]

A prompt is one string, tokenised as a whole. An answer counts when each of its tokens and the
end-of-turn after it is the most likely one after the right ones before, which is the same as that
greedy decoding gives exactly this answer. Of passages, the share of 20 tokens counts.
"""

import argparse
import json
import os
import pathlib
import random
import zlib

import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer

os.environ.setdefault("COMPILE", "0")  # prompts have many lengths

import questions
from model import Llama


def load_model(directory, device):
    directory = pathlib.Path(directory)
    model = Llama(json.loads((directory / "config.json").read_text()))
    weights = load_file(directory / "model.safetensors")
    model.load_state_dict({name.removeprefix("model."): w.float() for name, w in weights.items()})
    return model.to(device).eval()


class Prompts(torch.utils.data.Dataset):
    """(task, length, number) -> prompt ids, answer ids; nothing but its arguments decides it."""

    def __init__(self, items, options):
        self.items = items
        self.tokenizer = Tokenizer.from_file(str(pathlib.Path(options.model) / "tokenizer.json"))
        self.end = self.tokenizer.token_to_id("<|im_end|>")
        pools = json.loads((pathlib.Path(options.data) / "words.json").read_text())
        self.words, self.names = pools["reserved_words"][:2000], pools["reserved_names"]
        paths = sorted(pathlib.Path(options.books).rglob("*.txt"))
        texts = [path.read_text() for path in paths]
        self.books = [e.ids for e in self.tokenizer.encode_batch(texts, add_special_tokens=False)]

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        task, length, number = self.items[index]
        draw = random.Random(zlib.crc32(f"{task} {length} {number}".encode()))
        question = getattr(questions.Maker(draw, self.words, self.names), task)()
        frame = question.before + "".join(question.needles) + question.after + question.answer
        room = length - len(self.encode(frame)) - 24 - 4 * len(question.needles)
        if question.hay == "passage":
            room -= 80
        hay = self.hay(question, draw, room)
        answer = None
        if question.hay == "passage":
            prompt, answer = self.passage(question, hay, draw)
        else:
            prompt = question.before + self.hide(question, hay, draw) + question.after
        prompt = self.encode(prompt)
        if answer is None:
            answer = self.encode(question.answer) + [self.end]
        else:
            answer = answer[:20]
        assert len(prompt) + len(answer) <= length, (task, length, len(prompt))
        return task, length, prompt, answer

    def hay(self, question, draw, room):
        if question.hay == "noise":
            return questions.NOISE * (room // len(self.encode(questions.NOISE)))
        if question.hay == "list":
            sample = [question.line() for _ in range(40)]
            each = len(self.encode("".join(sample))) / 40
            return [question.line() for _ in range(int(room / each * 0.96))]
        book = [book for book in self.books if len(book) > room]
        book = draw.choice(book)
        start = draw.randrange(len(book) - room)
        text = self.tokenizer.decode(book[start:start + int(room * 0.995)])
        return text[text.find(" ") + 1:]

    def hide(self, question, hay, draw):
        if isinstance(hay, list):
            for needle in question.needles:
                hay.insert(draw.randrange(len(hay) + 1), needle)
            return "".join(hay) + ("}" if question.before.endswith("{\n") else "")
        depths = sorted(draw.random() for _ in question.needles)
        pieces, last = [], 0
        for depth, needle in zip(depths, question.needles):
            place = hay.find(". ", int(depth * len(hay) * 0.99)) + 1
            if question.hay == "noise":
                place = hay.find("\n", int(depth * len(hay) * 0.99)) + 1
            place = max(place, last)
            pieces += [hay[last:place], needle + "\n" if question.hay == "noise" else " " + needle]
            last = place
        return "".join(pieces) + hay[last:].rstrip()

    def passage(self, question, hay, draw):
        """Quotes 20 tokens from a sentence's start; the answer is what the text goes on with."""
        place = hay.find(". ", draw.randrange(int(len(hay) * 0.98))) + 1
        following = self.encode(hay[place:place + 600])
        quote = self.tokenizer.decode(following[:20])
        prompt = question.before + hay.rstrip() + question.after + quote
        return prompt + "<|im_end|>\n<|im_start|>assistant\n", following[20:40]


def collate(rows):
    longest = max(len(prompt) + len(answer) for _, _, prompt, answer in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    for row, (_, _, prompt, answer) in enumerate(rows):
        ids[row, :len(prompt) + len(answer)] = torch.tensor(prompt + answer)
    return rows, ids


@torch.no_grad()
def retrieval(model, device, options, rank, world):
    """{(task, length): [score of each question]} of this rank's share."""
    tasks = [
        task for name in options.tasks if name != "perplexity"
        for task in {"required": questions.REQUIRED, "public": questions.PUBLIC}.get(name, [name])]
    scores, items, batches = {}, [], []
    for length in options.lengths:
        share = [(task, length, n) for task in tasks for n in range(options.count)][rank::world]
        size = max(1, options.tokens // length)
        numbers = range(len(items), len(items) + len(share))
        batches += [numbers[first:first + size] for first in range(0, len(share), size)]
        items += share
    loader = torch.utils.data.DataLoader(
        Prompts(items, options), batch_sampler=batches, num_workers=options.workers,
        collate_fn=collate)
    for rows, ids in loader if items else []:
        ids = ids.to(device)
        positions = torch.arange(ids.shape[1], device=device).expand(ids.shape)
        hidden = model.hidden(ids, positions).view(*ids.shape, -1)
        for row, (task, length, prompt, answer) in enumerate(rows):
            span = hidden[row, len(prompt) - 1:len(prompt) - 1 + len(answer)]
            right = model.logits(span).argmax(-1).cpu() == torch.tensor(answer)
            score = right.float().mean() if task == "passage" else right.all().float()
            scores.setdefault(f"{task} {length}", []).append(float(score))
    return scores


@torch.no_grad()
def perplexity(model, device, options, rank, world):
    """The same 131,072 tokens of each book, read in windows of each length: mean loss by book."""
    result = {}
    tokenizer = Tokenizer.from_file(str(pathlib.Path(options.model) / "tokenizer.json"))
    paths = sorted(pathlib.Path(options.books).rglob("*.txt"))
    for path in paths[rank::world]:
        whole = max(options.lengths)
        ids = tokenizer.encode(path.read_text(), add_special_tokens=False).ids[:whole + 1]
        ids = torch.tensor(ids, device=device)
        for length in options.lengths:
            windows = whole // length
            inputs, targets = ids[:-1].view(windows, length), ids[1:]
            positions = torch.arange(length, device=device).expand(inputs.shape)
            hidden = model.hidden(inputs, positions)
            losses = torch.cat([
                F.cross_entropy(model.logits(h), t, reduction="none")
                for h, t in zip(hidden.split(16384), targets.split(16384))])
            result[f"perplexity {path.stem} {length}"] = [float(losses.mean().exp())]
    return result


def main():
    parser = argparse.ArgumentParser()
    for name in ("model", "data", "books", "output"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--tasks", nargs="+", default=["required", "public", "perplexity"])
    parser.add_argument("--lengths", nargs="+", type=int, default=[4096, 16384, 32768, 65536, 131072])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=131072, help="tokens in one batch")
    parser.add_argument("--workers", type=int, default=12)
    options = parser.parse_args()
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = torch.device(f"cuda:{rank}" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if world > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    model = load_model(options.model, device)
    scores = retrieval(model, device, options, rank, world)
    if "perplexity" in options.tasks:
        scores |= perplexity(model, device, options, rank, world)
    everyone = [scores]
    if world > 1:
        everyone = [None] * world
        dist.all_gather_object(everyone, scores)
    merged = {}
    for part in everyone:
        for name, values in part.items():
            merged.setdefault(name, []).extend(values)
    if rank == 0:
        table = {n: [round(sum(v) / len(v), 4), len(v)] for n, v in sorted(merged.items())}
        pathlib.Path(options.output).write_text(json.dumps(table, indent=1))
        for name, (mean, count) in table.items():
            print(f"{name}: {mean} of {count}", flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
