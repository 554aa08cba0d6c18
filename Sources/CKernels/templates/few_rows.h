// Dense attention of at most MI_FEW lanes, a row and the heads of its group: decoding.
//
// Elements of a head lie along the vector lanes, so that keys and values are read as they are stored, a
// vector at a time, once for all lanes of a pass. With so few lanes that takes half the operations of
// broadcasting every element over sixteen, and the memory is the limit.

#define MI_FEW 8
// Keys of a block: what they and their values take stays in the first cache for all lanes.
#define MI_FEW_KEYS 32

#if MI_VL == 16
#define MI_EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define MI_ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif MI_VL == 8
#define MI_EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define MI_ODD 1, 3, 5, 7, 9, 11, 13, 15
#else
#define MI_EVEN 0, 2, 4, 6
#define MI_ODD 1, 3, 5, 7
#endif

// Lane i is the sum over the lanes of x[i].
MI_INLINE vf sums_of_each(vf *x) {
  MI_UNROLL
  for (int count = MI_VL / 2; count > 0; count /= 2) {
    MI_UNROLL
    for (int i = 0; i < count; i++) {
      x[i] = __builtin_shufflevector(x[2 * i], x[2 * i + 1], MI_EVEN)
        + __builtin_shufflevector(x[2 * i], x[2 * i + 1], MI_ODD);
    }
  }
  return x[0];
}

// The scores of MI_VL keys that lie one behind the other.
MI_INLINE vf score_few(const float *q, const int64_t dim, const float *k) {
  vf sum[MI_VL];
  MI_UNROLL
  for (int j = 0; j < MI_VL; j++) sum[j] = (vf){};
  MI_ROLLED
  for (int64_t x = 0; x < dim; x += MI_VL) {
    vf element = load(q + x);
    MI_UNROLL
    for (int j = 0; j < MI_VL; j++) {
      sum[j] += load(k + j * dim + x) * element;
    }
  }
  return sums_of_each(sum);
}

// o[l][x] = o[l][x] * rescale[l] + sum over keys of v[key][x] * p[l][key], for nv vectors from x on.
MI_INLINE void add_few(
  const float *p, int64_t keys, const float *v, int64_t dim, int64_t x, float *o,
  const float *rescale, const int lanes, const int nv
) {
  vf sum[2 * MI_FEW];
  MI_UNROLL
  for (int l = 0; l < lanes; l++) {
    vf factor = splat(rescale[l]);
    MI_UNROLL
    for (int i = 0; i < nv; i++) sum[l * nv + i] = load(o + l * dim + x + i * MI_VL) * factor;
  }
  MI_ROLLED
  for (int64_t j = 0; j < keys; j++) {
    vf value[2];
    MI_UNROLL
    for (int i = 0; i < nv; i++) value[i] = load(v + j * dim + x + i * MI_VL);
    MI_UNROLL
    for (int l = 0; l < lanes; l++) {
      vf weight = splat(p[l * MI_FEW_KEYS + j]);
      MI_UNROLL
      for (int i = 0; i < nv; i++) sum[l * nv + i] += value[i] * weight;
    }
  }
  MI_UNROLL
  for (int l = 0; l < lanes; l++) {
    MI_UNROLL
    for (int i = 0; i < nv; i++) store(o + l * dim + x + i * MI_VL, sum[l * nv + i]);
  }
}

MI_INLINE void add_values_of_lanes(
  const float *p, int64_t keys, const float *v, int64_t dim, float *o, const float *rescale,
  const int lanes
) {
  // Twice as many accumulators as lanes, where there are registers for them.
  const int nv = MI_VL == 16 ? 2 : 1;
  int64_t x = 0;
  for (; x + nv * MI_VL <= dim; x += nv * MI_VL) {
    add_few(p, keys, v, dim, x, o, rescale, lanes, nv);
  }
  for (; x < dim; x += MI_VL) add_few(p, keys, v, dim, x, o, rescale, lanes, 1);
}

// Rows of float32 that begin at row `first`: those in the cache themselves, or a copy that is filled up with
// zeros to a whole block.
MI_INLINE const float *rows_of_block(
  const void *base, mi_type type, int64_t first, int64_t count, int64_t dim, float *copy
) {
  int64_t start = first * dim;
  if (type == MI_FLOAT32 && count == MI_FEW_KEYS) return (const float *)base + start;
  for (int64_t x = 0; x < count * dim; x += MI_VL) {
    store(copy + x, load_as_float32(base, type, start + x));
  }
  for (int64_t x = count * dim; x < MI_FEW_KEYS * dim; x += MI_VL) store(copy + x, (vf){});
  return copy;
}

