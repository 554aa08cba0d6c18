"""What each head attends to: the share of attention mass that sparse patterns keep.

    python attention_statistics.py --model MODEL --books HELDOUT --output statistics.json \
        [--lengths 32768 131072]

The prompt is a held-out book with one fact and its question at the end. Of its rows, 48 tiles of
64 queries spread over the length count, and the last tile. Recall is the softmax mass that a
pattern keeps, mean over these rows. Density is computed pairs over causal pairs in these rows:
slashes in whole 64 x 64 tiles as the sparse kernel computes them, columns singly.
"""

import argparse
import json
import pathlib

import torch
from tokenizers import Tokenizer

from evaluate import load_model

TILE = 64
A_SHAPES = [(128, 1024), (1024, 4096)]
VERTICAL_SLASHES = [(30, 800), (500, 700), (1000, 6096), (3500, 100)]
TOP_BLOCKS = [100]
MASSES = [0.90, 0.95, 0.98]


def prompt(tokenizer, books, length):
    ids = tokenizer.encode(sorted(books.rglob("*.txt"))[0].read_text()).ids
    needle = tokenizer.encode(" The special entry number for orchard-lantern is: 4719203.").ids
    before = tokenizer.encode("<|im_start|>user\n").ids
    after = tokenizer.encode(
        "\n\nWhat is the special entry number for orchard-lantern given in the text?<|im_end|>\n"
        "<|im_start|>assistant\n").ids
    room = length - len(needle) - len(before) - len(after)
    return before + ids[:room // 3] + needle + ids[room // 3:room] + after


class HeadStatistics:
    """q, k: (length, dim) of one head."""

    def __init__(self, q, k):
        self.q, self.k, self.length = q.float(), k.float(), len(q)
        self.scale = q.shape[1] ** -0.5
        self.columns = torch.arange(self.length, device=q.device)
        blocks = self.length // TILE
        self.tiles = sorted({int(t) for t in torch.linspace(8, blocks - 1, 49)})

    def weights(self, tile):
        """Softmax rows of one tile of queries: (64, length)."""
        rows = slice(tile * TILE, (tile + 1) * TILE)
        scores = self.q[rows] @ self.k.T * self.scale
        future = self.columns[None] > self.columns[rows][:, None]
        return scores.masked_fill(future, float("-inf")).softmax(-1)

    def estimate(self):
        """Sums over columns and over offsets of the last 64 rows, as MInference estimates them."""
        weights = self.weights(self.length // TILE - 1)
        rows = self.columns[-TILE:]
        offsets = (rows[:, None] - self.columns[None]).clamp(min=0)
        vertical = weights.sum(0)
        slash = torch.zeros(self.length, device=weights.device)
        slash.index_add_(0, offsets.flatten(), weights.flatten())
        vertical[:30] = float("inf")
        slash[:100] = float("inf")
        return vertical, slash

    def run(self):
        vertical, slash = self.estimate()
        blocks = self.length // TILE
        pooled = self.k.view(blocks, TILE, -1).mean(1)
        kept = {}
        for count in VERTICAL_SLASHES:
            columns = torch.zeros(self.length, dtype=torch.bool, device=self.q.device)
            columns[vertical.topk(min(count[0], self.length)).indices] = True
            chosen = slash.topk(min(count[1], self.length)).indices
            offsets = torch.zeros(blocks + 1, dtype=torch.bool, device=self.q.device)
            offsets[chosen // TILE] = True  # offset o touches tile differences o // 64 and one more
            offsets[chosen[chosen % TILE > 0] // TILE + 1] = True
            kept[count] = columns, offsets
        sums, rows = {}, 0
        for tile in self.tiles:
            weights = self.weights(tile)
            row = self.columns[tile * TILE:(tile + 1) * TILE]
            causal = self.columns[None] <= row[:, None]
            distance = row[:, None] - self.columns[None]
            difference = tile - torch.div(self.columns, TILE, rounding_mode="floor")
            masks = {}
            for sink, local in A_SHAPES:
                masks[f"a-shape {sink} {local}"] = (self.columns[None] < sink) | (distance < local)
            for count, (columns, offsets) in kept.items():
                chosen = columns | offsets[difference.clamp(min=0)] & (difference >= 0)
                masks[f"vertical-slash {count[0]} {count[1]}"] = chosen[None].expand_as(causal)
            query = self.q[row].mean(0)
            block_scores = (pooled @ query).masked_fill(
                torch.arange(blocks, device=query.device) > tile, float("-inf"))
            for count in TOP_BLOCKS:
                best = torch.zeros(blocks, dtype=torch.bool, device=query.device)
                best[block_scores.topk(min(count, blocks)).indices] = True
                best[tile] = True
                masks[f"block-sparse {count}"] = best.repeat_interleave(TILE)[None].expand_as(causal)
            total = causal.sum()
            for name, mask in masks.items():
                mask = mask & causal
                self.add(sums, f"recall {name}", (weights * mask).sum() / TILE)
                self.add(sums, f"density {name}", mask.sum() / total)
            mass = weights.view(TILE, blocks, TILE).sum((0, 2)) / TILE
            running = mass.sort(descending=True).values.cumsum(0)
            for target in MASSES:
                self.add(sums, f"best tiles {target}", ((running < target).sum() + 1) / (tile + 1))
            rows += 1
        return {name: float(value) / rows for name, value in sums.items()}

    @staticmethod
    def add(sums, name, value):
        sums[name] = sums.get(name, 0.0) + value.float()


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser()
    for name in ("model", "books", "output"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--lengths", nargs="+", type=int, default=[32768, 131072])
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = load_model(options.model, device)
    tokenizer = Tokenizer.from_file(str(pathlib.Path(options.model) / "tokenizer.json"))
    result = {}
    for length in options.lengths:
        ids = torch.tensor([prompt(tokenizer, pathlib.Path(options.books), length)], device=device)
        heads = result[str(length)] = {}

        def observe(layer, q, k):
            group = q.shape[1] // k.shape[1]
            for head in range(q.shape[1]):
                heads[f"{layer} {head}"] = HeadStatistics(q[:, head], k[:, head // group]).run()
        model.hidden(ids, torch.arange(length, device=device)[None], observe)
        names = next(iter(heads.values()))
        for name in names:
            values = [head[name] for head in heads.values()]
            worst = min(values) if name.startswith("recall") else max(values)
            print(f"{length} {name}: mean {sum(values) / len(values):.3f}, worst head {worst:.3f}", flush=True)
    pathlib.Path(options.output).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
