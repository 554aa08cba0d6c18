"""Makes every-kind.gguf, a file with a metadata value of every type and tensors of several.

    python3 make-gguf-golden.py every-kind.gguf

Needs the packages gguf and numpy. GGUFTests states what the file holds.
"""

import sys

import gguf
import numpy as np


def main():
    writer = gguf.GGUFWriter(sys.argv[1], "llama")
    writer.add_custom_alignment(64)
    writer.add_uint8("test.uint8", 200)
    writer.add_int8("test.int8", -100)
    writer.add_uint16("test.uint16", 60000)
    writer.add_int16("test.int16", -30000)
    writer.add_uint32("test.uint32", 4000000000)
    writer.add_int32("test.int32", -2000000000)
    writer.add_uint64("test.uint64", 2**64 - 1)
    writer.add_int64("test.int64", -(2**62))
    writer.add_float32("test.float32", 0.1)
    writer.add_float64("test.float64", 0.1)
    writer.add_bool("test.true", True)
    writer.add_bool("test.false", False)
    writer.add_string("test.string", "Gr\u00fc\u00dfe \U0001f600")
    writer.add_array("test.strings", ["a", "", "\u2581b"])
    writer.add_array("test.integers", [1, -2, 3])
    writer.add_array("test.numbers", [0.5, -1.5])
    writer.add_array("test.nested", [[1, 2], [3]])
    writer.add_tensor("vector", np.arange(5, dtype=np.float32))
    matrix = np.arange(6 * 32, dtype=np.float32).reshape(6, 32) / 7 - 12
    writer.add_tensor("half", matrix.astype(np.float16))
    writer.add_tensor(
        "blocks", gguf.quants.quantize(matrix, gguf.GGMLQuantizationType.Q8_0),
        raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("experts", np.zeros((2, 3, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main()