// s becomes 2^(s - maximum); updates maximum and sum, and returns what older outputs are scaled with.
MI_INLINE float exponentiate_lane(float *s, float *row_maximum, float *row_sum) {
  vf highest = splat(*row_maximum);
  MI_UNROLL
  for (int j = 0; j < MI_FEW_KEYS; j += MI_VL) highest = maximum(load(s + j), highest);
  float lanes[MI_VL];
  memcpy(lanes, &highest, sizeof lanes);
  MI_UNROLL
  for (int width = MI_VL / 2; width > 0; width /= 2) {
    MI_UNROLL
    for (int i = 0; i < width; i++) lanes[i] = lanes[i + width] > lanes[i] ? lanes[i + width] : lanes[i];
  }
  vf top = splat(lanes[0]), sum = (vf){};
  MI_UNROLL
  for (int j = 0; j < MI_FEW_KEYS; j += MI_VL) {
    vf p = exp2_nonpositive(load(s + j) - top);
    store(s + j, p);
    sum += p;
  }
  float factor = exp2_nonpositive(splat(*row_maximum) - top)[0];
  *row_sum = *row_sum * factor + sum_lanes(sum);
  *row_maximum = lanes[0];
  return factor;
}

// What the lanes of a pass are: each a row and a head of the group.
typedef struct {
  int32_t visible[MI_FEW], oldest[MI_FEW];  // the last and the first key that a lane sees
  int64_t fully_visible, window_start;      // all lanes see the keys between them
  int64_t first, limit;                     // some lane sees the keys between them
  float maximum[MI_FEW], sum[MI_FEW], rescale[MI_FEW];
  float *q, *o;                             // [lanes][head_dim]
  float *s;                                 // [lanes][MI_FEW_KEYS]
  float *k, *v;                             // [MI_FEW_KEYS][head_dim], copies
} mi_few;

MI_INLINE mi_few open_few(
  const mi_row_attention *a, int32_t kv_head, int32_t lane_start, int32_t lanes, void *scratch
) {
  mi_arena arena = {scratch};
  const int64_t dim = a->head_dim;
  mi_few few = {.fully_visible = INT32_MAX, .first = INT64_MAX};
  few.q = take(&arena, (size_t)dim * MI_FEW * sizeof(float));
  few.o = take(&arena, (size_t)dim * MI_FEW * sizeof(float));
  few.s = take(&arena, MI_FEW * MI_FEW_KEYS * sizeof(float));
  few.k = take(&arena, (size_t)dim * MI_FEW_KEYS * sizeof(float));
  few.v = take(&arena, (size_t)dim * MI_FEW_KEYS * sizeof(float));
  memset(few.o, 0, (size_t)dim * MI_FEW * sizeof(float));
  for (int32_t l = 0; l < lanes; l++) {
    int64_t row = (lane_start + l) / a->group_size;
    int64_t head = kv_head * a->group_size + (lane_start + l) % a->group_size;
    const float *q = a->q + (row * a->query_heads + head) * dim;
    for (int64_t x = 0; x < dim; x++) few.q[l * dim + x] = q[x] * (a->scale * MI_LOG2E);
    int64_t position = a->positions[row], oldest = 0;
    if (a->sliding_window > 0 && position >= a->sliding_window) {
      oldest = position - a->sliding_window + 1;
    }
    few.visible[l] = (int32_t)position;
    few.oldest[l] = (int32_t)oldest;
    few.maximum[l] = MI_NO_MAXIMUM;
    few.sum[l] = 0;
    if (position < few.fully_visible) few.fully_visible = position;
    if (oldest > few.window_start) few.window_start = oldest;
    if (oldest < few.first) few.first = oldest;
    if (position + 1 > few.limit) few.limit = position + 1;
  }
  return few;
}

// Puts -infinity where a lane sees no key: behind its position, before its window, and where a block has none.
MI_INLINE void hide_few(const mi_few *few, int32_t lane, int64_t start, int64_t count) {
  int32_t last = (int32_t)(start + count - 1);
  if (few->visible[lane] < last) last = few->visible[lane];
  for (int64_t j = 0; j < MI_FEW_KEYS; j++) {
    int64_t key = start + j;
    if (key > last || key < few->oldest[lane]) few->s[lane * MI_FEW_KEYS + j] = -INFINITY;
  }
}

