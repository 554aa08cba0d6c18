"""Writes configurations.jsonl: configurations in the dresses of transformers 4 and 5, and what the
configuration classes of transformers make of each.

    python make-configuration-golden.py > configurations.jsonl      (transformers 5.24)

A line is {"config": {...}, "expect": {...}} or {"config": {...}, "refused": true}.
"""

import copy
import json
import logging
import random
import sys

import transformers
from transformers import CONFIG_MAPPING

logging.disable(logging.CRITICAL)
TYPES = ["llama", "mistral", "qwen2", "qwen3", "phi3", "glm", "glm4", "seed_oss"]
draw = random.Random(19)
ABSENT = object()


def choice(*values):
    return draw.choice(values)


def rope_object(pairs):
    kind = choice("default", "linear", "dynamic", "llama3", "yarn", "longrope", None)
    rope = {}
    if kind is not None:
        rope[choice("type", "rope_type")] = kind
    if kind in ("linear", "dynamic", "llama3", "yarn"):
        rope["factor"] = choice(2.0, 4, 8.0)
    if kind == "llama3":
        rope |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    if kind in ("llama3", "yarn", "longrope") and choice(True, False):
        rope["original_max_position_embeddings"] = choice(1024, 4096)
    if kind == "yarn":
        for name, value in [("beta_fast", 16), ("beta_slow", 2.0), ("mscale", 0.7),
                            ("mscale_all_dim", 0.5), ("attention_factor", 1.25), ("truncate", False)]:
            if draw.random() < 0.3:
                rope[name] = value
    if kind == "longrope":
        rope |= {"short_factor": [1.0] * pairs, "long_factor": [2.5] * pairs}
    if draw.random() < 0.5:
        rope["rope_theta"] = choice(5e5, 1000000, 123456.0)
    return rope


def configuration(model_type):
    config = {
        "model_type": model_type, "hidden_size": 2048, "intermediate_size": 128,
        "num_hidden_layers": 4, "num_attention_heads": 32, "vocab_size": 100,
        "max_position_embeddings": 8192,
    }
    for name, values in [
        ("num_key_value_heads", [ABSENT, 2, 4, 32]), ("head_dim", [ABSENT, ABSENT, 128]),
        ("rms_norm_eps", [ABSENT, 1e-5]), ("tie_word_embeddings", [ABSENT, True, False]),
        ("sliding_window", [ABSENT, None, 1024]), ("use_sliding_window", [ABSENT, True, False]),
        ("max_window_layers", [ABSENT, 0, 2]), ("rope_theta", [ABSENT, 7e4]),
    ]:
        value = draw.choice(values)
        if value is not ABSENT:
            config[name] = value
    wide = config.get("head_dim") or model_type in ("qwen3", "glm", "glm4", "seed_oss")
    pairs = (64 if wide else 32) // (2 if model_type.startswith("glm") else 1)
    for name, share in [("rope_scaling", 0.5), ("rope_parameters", 0.4)]:
        if draw.random() < share:
            config[name] = choice(None, {}, rope_object(pairs), rope_object(pairs), rope_object(pairs))
    if draw.random() < 0.2:
        config["original_max_position_embeddings"] = 2048
    return config


def expectation(config):
    made = CONFIG_MAPPING[config["model_type"]].from_dict(copy.deepcopy(config))
    # As the rotary embedding does before it reads them: only then are fields of other classes there.
    made.standardize_rope_params()
    rope = made.rope_parameters
    window = getattr(made, "sliding_window", None)
    if config["model_type"] not in ("mistral", "phi3", "qwen2", "qwen3"):
        window = None
    types = getattr(made, "layer_types", None)
    layers = made.num_hidden_layers
    windows = [window if types is None or types[i] == "sliding_attention" else None for i in range(layers)]
    return {
        "num_key_value_heads": made.num_key_value_heads,
        "head_dim": getattr(made, "head_dim", None) or made.hidden_size // made.num_attention_heads,
        "rms_norm_eps": made.rms_norm_eps,
        "tie_word_embeddings": made.tie_word_embeddings,
        "windows": windows,
        "rope": {k: v for k, v in rope.items() if k != "type" and v is not None},
    }


# What one of the two reads and the other refuses is not compared: transformers wants a factor of yarn, takes
# unknown kinds, and does not mix kinds with Phi-3.
seen = set()
for model_type in TYPES:
    count = 0
    while count < 24:
        config = configuration(model_type)
        try:
            expect = expectation(config)
        except Exception:
            continue
        text = json.dumps({"config": config, "expect": expect}, separators=(",", ":"))
        if text in seen:
            continue
        seen.add(text)
        count += 1
        print(text)
print(transformers.__version__, file=sys.stderr)
