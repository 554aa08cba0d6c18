// Linear layers of a decoding step of one row, with weights in blocks.

#include "decoding_blocks.cuh"

MI_EVERY_FORMAT(MI_DECODING_BLOCKS_OF_ROW)
