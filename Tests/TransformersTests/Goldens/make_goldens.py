"""Makes the goldens of the Transformers tests: small random checkpoints and their logits.

    python3 make_goldens.py        (torch, transformers 5, safetensors; a CPU; under a minute)

For each variation NAME it writes
    NAME/                      the checkpoint, as save_pretrained lays it out
    NAME.golden.safetensors    input_ids [T], logits [T, vocabulary], attention_scaling [1],
                               inverse_frequencies [headDim / 2]; all F32 (ids are whole numbers)
The logits are what transformers computes in float32, in one forward pass, from the files just
written (weights as they were rounded for storage). Two things are checked for each: that float64
agrees within a tenth of what the tests allow, and that a model without the variation's feature is
far outside it.
"""

import copy
import json
import math
import os
import shutil
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-3  # of the largest logit at a position, as in the tests

BASE = dict(
    hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1, head_dim=64, vocab_size=96, max_position_embeddings=512,
    rms_norm_eps=1e-5, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2,
)


def rope(kind, theta=10000.0, **fields):
    return {"rope_type": kind, "rope_theta": theta, **fields}


YARN = dict(factor=8.0, original_max_position_embeddings=512)


class Variation:
    """One golden. `file` are fields put into config.json as it lies on disk. `without` are changes
    that must be seen in the logits, each made to the configuration alone, with the same weights."""

    def __init__(self, name, family="llama", dtype="bfloat16", tokens=64, layout="new", shards=None,
                 file=None, without=(), **fields):
        self.name, self.family, self.dtype, self.tokens = name, family, dtype, tokens
        self.layout, self.shards, self.file, self.without = layout, shards, file or {}, without
        self.fields = {**BASE, **fields}

    def configuration(self):
        kind = {"llama": LlamaConfig, "mistral": MistralConfig, "qwen2": Qwen2Config}[self.family]
        return kind(**copy.deepcopy(self.fields), dtype=self.dtype)


PLAIN = [{"rope_parameters": rope("default")}]

