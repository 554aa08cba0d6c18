"""Makes the goldens of the Transformers tests: small random checkpoints and their logits.

    python3 make_goldens.py [NAME...]   (torch, transformers 5, safetensors; a CPU; a minute)

For each variation NAME it writes
    NAME/                      the checkpoint, as save_pretrained lays it out
    NAME.golden.safetensors    input_ids [T], logits [T, vocabulary], attention_scaling [1],
                               inverse_frequencies [pairs that turn]; all F32 (ids are whole
                               numbers); for one also what generate() continues with:
                               generated_ids [N], generated_logits [N, vocabulary]
The logits are what transformers computes in float32, in one forward pass, from the files just
written (weights as they were rounded for storage). Two things are checked for each: that float64
agrees within a tenth of what the tests allow, and that a model without the variation's feature is
far outside it. transformers has no dual chunk attention: there the logits are those of the
equations of its report, in float64, which are transformers' own where one chunk holds everything.
"""

import copy
import json
import math
import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM, Glm4Config, Glm4MoeConfig, GlmConfig, GptOssConfig, LlamaConfig,
    MistralConfig, Mxfp4Config, Phi3Config, Qwen2Config, Qwen3Config, Qwen3MoeConfig, SeedOssConfig)

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-3  # of the largest logit at a position, as in the tests

BASE = dict(
    hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1, head_dim=16, vocab_size=40, max_position_embeddings=512,
    rms_norm_eps=1e-5, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2, pad_token_id=0,
)

CONFIGURATIONS = dict(
    llama=LlamaConfig, mistral=MistralConfig, qwen2=Qwen2Config, qwen3=Qwen3Config,
    phi3=Phi3Config, glm=GlmConfig, glm4=Glm4Config, seed_oss=SeedOssConfig,
    qwen3_moe=Qwen3MoeConfig, glm4_moe=Glm4MoeConfig, gpt_oss=GptOssConfig)


def rope(kind, theta=10000.0, **fields):
    return {"rope_type": kind, "rope_theta": theta, **fields}


YARN = dict(factor=8.0, original_max_position_embeddings=32)


def longrope(pairs, **fields):
    """Factors that grow from pair to pair, as the published ones do."""
    return rope("longrope", short_factor=[1 + 0.1 * p for p in range(pairs)],
                long_factor=[1 + 0.75 * p * p for p in range(pairs)], **fields)


# Phi-3 has no head_dim: it follows from the sizes.
PHI3 = dict(family="phi3", hidden_size=32, head_dim=None, original_max_position_embeddings=32)
GLM = dict(num_attention_heads=4, num_key_value_heads=2, attention_bias=True)
WIDE = dict(head_dim=128, tokens=160)
GLM_PLAIN = [{"rope_parameters": rope("default", partial_rotary_factor=1.0)}]
EXPERTS = dict(family="qwen3_moe", num_experts=8, num_experts_per_tok=3, moe_intermediate_size=24,
               norm_topk_prob=True)
GLM_EXPERTS = dict(
    family="glm4_moe", num_attention_heads=4, num_key_value_heads=2, num_hidden_layers=3,
    n_routed_experts=8, num_experts_per_tok=3, moe_intermediate_size=24, n_shared_experts=1,
    norm_topk_prob=True, routed_scaling_factor=1.5, num_nextn_predict_layers=1)


GPT_OSS = dict(
    family="gpt_oss", hidden_size=32, intermediate_size=32, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, num_local_experts=6, num_experts_per_tok=3,
    sliding_window=16, swiglu_limit=1.5, tokens=80, muted="sinks",
    rope_parameters=rope("yarn", 150000.0, beta_fast=8.0, beta_slow=0.5, truncate=False, **YARN),
    without=[
        {"sliding_window": 512}, {"swiglu_limit": 7.0}, {"swiglu_alpha": 1.0},
        {"num_experts_per_tok": 2}, {"rope_parameters": rope(
            "yarn", 150000.0, beta_fast=8.0, beta_slow=0.5, **YARN)}])


