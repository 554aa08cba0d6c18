"""Makes blocks.json: blocks of every format with what the package `gguf` decodes them to.

    python3 make-block-goldens.py > blocks.json

Needs gguf and numpy. Three kinds of blocks: random bytes with scales of ordinary size, bytes of all
zeros or all ones with scales of one, and random bytes with scales that are zero, subnormal, negative or
the largest of binary16. Values are rounded to float32 by the package; the test allows for that.
"""

import json

import gguf
import numpy as np

# Byte offsets of the binary16 fields of each format.
HALVES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82],
    "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0],
    "MXFP4": [],
}
EXTREMES = [0x0000, 0x0001, 0x03FF, 0x0400, 0x8001, 0xBC00, 0x7BFF, 0xFBFF, 0x8000]


def half(block, offset, bits):
    block[offset] = bits & 255
    block[offset + 1] = bits >> 8


def blocks(name, size, random):
    halves = HALVES[name]
    result = []
    for _ in range(4):
        block = random.integers(0, 256, size, dtype=np.uint8)
        for offset in halves:
            half(block, offset, int(np.float16(random.normal() * 0.02).view(np.uint16)))
        if name == "MXFP4":
            block[0] = random.integers(110, 140)
        result.append(block)
    for fill in (0, 255):
        block = np.full(size, fill, np.uint8)
        for offset in halves:
            half(block, offset, 0x3C00)
        if name == "MXFP4":
            block[0] = 127
        result.append(block)
    for index in range(3):
        block = random.integers(0, 256, size, dtype=np.uint8)
        for place, offset in enumerate(halves):
            half(block, offset, EXTREMES[(3 * index + 2 * place) % len(EXTREMES)])
        if name == "MXFP4":
            block[0] = [1, 2, 250][index]
        result.append(block)
    return result


def main():
    random = np.random.default_rng(20261130)
    golden = []
    for name in HALVES:
        kind = gguf.GGMLQuantizationType[name]
        _, size = gguf.GGML_QUANT_SIZES[kind]
        for block in blocks(name, size, random):
            with np.errstate(all="ignore"):
                values = gguf.quants.dequantize(block.reshape(1, -1), kind).reshape(-1)
            assert np.isfinite(values).all(), name
            golden.append(
                {"format": name, "bytes": block.tobytes().hex(),
                 "values": values.astype("<f4").tobytes().hex()})
    print("[")
    print(",\n".join(json.dumps(entry) for entry in golden))
    print("]")


main()
