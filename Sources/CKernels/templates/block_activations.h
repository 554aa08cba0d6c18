// Activations as int8 with a scale for each 32 elements of a row, as products with blocks read them.

// Where the parts of quantised rows lie. Rows are padded with zeros to whole chunks.
typedef struct {
  int64_t chunks;       // of a row
  int8_t *q;            // [rows, chunks, MI_CHUNK]
  float *scale;         // [rows, chunks, MI_GROUPS]
  // What a group's sum counts for: scale * sum(q), times -offset where the format has no minima. Of
  // formats without small groups the even entries hold the sums of 32, the odd ones 0.
  float *sum;           // [rows, chunks, MI_GROUPS]
  int32_t *correction;  // [rows, chunks, MI_GROUPS]: -offset * sum(q), likewise
} mi_activations;

typedef int8_t vb __attribute__((vector_size(MI_VL)));

MI_INLINE int32_t sum_integers(vi x) {
  int32_t sum[MI_VL];
  memcpy(sum, &x, sizeof sum);
  MI_UNROLL
  for (int width = MI_VL / 2; width > 0; width /= 2) {
    MI_UNROLL
    for (int i = 0; i < width; i++) sum[i] += sum[i + width];
  }
  return sum[0];
}

MI_INLINE float largest_lane(vf x) {
  float largest[MI_VL];
  memcpy(largest, &x, sizeof largest);
  MI_UNROLL
  for (int width = MI_VL / 2; width > 0; width /= 2) {
    MI_UNROLL
    for (int i = 0; i < width; i++) {
      largest[i] = largest[i] > largest[i + width] ? largest[i] : largest[i + width];
    }
  }
  return largest[0];
}

MI_INLINE mi_activations activations_at(const void *memory, int64_t rows, int64_t width) {
  int64_t chunks = (width + MI_CHUNK - 1) / MI_CHUNK;
  int8_t *base = (int8_t *)memory;  // products read it only
  int8_t *numbers = base + rows * chunks * MI_CHUNK;
  int64_t part = rows * chunks * MI_GROUPS;
  return (mi_activations){
    chunks, base, (float *)numbers, (float *)numbers + part, (int32_t *)numbers + 2 * part};
}

static size_t activation_bytes(int64_t rows, int64_t width) {
  size_t chunks = (size_t)((width + MI_CHUNK - 1) / MI_CHUNK);
  return (size_t)rows * chunks * (MI_CHUNK + 3 * MI_GROUPS * sizeof(float));
}

// 32 elements; a scale that is not a number says that an element was none.
MI_INLINE void quantise_group(
  const float *x, mi_layout layout, int8_t *q, float *scale, float *sum, int32_t *correction
) {
  enum { vectors = 32 / MI_VL };
  vf v[vectors], largest = (vf){}, unusable = (vf){};
  MI_UNROLL
  for (int i = 0; i < vectors; i++) {
    v[i] = load(x + i * MI_VL);
    largest = maximum((vf)((vi)v[i] & 0x7fffffff), largest);
    unusable += v[i] * 0.0f;
  }
  float highest = largest_lane(largest);
  // Below it is no number that a model computes with, and the inverse would not be finite.
  bool is_zero = !(highest > 1e-30f);
  float inverse = is_zero ? 0 : 127 / highest;
  float step = (is_zero ? 0 : highest * (1.0f / 127)) + sum_lanes(unusable);
  vi sums[2] = {(vi){}, (vi){}};
  MI_UNROLL
  for (int i = 0; i < vectors; i++) {
    // Adding 1.5 * 2^23 rounds to an integer, ties to even; it stands in the low bits.
    vi rounded = (vi)(v[i] * inverse + 12582912.0f) - 0x4b400000;
    sums[i * 2 / vectors] += rounded;
    vb narrow = __builtin_convertvector(rounded, vb);
    memcpy(q + i * MI_VL, &narrow, sizeof narrow);
  }
  int32_t total[2];
  if (layout.has_small_groups) {
    total[0] = sum_integers(sums[0]);
    total[1] = sum_integers(sums[1]);
  } else {
    total[0] = sum_integers(sums[0] + sums[1]);
    total[1] = 0;
  }
  float factor = layout.has_minimum ? step : step * (float)-layout.offset;
  MI_UNROLL
  for (int i = 0; i < 2; i++) {
    scale[i] = step;
    sum[i] = factor * (float)total[i];
    correction[i] = -layout.offset * total[i];
  }
}

static void quantise_rows(
  mi_block_format format, const float *x, int64_t rows, int64_t width, int64_t row_start,
  int64_t row_end, void *target
) {
  const mi_layout layout = layout_of(format);
  mi_activations a = activations_at(target, rows, width);
  for (int64_t row = row_start; row < row_end; row++) {
    int8_t *q = a.q + row * a.chunks * MI_CHUNK;
    int64_t numbers = row * a.chunks * MI_GROUPS;
    int64_t groups = width / 32;
    for (int64_t i = 0; i < groups; i++) {
      quantise_group(
        x + row * width + 32 * i, layout, q + 32 * i, a.scale + numbers + 2 * i,
        a.sum + numbers + 2 * i, a.correction + numbers + 2 * i);
    }
    size_t rest = (size_t)(a.chunks * MI_GROUPS - 2 * groups);
    memset(q + 32 * groups, 0, 16 * rest);
    memset(a.scale + numbers + 2 * groups, 0, rest * sizeof(float));
    memset(a.sum + numbers + 2 * groups, 0, rest * sizeof(float));
    memset(a.correction + numbers + 2 * groups, 0, rest * sizeof(float));
  }
}
