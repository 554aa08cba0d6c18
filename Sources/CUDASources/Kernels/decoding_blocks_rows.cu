// Linear layers of a decoding step of up to eight rows, with weights in blocks.

#include "decoding_blocks.cuh"

#define MI_DECODING_BLOCKS_OF_ROWS(name, Format) MI_DECODING_BLOCKS(name, Format, 8)
MI_EVERY_FORMAT(MI_DECODING_BLOCKS_OF_ROWS)
