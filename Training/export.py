"""Writes a training checkpoint in the Hugging Face layout, in bfloat16.

    python export.py --checkpoint RUN/stage2.pt --tokenizer DATA/tokenizer.json --output MODEL
"""

import argparse
import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content']"
    " + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--output", required=True)
    options = parser.parse_args()
    output = pathlib.Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    state = torch.load(options.checkpoint, map_location="cpu")
    weights = {
        f"model.{name}": tensor.to(torch.bfloat16).contiguous()
        for name, tensor in state["model"].items()}
    save_file(weights, output / "model.safetensors", metadata={"format": "pt"})
    shutil.copyfile(options.tokenizer, output / "tokenizer.json")
    configuration = state["configuration"]
    files = {
        "config.json": configuration,
        "generation_config.json": {
            "eos_token_id": configuration["eos_token_id"], "do_sample": False},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": False,
            "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
            "model_max_length": configuration["max_position_embeddings"],
            "chat_template": CHAT_TEMPLATE},
    }
    for name, content in files.items():
        (output / name).write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
