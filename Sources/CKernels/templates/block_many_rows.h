// Products of many rows of activations with a panel of outputs, which is unpacked once for all of them and
// interleaved, so that outputs lie along the lanes.

// A panel of outputs, interleaved: of each chunk first the bytes, [64][MI_PANEL][4], then scales,
// [MI_GROUPS][MI_PANEL], then minima.
#define MI_PANEL_CHUNK ((MI_CHUNK + 2 * MI_GROUPS * sizeof(float)) * MI_PANEL)

// Rows that a panel is multiplied with before the next ones: they, their outputs and the panel of a wide matrix
// stay in the second cache together.
#define MI_ROW_TILE 512

// Chunks that lie between what is unpacked and what is brought nearer.
#define MI_AHEAD 3

static size_t panel_bytes(int64_t width) {
  size_t chunks = (size_t)((width + MI_CHUNK - 1) / MI_CHUNK);
  return chunks * MI_PANEL_CHUNK + MI_VL * sizeof(mi_chunk);
}

#if MI_VL == 16
#define MI_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define MI_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif MI_VL == 8
#define MI_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define MI_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#else
#define MI_LOW 0, 4, 1, 5
#define MI_HIGH 2, 6, 3, 7
#endif

// target[i * stride] = lane i of every source row; rows are `source_stride` bytes apart.
MI_INLINE void transpose(
  const void *source, int64_t source_stride, void *target, int64_t target_stride
) {
  vi row[MI_VL], next[MI_VL];
  MI_UNROLL
  for (int i = 0; i < MI_VL; i++) {
    row[i] = *(const vi_unaligned *)((const uint8_t *)source + i * source_stride);
  }
  MI_UNROLL
  for (int step = 1; step < MI_VL; step *= 2) {
    MI_UNROLL
    for (int i = 0; i < MI_VL / 2; i++) {
      next[2 * i] = __builtin_shufflevector(row[i], row[i + MI_VL / 2], MI_LOW);
      next[2 * i + 1] = __builtin_shufflevector(row[i], row[i + MI_VL / 2], MI_HIGH);
    }
    MI_UNROLL
    for (int i = 0; i < MI_VL; i++) row[i] = next[i];
  }
  MI_UNROLL
  for (int i = 0; i < MI_VL; i++) {
    *(vi_unaligned *)((uint8_t *)target + i * target_stride) = row[i];
  }
}

// Outputs start ..< start + count (at most MI_PANEL); the panel is filled up with the last one.
MI_INLINE void unpack_panel(
  mi_block_format format, const mi_block_matrix *matrix, int64_t start, int64_t count,
  uint8_t *panel, mi_chunk *chunks
) {
  const mi_layout layout = layout_of(format);
  const int64_t chunk_bytes = MI_CHUNK / layout.elements * layout.bytes;
  const int64_t row_chunks = (matrix->width + MI_CHUNK - 1) / MI_CHUNK;
  for (int v = 0; v < MI_NV; v++) {
    for (int64_t c = 0; c < row_chunks; c++) {
      for (int64_t i = 0; i < MI_VL; i++) {
        int64_t output = v * MI_VL + i;
        output = start + (output < count ? output : count - 1);
        const uint8_t *b = (const uint8_t *)matrix->blocks + output * matrix->row_bytes;
        // A panel is read in as many places as it has lanes: none that a processor foresees. Behind its rows
        // come those of the next vector.
        const int64_t next = c + MI_AHEAD;
        const uint8_t *ahead = b + (next < row_chunks
          ? next * chunk_bytes : MI_VL * matrix->row_bytes + (next - row_chunks) * chunk_bytes);
        MI_UNROLL
        for (int64_t i = 0; i < chunk_bytes; i += 64) __builtin_prefetch(ahead + i, 0, 2);
        unpack(format, b + c * chunk_bytes, matrix->width - c * MI_CHUNK, chunks + i);
      }
      uint8_t *q = panel + c * MI_PANEL_CHUNK;
      float *scale = (float *)(q + MI_CHUNK * MI_PANEL);
      float *minimum = scale + MI_GROUPS * MI_PANEL;
      for (int i = 0; i < MI_CHUNK_VECTORS; i++) {
        transpose(
          (const uint8_t *)chunks->q + i * MI_VB, sizeof(mi_chunk), q + (i * MI_VL * MI_NV + v) * MI_VB,
          MI_NV * MI_VB);
      }
      for (int i = 0; i < MI_GROUPS / MI_VL; i++) {
        transpose(
          (const float *)&chunks->scale + i * MI_VL, sizeof(mi_chunk), scale + (i * MI_VL * MI_NV + v) * MI_VL,
          MI_NV * MI_VB);
        if (!layout.has_minimum) continue;
        transpose(
          (const float *)&chunks->minimum + i * MI_VL, sizeof(mi_chunk),
          minimum + (i * MI_VL * MI_NV + v) * MI_VL,
          MI_NV * MI_VB);
      }
    }
  }
}