class Variation:
    """One golden. `file` are fields put into config.json as it lies on disk. `without` are changes
    that must be seen in the logits, each made to the configuration alone, with the same weights;
    so must be that parameters named `muted` are far below zero."""

    def __init__(self, name, family="llama", dtype="bfloat16", tokens=48, layout="new", shards=None,
                 file=None, without=(), generate=0, prompt=None, seed=None, clear_choices=False,
                 muted=None, **fields):
        self.name, self.family, self.dtype, self.tokens = name, family, dtype, tokens
        self.layout, self.shards, self.file, self.without = layout, shards, file or {}, without
        self.generate, self.prompt, self.seed = generate, prompt, seed
        self.clear_choices, self.muted = clear_choices, muted
        self.fields = {k: v for k, v in {**BASE, **fields}.items()
                       if k != "head_dim" or v is not None}

    def configuration(self):
        return CONFIGURATIONS[self.family](**copy.deepcopy(self.fields), dtype=self.dtype)


PLAIN = [{"rope_parameters": rope("default")}]

VARIATIONS = [
    # Grouped-query ratios and head dimensions; hidden is smaller than heads x head_dim.
    Variation("llama-1-head-a-group-64", num_attention_heads=2, num_key_value_heads=2,
              head_dim=64),
    Variation("llama-2-heads-a-group-96", num_attention_heads=4, num_key_value_heads=2,
              head_dim=96),
    Variation("llama-3-heads-a-group-64", hidden_size=24, num_attention_heads=6, num_key_value_heads=2,
              head_dim=64),
    Variation("llama-4-heads-a-group-128", num_attention_heads=4, num_key_value_heads=1,
              head_dim=128),
    # head_dim follows from hidden_size and is not in the file; one head, three layers.
    Variation("llama-derived-head-dim", hidden_size=32, num_attention_heads=1, head_dim=None,
              num_hidden_layers=3, tokens=80, layout="old"),
    Variation("llama-biases", attention_bias=True, mlp_bias=True),
    # Yi is Llama with a large theta.
    Variation("yi", layout="old", num_attention_heads=4, rope_parameters=rope("default", 5e6),
              without=PLAIN),
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
    Variation("rope-dynamic-within", max_position_embeddings=64, tokens=48,
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
              rope_parameters=rope("yarn", 1e6, factor=4.0, original_max_position_embeddings=32)),
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
    # Qwen2.5-1M: within one chunk as transformers, which ignores the field; several chunks.
    Variation("qwen2-dual-chunk-within", family="qwen2", layout="old", tokens=32,
              file=dict(dual_chunk_attention_config=dict(
                  chunk_size=48, local_size=16, original_max_position_embeddings=48))),
    Variation("qwen2-dual-chunk", family="qwen2", layout="old", tokens=150, num_attention_heads=4,
              num_key_value_heads=2, file=dict(dual_chunk_attention_config=dict(
                  chunk_size=48, local_size=16, original_max_position_embeddings=48))),
    # Mistral: a window in every layer, or none.
    Variation("mistral-window", family="mistral", sliding_window=16,
              without=[{"sliding_window": None}]),
    Variation("mistral-no-window", family="mistral", sliding_window=None),
    # Qwen3: norms of queries and keys.
    Variation("qwen3", family="qwen3", head_dim=32),
    Variation("qwen3-biases-window", family="qwen3", attention_bias=True, use_sliding_window=True,
              sliding_window=16, max_window_layers=1,
              without=[{"use_sliding_window": False, "sliding_window": None, "layer_types": None}]),
    Variation("qwen3-yarn", family="qwen3", tie_word_embeddings=True, tokens=80, without=PLAIN,
              rope_parameters=rope("yarn", 1e6, factor=4.0, original_max_position_embeddings=32)),
    # Phi-3: fused weights, a window, part of a head turned, LongRoPE at and beyond the length from
    # which the long factors hold.
    Variation("phi3", **PHI3, max_position_embeddings=64, sliding_window=128),
    Variation("phi3-window", **PHI3, sliding_window=16, without=[{"sliding_window": None}]),
    Variation("phi3-partial", **PHI3, rope_parameters=rope("default", partial_rotary_factor=0.5),
              without=PLAIN),
    Variation("phi3-longrope-within", **PHI3, tokens=32, rope_parameters=longrope(8),
              without=PLAIN),
    Variation("phi3-longrope-beyond", **PHI3, tokens=33, rope_parameters=longrope(8),
              without=PLAIN),
    Variation("phi3-longrope-older-layout", **PHI3, tokens=80, layout="old",
              rope_parameters=longrope(8, attention_factor=1.5), without=PLAIN,
              file=dict(rope_scaling=dict(
                  type="longrope", attention_factor=1.5, short_factor=longrope(8)["short_factor"],
                  long_factor=longrope(8)["long_factor"]))),
    Variation("phi3-longrope-head-dim-96", **{**PHI3, "hidden_size": 96}, num_attention_heads=1,
              num_hidden_layers=1, rope_parameters=longrope(48), without=PLAIN),
    Variation("phi3-longrope-generate", **PHI3, tokens=44, prompt=28, generate=16, seed=200,
              rope_parameters=longrope(8), without=PLAIN),
    # GLM-4: half of each head turned, neighbours as pairs; the layout of its own code is made from
    # the first by renaming.
    Variation("glm", family="glm", **GLM, head_dim=32, without=GLM_PLAIN),
    Variation("glm4", family="glm4", **GLM, without=GLM_PLAIN),
    Variation("chatglm", family="glm", layout="chatglm", **GLM,
              rope_parameters=rope("default", 20000.0, partial_rotary_factor=0.5),
              without=GLM_PLAIN),
    # Seed-OSS: biases of q, k and v, or all of them.
    Variation("seed-oss", family="seed_oss"),
    Variation("seed-oss-all-biases", family="seed_oss", attention_out_bias=True, mlp_bias=True),
    # The families with heads that a GPU's kernels take, 64, 96 or 128 wide, over more than a tile.
    Variation("wide-llama", **WIDE, num_hidden_layers=4, num_attention_heads=4, rope_parameters=rope(
        "llama3", 500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=64), without=PLAIN),
    Variation("wide-mistral", family="mistral", **WIDE, num_attention_heads=4, sliding_window=80,
              without=[{"sliding_window": None}]),
    Variation("wide-qwen2", family="qwen2", **WIDE, num_attention_heads=7, num_hidden_layers=3),
    Variation("wide-qwen2-window", family="qwen2", **WIDE, use_sliding_window=True,
              sliding_window=70, max_window_layers=1, num_hidden_layers=3,
              without=[{"use_sliding_window": False, "sliding_window": None, "layer_types": None}]),
    Variation("wide-qwen2-dual-chunk", family="qwen2", layout="old", **{**WIDE, "tokens": 330},
              num_attention_heads=2, file=dict(dual_chunk_attention_config=dict(
                  chunk_size=96, local_size=32, original_max_position_embeddings=96))),
    Variation("wide-qwen3", family="qwen3", **WIDE, num_attention_heads=4, num_key_value_heads=2),
    Variation("wide-phi3", **{**PHI3, "hidden_size": 192}, tokens=160,
              rope_parameters=longrope(48), without=PLAIN),
    Variation("wide-glm", family="glm", **{**GLM, **WIDE}, without=GLM_PLAIN),
    Variation("wide-glm4", family="glm4", **{**GLM, **WIDE}, without=GLM_PLAIN),
    Variation("wide-chatglm", family="glm", layout="chatglm", **{**GLM, **WIDE},
              rope_parameters=rope("default", 20000.0, partial_rotary_factor=0.5),
              without=GLM_PLAIN),
    Variation("wide-seed-oss", family="seed_oss", **WIDE, num_attention_heads=4,
              num_hidden_layers=3, attention_out_bias=True, mlp_bias=True),
    # Qwen3 with experts: a tensor for each expert, or fused ones; dense layers among them; weights
    # that are not normalised.
    Variation("qwen3-moe", **EXPERTS, head_dim=32,
              without=[{"norm_topk_prob": False}, {"num_experts_per_tok": 2}]),
    Variation("qwen3-moe-fused", **EXPERTS, layout="fused experts"),
    Variation("qwen3-moe-mixed", **{**EXPERTS, "norm_topk_prob": False}, layout="old",
              num_hidden_layers=4, mlp_only_layers=[3], decoder_sparse_step=2,
              without=[{"norm_topk_prob": True}]),
    # GLM-4.5: sigmoid scores with a bias for the choice, groups of experts, a shared expert, a
    # dense first layer; norms of queries and keys in the large ones.
    Variation("glm4-moe", **GLM_EXPERTS, attention_bias=True, head_dim=32, layout="old",
              without=[{"routed_scaling_factor": 1.0}, {"norm_topk_prob": False}]),
    Variation("glm4-moe-groups", **GLM_EXPERTS, n_group=4, topk_group=2, use_qk_norm=True,
              without=[{"n_group": 1, "topk_group": 1}]),
    # Those for GPUs choose experts so clearly that no rounding to bfloat16 changes a choice.
    Variation("wide-qwen3-moe", **{**EXPERTS, **WIDE}, num_attention_heads=4, num_key_value_heads=2,
              hidden_size=32, clear_choices=True, without=[{"norm_topk_prob": False}]),
    Variation("wide-glm4-moe", **{**GLM_EXPERTS, **WIDE}, attention_bias=True, use_qk_norm=True,
              hidden_size=32, n_group=2, topk_group=1, clear_choices=True,
              without=[{"n_group": 1, "topk_group": 1}]),
    # gpt-oss: sinks, windows in every second layer, biased experts with a clamped SwiGLU; experts in
    # floats, transposed, and in MXFP4; layers without a window alone.
    Variation("gpt-oss", **{**GPT_OSS, "swiglu_limit": 7.0, "without": [{"swiglu_limit": 1.0}]}),
    Variation("gpt-oss-mxfp4", **GPT_OSS, layout="mxfp4"),
    Variation("gpt-oss-full", **{
        **GPT_OSS, "num_local_experts": 4, "without": [{"layer_types": None}]}, dtype="float32",
              layer_types=["full_attention"] * 2),
    Variation("wide-gpt-oss", **{
        **GPT_OSS, "tokens": 160, "num_local_experts": 4, "without": [{"sliding_window": 512}]},
        layout="mxfp4", head_dim=64),
]