// Scores, softmax and outputs of one block; `dim` is a constant where it is a common one. `bytes` from each
// of `ahead` on, the next keys and values, are brought nearer meanwhile: two streams that rows are read from
// out of order are none that a processor foresees.
MI_INLINE void attend_few(
  mi_few *few, const int64_t dim, int32_t lanes, const float *k, const float *v, int64_t start,
  int64_t count, const char *const *ahead, int64_t bytes
) {
  int64_t asked = 0, part = (bytes / 64 + lanes - 1) / lanes * 64;
  for (int32_t l = 0; l < lanes; l++) {
    // Each pass over the keys asks for a part of the next block.
    for (int64_t end = asked + part < bytes ? asked + part : bytes; asked < end; asked += 64) {
      __builtin_prefetch(ahead[0] + asked, 0, 3);
      __builtin_prefetch(ahead[1] + asked, 0, 3);
    }
    MI_UNROLL
    for (int64_t j = 0; j < MI_FEW_KEYS; j += MI_VL) {
      store(few->s + l * MI_FEW_KEYS + j, score_few(few->q + l * dim, dim, k + j * dim));
    }
    if (
      count < MI_FEW_KEYS || start + count - 1 > few->fully_visible || start < few->window_start
    ) {
      hide_few(few, l, start, count);
    }
    few->rescale[l] =
      exponentiate_lane(few->s + l * MI_FEW_KEYS, few->maximum + l, few->sum + l);
  }
#define MI_CASE(n) \
  case n: add_values_of_lanes(few->s, count, v, dim, few->o, few->rescale, n); break;
  switch (lanes) {
    MI_CASE(1)
    MI_CASE(2)
    MI_CASE(3)
    MI_CASE(4)
    MI_CASE(5)
    MI_CASE(6)
    MI_CASE(7)
    default: add_values_of_lanes(few->s, count, v, dim, few->o, few->rescale, MI_FEW);
  }
#undef MI_CASE
}

// Whether these lanes are few enough, and their heads whole vectors.
MI_INLINE bool are_few(int64_t dim, int32_t lanes) {
  return lanes <= MI_FEW && dim % MI_VL == 0;
}

static void few_row_attention(
  const mi_row_attention *a, int32_t kv_head, int32_t lane_start, int32_t lanes,
  int64_t key_start, int64_t key_end, float *partial, void *scratch
) {
  const int64_t dim = a->head_dim;
  mi_few few = open_few(a, kv_head, lane_start, lanes, scratch);
  int64_t first = few.first < key_start ? key_start : few.first;
  int64_t limit = few.limit > key_end ? key_end : few.limit;
  const int64_t size = a->kv_type == MI_FLOAT32 ? 4 : 2;
  for (int64_t start = first; start < limit; start += MI_FEW_KEYS) {
    int64_t count = limit - start < MI_FEW_KEYS ? limit - start : MI_FEW_KEYS;
    int64_t row = kv_head * a->capacity + start;
    const float *k = rows_of_block(a->k, a->kv_type, row, count, dim, few.k);
    const float *v = rows_of_block(a->v, a->kv_type, row, count, dim, few.v);
    // What the next block takes, if it is a whole one.
    const int64_t bytes = start + 2 * MI_FEW_KEYS <= limit ? MI_FEW_KEYS * dim * size : 0;
    const int64_t next = (row + MI_FEW_KEYS) * dim * size;
    const char *const ahead[2] = {(const char *)a->k + next, (const char *)a->v + next};
    switch (dim) {
      case 64: attend_few(&few, 64, lanes, k, v, start, count, ahead, bytes); break;
      case 128: attend_few(&few, 128, lanes, k, v, start, count, ahead, bytes); break;
      default: attend_few(&few, dim, lanes, k, v, start, count, ahead, bytes);
    }
  }
  for (int32_t l = 0; l < lanes; l++) {
    float *lane = partial + l * (dim + 2);
    lane[0] = few.maximum[l];
    lane[1] = few.sum[l];
    memcpy(lane + 2, few.o + l * dim, (size_t)dim * sizeof(float));
  }
}