// What the chunk adds to MI_ROWS rows of outputs. x, and the numbers of each row, are at the chunk.
MI_INLINE void multiply_chunk(
  const mi_layout layout, const uint8_t *panel, const int8_t *const *x, const float *const *x_scale,
  const float *const *x_sum, const int32_t *const *x_correction, int64_t ahead,
  const float *start, float *const *y, bool is_first, bool accumulate
) {
  const float *scale = (const float *)(panel + MI_CHUNK * MI_PANEL);
  const float *minimum = scale + MI_GROUPS * MI_PANEL;
  vf sum[MI_ROWS * MI_NV];
  MI_UNROLL
  for (int r = 0; r < MI_ROWS; r++) {
    MI_UNROLL
    for (int v = 0; v < MI_NV; v++) {
      vf value = !is_first || accumulate ? load(y[r] + v * MI_VL) : (vf){};
      sum[r * MI_NV + v] = is_first ? value + load(start + v * MI_VL) : value;
    }
  }
  const int halves = layout.has_small_groups ? 2 : 1;
  const int length = 8 / halves;
  MI_ROLLED
  for (int64_t g = 0; g < 8; g++) {
    // Rows are far apart, and no processor foresees the next ones.
    if (g % 2 == 0) {
      MI_UNROLL
      for (int r = 0; r < MI_ROWS; r++) __builtin_prefetch(x[r] + ahead + 32 * g, 0, 3);
    }
    vf scaled[MI_ROWS * MI_NV];
    MI_UNROLL
    for (int half = 0; half < halves; half++) {
      vi dot[MI_ROWS * MI_NV];
      MI_UNROLL
      for (int r = 0; r < MI_ROWS; r++) {
        vi first = layout.offset != 0 ? splat_int(x_correction[r][2 * g + half]) : (vi){};
        MI_UNROLL
        for (int v = 0; v < MI_NV; v++) dot[r * MI_NV + v] = first;
      }
      MI_UNROLL
      for (int k = 0; k < length; k++) {
        const int64_t index = 8 * g + length * half + k;
        vi w[MI_NV];
        MI_UNROLL
        for (int v = 0; v < MI_NV; v++) {
          w[v] = *(const vi *)(panel + (index * MI_NV + v) * MI_VB);
        }
        MI_UNROLL
        for (int r = 0; r < MI_ROWS; r++) {
          vi element = splat_int((int32_t)word_of((const uint8_t *)x[r] + 4 * index));
          MI_UNROLL
          for (int v = 0; v < MI_NV; v++) {
            dot[r * MI_NV + v] = dot4(dot[r * MI_NV + v], w[v], element, layout.is_signed);
          }
        }
      }
      MI_UNROLL
      for (int v = 0; v < MI_NV; v++) {
        vf factor = load(scale + ((2 * g + half) * MI_NV + v) * MI_VL);
        MI_UNROLL
        for (int r = 0; r < MI_ROWS; r++) {
          vf product = __builtin_convertvector(dot[r * MI_NV + v], vf) * factor;
          scaled[r * MI_NV + v] = half == 0 ? product : scaled[r * MI_NV + v] + product;
        }
        if (!layout.has_minimum) continue;
        vf least = load(minimum + ((2 * g + half) * MI_NV + v) * MI_VL);
        MI_UNROLL
        for (int r = 0; r < MI_ROWS; r++) {
          sum[r * MI_NV + v] += least * splat(x_sum[r][2 * g + half]);
        }
      }
    }
    MI_UNROLL
    for (int r = 0; r < MI_ROWS; r++) {
      vf factor = splat(x_scale[r][2 * g]);
      MI_UNROLL
      for (int v = 0; v < MI_NV; v++) sum[r * MI_NV + v] += scaled[r * MI_NV + v] * factor;
    }
  }
  MI_UNROLL
  for (int r = 0; r < MI_ROWS; r++) {
    MI_UNROLL
    for (int v = 0; v < MI_NV; v++) store(y[r] + v * MI_VL, sum[r * MI_NV + v]);
  }
}

// Rows row_start ..< row_end with `count` outputs from y, which the panel holds.
MI_INLINE void multiply_panel(
  const mi_layout layout, const uint8_t *panel, mi_activations a, int64_t row_start,
  int64_t row_end, int64_t count, const float *start, float *y, int64_t y_stride, bool accumulate
) {
  for (int64_t c = 0; c < a.chunks; c++) {
    for (int64_t first = row_start; first < row_end; first += MI_ROWS) {
      const int64_t present = row_end - first < MI_ROWS ? row_end - first : MI_ROWS;
      const int8_t *x[MI_ROWS];
      const float *x_scale[MI_ROWS], *x_sum[MI_ROWS];
      const int32_t *x_correction[MI_ROWS];
      float *target[MI_ROWS];
      float edge[MI_ROWS][MI_PANEL] __attribute__((aligned(64)));
      for (int64_t r = 0; r < MI_ROWS; r++) {
        int64_t row = first + (r < present ? r : present - 1);
        int64_t index = row * a.chunks + c;
        x[r] = a.q + index * MI_CHUNK;
        x_scale[r] = a.scale + index * MI_GROUPS;
        x_sum[r] = a.sum + index * MI_GROUPS;
        x_correction[r] = a.correction + index * MI_GROUPS;
        bool is_whole = count == MI_PANEL && r < present;
        target[r] = is_whole ? y + row * y_stride : edge[r];
        if (!is_whole) {
          memset(edge[r], 0, sizeof edge[r]);
          memcpy(edge[r], y + row * y_stride, (size_t)count * sizeof(float));
        }
      }
      multiply_chunk(
        layout, panel + c * MI_PANEL_CHUNK, x, x_scale, x_sum, x_correction,
        MI_ROWS * a.chunks * MI_CHUNK, start, target, c == 0, accumulate);
      for (int64_t r = 0; r < present; r++) {
        if (target[r] == edge[r]) {
          memcpy(y + (first + r) * y_stride, edge[r], (size_t)count * sizeof(float));
        }
      }
    }
  }
}