def randomise(model, generator):
    """Weights with which attention is neither flat nor one-hot and no part is negligible."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in name:
            value = 1 + 0.25 * noise
        elif name.endswith("bias"):
            value = 0.3 * noise
        elif name.endswith("sinks"):
            value = 1 + noise
        elif "embed_tokens" in name or "lm_head" in name:
            value = noise * 2 / math.sqrt(parameter.shape[1])
        else:
            value = noise * 1.5 / math.sqrt(parameter.shape[-1])
        parameter.data.copy_(value)
    for name, buffer in model.named_buffers():
        if name.endswith("e_score_correction_bias"):
            buffer.copy_(0.1 * torch.randn(buffer.shape, generator=generator))


def clear_choices(model, generator):
    """Routers that read what layers nearly leave alone: as many elements of the hidden states as there
    are experts. A token's own are a permutation of evenly spaced levels, so its k-th expert is clearly
    before the next one, wherever the token stands."""
    config = model.config
    experts = config.num_local_experts
    groups = getattr(config, "n_group", 1) or 1
    levels = 1.2 * (torch.arange(experts) - (experts - 1) / 2)
    embedding = model.model.embed_tokens.weight.data
    for token in range(embedding.shape[0]):
        while True:
            order = torch.randperm(experts, generator=generator)
            best = order.view(groups, -1).topk(2).values.sum(-1).sort().values
            if groups == 1 or best[-1] - best[-2] >= 3:
                break
        embedding[token, :experts] = levels[order]
    for name, parameter in model.named_parameters():
        if name.endswith("mlp.gate.weight"):
            read = torch.eye(experts, parameter.shape[1])
            parameter.data.copy_(read + 0.01 * parameter.data)
        elif "o_proj" in name or "down_proj" in name:
            parameter.data[..., :experts, :] *= 0.02
        elif "norm" in name and parameter.shape[0] == config.hidden_size:
            parameter.data[:experts] = 1 + 0.1 * (parameter.data[:experts] - 1)
    for name, buffer in model.named_buffers():
        if name.endswith("e_score_correction_bias"):
            buffer.mul_(0.1)


@torch.no_grad()
def choices(directory, ids, dtype):
    """Of every layer with experts: the experts of each position, and the scores they were chosen by
    (of experts that may be chosen, and of groups)."""
    model = AutoModelForCausalLM.from_pretrained(
        directory, dtype=dtype, attn_implementation="eager", experts_implementation="eager").eval()
    found = []

    def see(router, inputs, _):
        hidden = inputs[0].reshape(-1, router.weight.shape[1]).float()
        scores = hidden @ router.weight.float().T
        if hasattr(router, "e_score_correction_bias"):
            scores = scores.sigmoid() + router.e_score_correction_bias
        groups = scores.view(len(scores), getattr(router, "num_group", 1), -1)
        sums = groups.topk(2).values.sum(-1)
        chosen = sums.topk(getattr(router, "topk_group", 1)).indices
        inside = torch.zeros_like(sums).scatter(1, chosen, 1).bool()
        scores = groups.masked_fill(~inside[..., None], -torch.inf).flatten(1)
        found.append((scores.topk(router.top_k).indices.sort().values, scores, sums))

    handles = [module.register_forward_hook(see) for name, module in model.named_modules()
               if name.endswith("mlp.gate")]
    model(ids[None], use_cache=False)
    for handle in handles:
        handle.remove()
    assert found
    return found


def check_choices(variation, directory, ids):
    """The k-th expert leads the next, and the groups that are taken lead the others, by many times what
    bfloat16 moves a score. Returns the smallest such ratio."""
    k = variation.fields["num_experts_per_tok"]
    taken = variation.fields.get("topk_group", 1)
    # Tokens in other surroundings too: alone, and backwards.
    ratios = []
    for text in [ids, ids.flip(0)] + [token[None] for token in torch.arange(BASE["vocab_size"])]:
        for exact, rounded in zip(choices(directory, text, torch.float32),
                                  choices(directory, text, torch.bfloat16)):
            assert torch.equal(exact[0], rounded[0]), variation.name
            for place, count in [(1, k), (2, taken)]:
                scores, other = exact[place], rounded[place]
                if scores.shape[1] <= count:
                    continue
                noise = (scores - other).nan_to_num(0, 0, 0).abs().max()
                top = scores.topk(count + 1).values
                ratios.append(((top[:, -2] - top[:, -1]).min() / noise).item())
    assert min(ratios) > 5, (variation.name, min(ratios))
    return min(ratios)


def to_older_layout(path, file):
    """config.json as transformers 4 wrote it: rope_theta, rope_scaling, torch_dtype, no
    layer_types, and head_dim only where it does not follow from the other sizes."""
    fields = json.loads(path.read_text())
    parameters = fields.pop("rope_parameters")
    fields["rope_theta"] = parameters.pop("rope_theta")
    fields["rope_scaling"] = None if parameters["rope_type"] == "default" else parameters
    if fields.get("head_dim", 0) * fields["num_attention_heads"] == fields["hidden_size"]:
        del fields["head_dim"]
    fields["torch_dtype"] = fields.pop("dtype")
    fields.pop("layer_types", None)
    fields.update(file)
    path.write_text(json.dumps(fields, indent=2) + "\n")


def save(model, variation, directory):
    shutil.rmtree(directory, ignore_errors=True)
    limit = "7KB" if variation.shards else "1GB"
    model.to(getattr(torch, variation.dtype)).save_pretrained(directory, max_shard_size=limit)
    (directory / "generation_config.json").unlink(missing_ok=True)
    if variation.layout == "old":
        to_older_layout(directory / "config.json", variation.file)
    shards = sorted(p.name for p in directory.glob("*.safetensors"))
    assert (len(shards) > 2) == bool(variation.shards), shards


def to_mxfp4(directory):
    """Experts as gpt-oss is published: for 32 inputs of an output an exponent and the nearest of 16
    numbers each, two to a byte, the first in its low half."""
    numbers = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    weights = load_file(directory / "model.safetensors")
    stored = {}
    for name, tensor in weights.items():
        if not name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            stored[name] = tensor
            continue
        experts, inputs, outputs = tensor.shape
        blocks = tensor.float().transpose(1, 2).reshape(experts, outputs, inputs // 32, 32)
        exponents = blocks.abs().amax(-1).log2().floor() - 2
        scaled = blocks / 2 ** exponents[..., None]
        digits = (scaled.abs()[..., None] - numbers).abs().argmin(-1) + 8 * (scaled < 0)
        stored[name + "_blocks"] = (digits[..., 0::2] + 16 * digits[..., 1::2]).to(torch.uint8)
        stored[name + "_scales"] = (exponents + 127).to(torch.uint8)
    save_file(stored, directory / "model.safetensors", metadata={"format": "pt"})
    path = directory / "config.json"
    fields = json.loads(path.read_text())
    fields["quantization_config"] = dict(quant_method="mxfp4", modules_to_not_convert=[
        "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"])
    path.write_text(json.dumps(fields, indent=2) + "\n")


def to_chatglm(directory):
    """The layout of the code that GLM-4 checkpoints carry (modeling_chatglm.py), from that of glm."""
    path = directory / "config.json"
    fields = json.loads(path.read_text())
    path.write_text(json.dumps(dict(
        model_type="chatglm", architectures=["ChatGLMModel"], add_bias_linear=False,
        add_qkv_bias=fields["attention_bias"], apply_residual_connection_post_layernorm=False,
        ffn_hidden_size=fields["intermediate_size"], hidden_size=fields["hidden_size"],
        kv_channels=fields["head_dim"], layernorm_epsilon=fields["rms_norm_eps"],
        multi_query_attention=True, multi_query_group_num=fields["num_key_value_heads"],
        num_attention_heads=fields["num_attention_heads"], num_layers=fields["num_hidden_layers"],
        original_rope=True, padded_vocab_size=fields["vocab_size"], post_layer_norm=True,
        rmsnorm=True, rope_ratio=fields["rope_parameters"]["rope_theta"] / 10000,
        seq_length=fields["max_position_embeddings"], tie_word_embeddings=False,
        torch_dtype=fields["dtype"], eos_token_id=[2]), indent=2) + "\n")
    weights = load_file(directory / "model.safetensors")
    renamed = {"transformer.rotary_pos_emb.inv_freq": torch.ones(4)}  # there, and of no use
    for name, tensor in weights.items():
        part = name.replace("model.layers.", "transformer.encoder.layers.")
        if "self_attn.q_proj" in name:
            stack = [name, name.replace("q_proj", "k_proj"), name.replace("q_proj", "v_proj")]
            renamed[part.replace("self_attn.q_proj", "self_attention.query_key_value")] = torch.cat(
                [weights[each] for each in stack])
        elif "self_attn.k_proj" not in name and "self_attn.v_proj" not in name:
            for old, new in [
                ("self_attn.o_proj", "self_attention.dense"),
                ("mlp.gate_up_proj", "mlp.dense_h_to_4h"), ("mlp.down_proj", "mlp.dense_4h_to_h"),
                ("model.embed_tokens", "transformer.embedding.word_embeddings"),
                ("model.norm", "transformer.encoder.final_layernorm"),
                ("lm_head", "transformer.output_layer"),
            ]:
                part = part.replace(old, new)
            renamed[part] = tensor
    save_file(renamed, directory / "model.safetensors")


def fuse_experts(directory):
    """The experts of a layer in one tensor for gate and up and one for down, as transformers 5 holds
    them in memory."""
    weights = load_file(directory / "model.safetensors")
    fused, stacks = {}, {}
    for name, tensor in weights.items():
        if ".mlp.experts." not in name:
            fused[name] = tensor
            continue
        prefix, rest = name.split(".mlp.experts.")
        number, kind, _ = rest.split(".")
        stacks.setdefault(prefix, {})[int(number), kind] = tensor
    for prefix, stack in stacks.items():
        experts = range(1 + max(number for number, _ in stack))
        fused[prefix + ".mlp.experts.gate_up_proj"] = torch.stack(
            [torch.cat([stack[e, "gate_proj"], stack[e, "up_proj"]]) for e in experts])
        fused[prefix + ".mlp.experts.down_proj"] = torch.stack(
            [stack[e, "down_proj"] for e in experts])
    save_file(fused, directory / "model.safetensors")


def shorten_index(directory):
    """Takes the last shard out of the index; the file stays."""
    path = directory / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    last = max(index["weight_map"].values())
    index["weight_map"] = {k: v for k, v in index["weight_map"].items() if v != last}
    path.write_text(json.dumps(index, indent=2) + "\n")


@torch.no_grad()
def logits(directory, ids, dtype, muted=None, **changes):
    config = transformers.AutoConfig.from_pretrained(directory)
    if changes:
        fields = config.to_dict()
        fields.update(copy.deepcopy(changes))
        fields = {k: v for k, v in fields.items() if k != "layer_types" or v is not None}
        config = type(config)(**fields)
    further = {}
    if getattr(config, "quantization_config", None):
        further["quantization_config"] = Mxfp4Config(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        directory, config=config, dtype=dtype, attn_implementation="eager",
        experts_implementation="eager", **further).to(dtype)
    for name, parameter in model.named_parameters():
        if muted and name.endswith(muted):
            parameter.fill_(-1e4)
    model.eval()
    result = model(ids[None], use_cache=False).logits[0]
    return result, model.model.rotary_emb


@torch.no_grad()
def generated(directory, prompt, count):
    """What generate() of transformers continues with, most likely token by most likely token, and
    the logits it chose from; the choices must be clear ones."""
    model = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager")
    output = model.generate(
        prompt[None], max_new_tokens=count, min_new_tokens=count, do_sample=False, use_cache=True,
        return_dict_in_generate=True, output_logits=True)
    scores = torch.stack(output.logits)[:, 0]
    best = scores.topk(2).values
    assert ((best[:, 0] - best[:, 1]) / scores.abs().amax(-1)).min() > 10 * TOLERANCE
    return output.sequences[0, len(prompt):], scores


@torch.no_grad()
def dual_chunk_logits(directory, ids, chunk_size, local_size, original_max_position_embeddings):
    """Qwen2 with dual chunk attention as its equations read, in float64: every pair's score from the
    positions that query and key take for each other. Returns logits and attention scaling.

    Source: Qwen2.5-1M, arXiv 2501.15383, section 4.1; vLLM, DualChunkRotaryEmbedding, for where
    positions are limited."""
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float64).eval()
    config = model.config
    heads, shared, width = (config.num_attention_heads, config.num_key_value_heads, config.head_dim
                            if hasattr(config, "head_dim") else None)
    width = width or config.hidden_size // heads
    count, stride = len(ids), chunk_size - local_size
    scaling = max(1.0, 0.1 * math.log(count / original_max_position_embeddings) + 1)
    i = torch.arange(count)
    chunk = i // stride
    positions = dict(
        key=i % stride, intra=i % stride, succ=(i % stride + stride).clamp(max=chunk_size),
        inter=torch.full_like(i, chunk_size))
    frequencies = model.model.rotary_emb.inv_freq.double()

    def turned(x, position):  # [T, heads, width]
        angle = position.double()[:, None] * frequencies
        c, s = (f(angle).repeat(1, 2)[:, None] * scaling for f in (torch.cos, torch.sin))
        a, b = x.chunk(2, dim=-1)
        return x * c + torch.cat([-b, a], -1) * s

    hidden = model.model.embed_tokens(ids)
    apart = chunk[:, None] - chunk[None, :]
    for layer in model.model.layers:
        x = layer.input_layernorm(hidden)
        q = layer.self_attn.q_proj(x).view(count, heads, width)
        k = layer.self_attn.k_proj(x).view(count, shared, width)
        v = layer.self_attn.v_proj(x).view(count, shared, width).repeat_interleave(
            heads // shared, 1)
        k = turned(k, positions["key"]).repeat_interleave(heads // shared, 1)
        score = {name: torch.einsum("ihd,jhd->hij", turned(q, positions[name]), k) / width ** 0.5
                 for name in ("intra", "succ", "inter")}
        score = torch.where(apart == 0, score["intra"],
                            torch.where(apart == 1, score["succ"], score["inter"]))
        score = score.masked_fill(i[:, None] < i[None, :], -torch.inf)
        o = torch.einsum("hij,jhd->ihd", score.softmax(-1), v).reshape(count, -1)
        hidden = hidden + layer.self_attn.o_proj(o)
        hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return model.lm_head(model.model.norm(hidden)), scaling


def distance(a, b):
    """The largest difference at any position, as a share of the largest logit there."""
    return ((a - b).abs().amax(-1) / b.abs().amax(-1)).max().item()


def make(variation, seed):
    directory = HERE / variation.name
    generator = torch.Generator().manual_seed(seed)
    model = AutoModelForCausalLM.from_config(variation.configuration(), dtype=torch.float32)
    randomise(model, generator)
    if variation.clear_choices:
        clear_choices(model, generator)
    save(model, variation, directory)
    if variation.layout == "mxfp4":
        to_mxfp4(directory)
    ids = torch.randint(0, BASE["vocab_size"], (variation.tokens,), generator=generator)

    values, rotary = logits(directory, ids, torch.float32)
    exact, _ = logits(directory, ids, torch.float64)
    error = distance(values.double(), exact)
    assert error < TOLERANCE / 10, (variation.name, error)
    changes = []
    scaling = float(rotary.attention_scaling)
    dual_chunk = variation.file.get("dual_chunk_attention_config")
    if dual_chunk:
        plain, _ = dual_chunk_logits(directory, ids, 4096, 1024, 4096)
        assert distance(plain, exact) < TOLERANCE / 50
        expected, scaling = dual_chunk_logits(directory, ids, **dual_chunk)
        changes.append(distance(values, expected))
        is_long = len(ids) > dual_chunk["chunk_size"] - dual_chunk["local_size"]
        assert changes[-1] > 10 * TOLERANCE if is_long else changes[-1] < TOLERANCE / 10
        values = expected.float()
    for change in variation.without:
        other, _ = logits(directory, ids, torch.float32, **change)
        changes.append(distance(other, values))
        assert changes[-1] > 10 * TOLERANCE, (variation.name, change, changes[-1])
    if variation.muted:
        other, _ = logits(directory, ids, torch.float32, muted=variation.muted)
        changes.append(distance(other, values))
        assert changes[-1] > 10 * TOLERANCE, (variation.name, variation.muted, changes[-1])
    margin = check_choices(variation, directory, ids) if variation.clear_choices else None
    if variation.shards == "short index":
        shorten_index(directory)

    extra = {}
    if variation.generate:
        tokens, scores = generated(directory, ids[:variation.prompt], variation.generate)
        extra = {"generated_ids": tokens.float(), "generated_logits": scores.contiguous()}
    if variation.layout == "chatglm":
        to_chatglm(directory)
    if variation.layout == "fused experts":
        fuse_experts(directory)

    save_file(
        {
            **extra,
            "input_ids": ids.float(),
            "logits": values.contiguous(),
            "inverse_frequencies": rotary.inv_freq.float().contiguous().clone(),
            "attention_scaling": torch.tensor([scaling]),
        },
        HERE / f"{variation.name}.golden.safetensors",
    )
    size = sum(p.stat().st_size for p in directory.iterdir())
    seen = ", ".join(f"{change:.3f}" for change in changes) or "-"
    print(f"{variation.name:30} {size // 1024:4} KB  max|logit| {values.abs().max():5.1f}  "
          f"float64 {error:.1e}  without {seen}"
          + (f"  choices clear by {margin:.0f} times the rounding" if margin else ""))


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    for number, variation in enumerate(VARIATIONS):
        if not sys.argv[1:] or variation.name in sys.argv[1:]:
            make(variation, number if variation.seed is None else variation.seed)
    total = sum(p.stat().st_size for p in HERE.rglob("*") if p.is_file())
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    print(f"{total / 1e6:.2f} MB, {versions}")
