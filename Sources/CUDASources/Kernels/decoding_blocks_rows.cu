// Linear layers of a decoding step of up to eight rows, with weights in blocks.

#include "decoding_blocks.cuh"

MI_EVERY_FORMAT(8)
