"""A Llama decoder for training: Hugging Face parameter names, tokens of a batch in one row.

Attention is full and causal in every layer, and the only part that knows sequence boundaries;
everything else works on (tokens, hidden) and is compiled once for a number of tokens.
"""

import math
import os

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

CONFIGURATION = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 384,
    "intermediate_size": 1024,
    "num_hidden_layers": 8,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 8192,
    "max_position_embeddings": 131072,
    "rope_theta": 5000000.0,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "attention_bias": False,
    "mlp_bias": False,
    "bos_token_id": None,
    "eos_token_id": [2, 0],
    "torch_dtype": "bfloat16",
}
EPSILON = CONFIGURATION["rms_norm_eps"]


def compiled(function):
    wanted = torch.cuda.is_available() and os.environ.get("COMPILE", "1") == "1"
    return torch.compile(function, dynamic=False) if wanted else function


def normalize(x, gain):
    return F.rms_norm(x.float(), (x.shape[-1],), gain, EPSILON).to(x.dtype)


def linear(x, weight):
    return F.linear(x, weight.to(x.dtype))


def rotate(x, cosine, sine):
    """x (tokens, heads, dim); cosine, sine (tokens, 1, dim / 2); in float32."""
    first, second = x.float().chunk(2, -1)
    turned = torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1)
    return turned.to(x.dtype)


@compiled
def attention_inputs(x, gain, query, key, value, cosine, sine, head_dim):
    normal = normalize(x, gain)
    q, k, v = (linear(normal, w).view(len(x), -1, head_dim) for w in (query, key, value))
    return rotate(q, cosine, sine), rotate(k, cosine, sine), v


@compiled
def after_attention(x, attended, output, gain, gate, up, down):
    x = x + linear(attended, output)
    normal = normalize(x, gain)
    return x + linear(F.silu(linear(normal, gate)) * linear(normal, up), down)


@compiled
def token_losses(x, gain, embedding, targets):
    logits = linear(normalize(x, gain), embedding).float()
    return F.cross_entropy(logits, targets, reduction="none")


def causal_attention(q, k, v, batch):
    """(tokens, heads, dim) of `batch` sequences of one length -> (tokens, heads * dim)."""
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    q, k, v = (t.view(batch, -1, *t.shape[1:]).transpose(1, 2) for t in (q, k, v))
    backends = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION]
    if not q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(0, 1).flatten(1)
    with sdpa_kernel(backends, set_priority=True):
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return attended.transpose(1, 2).reshape(-1, q.shape[1] * q.shape[3])


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        hidden, inner, dim = c["hidden_size"], c["intermediate_size"], c["head_dim"]
        query, shared = c["num_attention_heads"] * dim, c["num_key_value_heads"] * dim
        self.dim = dim
        self.input_layernorm, self.post_attention_layernorm = nn.RMSNorm(hidden), nn.RMSNorm(hidden)
        self.self_attn = nn.ModuleDict({
            "q_proj": nn.Linear(hidden, query, False), "k_proj": nn.Linear(hidden, shared, False),
            "v_proj": nn.Linear(hidden, shared, False), "o_proj": nn.Linear(query, hidden, False)})
        self.mlp = nn.ModuleDict({
            "gate_proj": nn.Linear(hidden, inner, False), "up_proj": nn.Linear(hidden, inner, False),
            "down_proj": nn.Linear(inner, hidden, False)})

    def forward(self, x, cosine, sine, batch, observe=None):
        a, m = self.self_attn, self.mlp
        q, k, v = attention_inputs(
            x, self.input_layernorm.weight, a["q_proj"].weight, a["k_proj"].weight,
            a["v_proj"].weight, cosine, sine, self.dim)
        if observe is not None:
            observe(q, k)
        return after_attention(
            x, causal_attention(q, k, v, batch), a["o_proj"].weight,
            self.post_attention_layernorm.weight, m["gate_proj"].weight, m["up_proj"].weight,
            m["down_proj"].weight)


class Llama(nn.Module):
    def __init__(self, configuration=CONFIGURATION):
        super().__init__()
        self.configuration = configuration
        self.embed_tokens = nn.Embedding(configuration["vocab_size"], configuration["hidden_size"])
        self.layers = nn.ModuleList(
            Layer(configuration) for _ in range(configuration["num_hidden_layers"]))
        self.norm = nn.RMSNorm(configuration["hidden_size"])
        for name, parameter in self.named_parameters():
            if "embed" in name:
                nn.init.normal_(parameter, std=0.02)
            elif "o_proj" in name or "down_proj" in name:
                nn.init.zeros_(parameter)  # every layer starts as the identity
            elif parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.5 / math.sqrt(parameter.shape[1]))

    def hidden(self, ids, positions, observe=None):
        """ids, positions (batch, length) -> (batch * length, hidden), before the last norm."""
        dim = self.configuration["head_dim"]
        exponents = torch.arange(0, dim, 2, device=ids.device).float() / dim
        angles = torch.outer(positions.flatten().float(), self.configuration["rope_theta"] ** -exponents)
        cosine, sine = angles.cos()[:, None], angles.sin()[:, None]
        x = self.embed_tokens(ids.flatten()).to(torch.bfloat16)
        for number, layer in enumerate(self.layers):
            watch = None if observe is None else (lambda q, k, n=number: observe(n, q, k))
            x = layer(x, cosine, sine, ids.shape[0], watch)
        return x

    def losses(self, ids, targets, positions):
        x = self.hidden(ids, positions)
        return token_losses(x, self.norm.weight, self.embed_tokens.weight, targets.flatten())

    def logits(self, x):
        """Float32 logits of some rows of `hidden`."""
        return linear(normalize(x, self.norm.weight), self.embed_tokens.weight).float()