VARIATIONS = [
    # Grouped-query ratios and head dimensions; hidden is smaller than heads x head_dim.
    Variation("llama-1-head-a-group-64", num_attention_heads=2, num_key_value_heads=2),
    Variation("llama-2-heads-a-group-96", num_attention_heads=4, num_key_value_heads=2,
              head_dim=96),
    Variation("llama-3-heads-a-group-64", hidden_size=48, num_attention_heads=6,
              num_key_value_heads=2),
    Variation("llama-4-heads-a-group-128", num_attention_heads=4, num_key_value_heads=1,
              head_dim=128),
    # head_dim follows from hidden_size and is not in the file; one head, three layers.
    Variation("llama-derived-head-dim", hidden_size=64, num_attention_heads=1, head_dim=None,
              num_hidden_layers=3, tokens=80, layout="old"),
    Variation("llama-biases", attention_bias=True, mlp_bias=True),
    Variation("llama-large-theta", rope_parameters=rope("default", 5e6), without=PLAIN),
    # Storage (BF16 where nothing is said) and embeddings.
    Variation("llama-float32", dtype="float32"),
    Variation("llama-float16", dtype="float16"),
    Variation("llama-tied", tie_word_embeddings=True),
    Variation("llama-tied-float16", dtype="float16", tie_word_embeddings=True),
    # Several files.
    Variation("llama-sharded", shards="whole index"),
    Variation("llama-shard-outside-index", shards="short index"),
    # Rotary scaling; some with the configuration as transformers 4 wrote it.
    Variation("rope-linear", rope_parameters=rope("linear", factor=4.0), without=PLAIN),
    Variation("rope-linear-older-layout", layout="old",
              rope_parameters=rope("linear", 500000.0, factor=2.5), without=PLAIN),
    Variation("rope-dynamic-within", max_position_embeddings=64, tokens=64,
              rope_parameters=rope("dynamic", factor=4.0)),
    Variation("rope-dynamic-beyond", max_position_embeddings=32, tokens=100,
              rope_parameters=rope("dynamic", factor=4.0), without=PLAIN),
    Variation("rope-llama3", rope_parameters=rope(
        "llama3", 500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=32), without=PLAIN, tokens=80),
    Variation("rope-llama3-older-layout", layout="old", rope_parameters=rope(
        "llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=64), without=PLAIN, tokens=80),
    Variation("rope-yarn", rope_parameters=rope("yarn", **YARN), without=PLAIN, tokens=80),
    Variation("rope-yarn-older-layout", family="qwen2", layout="old", without=PLAIN, tokens=80,
              rope_parameters=rope("yarn", 1e6, factor=4.0, original_max_position_embeddings=256)),
    Variation("rope-yarn-betas", tokens=80,
              rope_parameters=rope("yarn", beta_fast=8.0, beta_slow=0.5, truncate=False, **YARN),
              without=[{"rope_parameters": rope("yarn", **YARN)}, {"rope_parameters": rope(
                  "yarn", beta_fast=8.0, beta_slow=0.5, **YARN)}]),
    Variation("rope-yarn-attention-factor", tokens=80,
              rope_parameters=rope("yarn", attention_factor=1.5, **YARN),
              without=[{"rope_parameters": rope("yarn", **YARN)}]),
    Variation("rope-yarn-mscale", tokens=80,
              rope_parameters=rope("yarn", mscale=1.0, mscale_all_dim=0.5, **YARN),
              without=[{"rope_parameters": rope("yarn", **YARN)}]),
    # Qwen2: biases of q, k and v; a window that is in the file but switched off, and one that is on
    # from the second layer.
    Variation("qwen2", family="qwen2"),
    Variation("qwen2-tied", family="qwen2", tie_word_embeddings=True),
    Variation("qwen2-window-off", family="qwen2", layout="old",
              file=dict(use_sliding_window=False, sliding_window=16, max_window_layers=1)),
    Variation("qwen2-window-on", family="qwen2", use_sliding_window=True, sliding_window=16,
              max_window_layers=1, num_hidden_layers=3,
              without=[{"use_sliding_window": False, "sliding_window": None, "layer_types": None}]),
    # Mistral: a window in every layer, or none.
    Variation("mistral-window", family="mistral", sliding_window=16,
              without=[{"sliding_window": None}]),
    Variation("mistral-no-window", family="mistral", sliding_window=None),
]


def randomise(model, generator):
    """Weights with which attention is neither flat nor one-hot and no part is negligible."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in name:
            value = 1 + 0.25 * noise
        elif name.endswith("bias"):
            value = 0.3 * noise
        elif "embed_tokens" in name or "lm_head" in name:
            value = noise * 2 / math.sqrt(parameter.shape[1])
        else:
            value = noise * 1.5 / math.sqrt(parameter.shape[1])
        parameter.data.copy_(value)


def to_older_layout(path, file):
    """config.json as transformers 4 wrote it: rope_theta, rope_scaling, torch_dtype, no
    layer_types, and head_dim only where it does not follow from the other sizes."""
    fields = json.loads(path.read_text())
    parameters = fields.pop("rope_parameters")
    fields["rope_theta"] = parameters.pop("rope_theta")
    fields["rope_scaling"] = None if parameters["rope_type"] == "default" else parameters
    if fields["head_dim"] * fields["num_attention_heads"] == fields["hidden_size"]:
        del fields["head_dim"]
    fields["torch_dtype"] = fields.pop("dtype")
    fields.pop("layer_types", None)
    fields.update(file)
    path.write_text(json.dumps(fields, indent=2) + "\n")


def save(model, variation, directory):
    shutil.rmtree(directory, ignore_errors=True)
    limit = "30KB" if variation.shards else "1GB"
    model.to(getattr(torch, variation.dtype)).save_pretrained(directory, max_shard_size=limit)
    (directory / "generation_config.json").unlink(missing_ok=True)
    if variation.layout == "old":
        to_older_layout(directory / "config.json", variation.file)
    shards = sorted(p.name for p in directory.glob("*.safetensors"))
    assert (len(shards) > 2) == bool(variation.shards), shards


def shorten_index(directory):
    """Takes the last shard out of the index; the file stays."""
    path = directory / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    last = max(index["weight_map"].values())
    index["weight_map"] = {k: v for k, v in index["weight_map"].items() if v != last}
    path.write_text(json.dumps(index, indent=2) + "\n")


@torch.no_grad()
def logits(directory, ids, dtype, **changes):
    config = transformers.AutoConfig.from_pretrained(directory)
    if changes:
        fields = config.to_dict()
        fields.update(copy.deepcopy(changes))
        fields = {k: v for k, v in fields.items() if k != "layer_types" or v is not None}
        config = type(config)(**fields)
    model = AutoModelForCausalLM.from_pretrained(
        directory, config=config, dtype=dtype, attn_implementation="eager")
    model.eval()
    result = model(ids[None], use_cache=False).logits[0]
    return result, model.model.rotary_emb


def distance(a, b):
    """The largest difference at any position, as a share of the largest logit there."""
    return ((a - b).abs().amax(-1) / b.abs().amax(-1)).max().item()


def make(variation, seed):
    directory = HERE / variation.name
    generator = torch.Generator().manual_seed(seed)
    model = AutoModelForCausalLM.from_config(variation.configuration(), dtype=torch.float32)
    randomise(model, generator)
    save(model, variation, directory)
    ids = torch.randint(0, BASE["vocab_size"], (variation.tokens,), generator=generator)

    values, rotary = logits(directory, ids, torch.float32)
    exact, _ = logits(directory, ids, torch.float64)
    error = distance(values.double(), exact)
    assert error < TOLERANCE / 10, (variation.name, error)
    changes = []
    for change in variation.without:
        other, _ = logits(directory, ids, torch.float32, **change)
        changes.append(distance(other, values))
        assert changes[-1] > 10 * TOLERANCE, (variation.name, change, changes[-1])
    if variation.shards == "short index":
        shorten_index(directory)

    save_file(
        {
            "input_ids": ids.float(),
            "logits": values.contiguous(),
            "inverse_frequencies": rotary.inv_freq.float().contiguous().clone(),
            "attention_scaling": torch.tensor([float(rotary.attention_scaling)]),
        },
        HERE / f"{variation.name}.golden.safetensors",
    )
    size = sum(p.stat().st_size for p in directory.iterdir())
    seen = ", ".join(f"{change:.3f}" for change in changes) or "-"
    print(f"{variation.name:30} {size // 1024:4} KB  max|logit| {values.abs().max():5.1f}  "
          f"float64 {error:.1e}  without {seen}")


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    for seed, variation in enumerate(VARIATIONS):
        make(variation, seed)
    total = sum(p.stat().st_size for p in HERE.rglob("*") if p.is_file())
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    print(f"{total / 1e6:.2f} MB, {versions}")
