// Products of one or two rows of activations: blocks are unpacked in registers and used at once.

// The scales of the groups that the lanes of vector i of a chunk belong to.
MI_INLINE vf spread(mi_f16 scale, int i) {
#if MI_VL == 16
#define MI_FOUR(g) g, g, g, g
#define MI_SPREAD(i)                                                                     \
  case i:                                                                                \
    return __builtin_shufflevector(                                                      \
      scale, scale, MI_FOUR(4 * i), MI_FOUR(4 * i + 1), MI_FOUR(4 * i + 2), MI_FOUR(4 * i + 3))
  switch (i) {
    MI_SPREAD(0);
    MI_SPREAD(1);
    MI_SPREAD(2);
    default: MI_SPREAD(3);
  }
#elif MI_VL == 8
#define MI_FOUR(g) g, g, g, g
#define MI_SPREAD(i) \
  case i: return __builtin_shufflevector(scale, scale, MI_FOUR(2 * i), MI_FOUR(2 * i + 1))
  switch (i) {
    MI_SPREAD(0);
    MI_SPREAD(1);
    MI_SPREAD(2);
    MI_SPREAD(3);
    MI_SPREAD(4);
    MI_SPREAD(5);
    MI_SPREAD(6);
    default: MI_SPREAD(7);
  }
#else
  return splat(scale[i]);
#endif
#undef MI_SPREAD
#undef MI_FOUR
}

// Vector i of a chunk's bytes.
MI_INLINE vi bytes_of(const mi_chunk *chunk, int i) {
  vi v;
  memcpy(&v, (const uint8_t *)chunk->q + i * MI_VB, sizeof v);
  return v;
}

MI_INLINE float sum_of_16(mi_f16 x) {
  float lanes[16], sum = 0;
  memcpy(lanes, &x, sizeof lanes);
  MI_UNROLL
  for (int width = 8; width > 0; width /= 2) {
    MI_UNROLL
    for (int i = 0; i < width; i++) lanes[i] += lanes[i + width];
  }
  sum = lanes[0];
  return sum;
}

// Bytes between the blocks that are unpacked and those that are asked for. Memory is what a row waits for: a processor
// fetches a stream ahead within a page alone, and rows and their blocks are short.
#define MI_FEW_AHEAD 8192

// `count` rows (a constant, at most 2) from `first` with outputs start ..< end.
MI_INLINE void multiply_few(
  mi_block_format format, const mi_block_matrix *matrix, mi_activations a, int64_t first,
  const int count, int64_t start, int64_t end, const float *bias, float *y, int64_t y_stride,
  bool accumulate
) {
  const mi_layout layout = layout_of(format);
  const int64_t chunk_bytes = MI_CHUNK / layout.elements * layout.bytes;
  for (int64_t o = start; o < end; o++) {
    const uint8_t *b = (const uint8_t *)matrix->blocks + o * matrix->row_bytes;
    vf sum[2];
    mi_f16 rest[2];
    MI_UNROLL
    for (int r = 0; r < count; r++) {
      sum[r] = (vf){};
      rest[r] = (mi_f16){};
    }
    for (int64_t c = 0; c < a.chunks; c++, b += chunk_bytes) {
      MI_UNROLL
      for (int64_t i = 0; i < chunk_bytes; i += 64) __builtin_prefetch(b + MI_FEW_AHEAD + i, 0, 3);
      mi_chunk chunk;
      unpack(format, b, matrix->width - c * MI_CHUNK, &chunk);
      mi_f16 factor = layout.has_minimum ? chunk.minimum : chunk.scale;
      MI_UNROLL
      for (int r = 0; r < count; r++) {
        int64_t index = (first + r) * a.chunks + c;
        const int8_t *x = a.q + index * MI_CHUNK;
        mi_f16 both = chunk.scale * *(const mi_f16_unaligned *)(a.scale + index * MI_GROUPS);
        // Summed apart, so that chunks do not wait for each other.
        vf product = (vf){};
        MI_UNROLL
        for (int i = 0; i < MI_CHUNK_VECTORS; i++) {
          vi dot = dot4(
            (vi){}, bytes_of(&chunk, i), *(const vi_unaligned *)(x + i * MI_VB),
            layout.is_signed);
          vf part = __builtin_convertvector(dot, vf) * spread(both, i);
          product = i == 0 ? part : product + part;
        }
        sum[r] += product;
        if (layout.has_minimum || layout.offset != 0) {
          rest[r] += factor * *(const mi_f16_unaligned *)(a.sum + index * MI_GROUPS);
        }
      }
    }
    MI_UNROLL
    for (int r = 0; r < count; r++) {
      float value = sum_lanes(sum[r]) + sum_of_16(rest[r]) + (bias != NULL ? bias[o] : 0);
      float *target = y + (first + r) * y_stride + o;
      *target = accumulate ? *target + value : value;
    }
  }
}
