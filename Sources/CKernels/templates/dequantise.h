// Blocks of integers with scales to float32, one function for each format. Loops over the elements of a
// sub-block have no branches, so that they become vector code.
//
// What the bytes mean is defined in Swift, StoredNumbers/Blocks, under the same names.

MI_INLINE float half_at(const uint8_t *p) { return element_as_float32(p, MI_FLOAT16, 0); }

// 32 nibbles in 16 bytes: low halves first, then high ones.
MI_INLINE void split_nibbles(const uint8_t *q, int32_t *v) {
  for (int i = 0; i < 16; i++) {
    v[i] = q[i] & 15;
    v[i + 16] = q[i] >> 4;
  }
}

static const int8_t mi_uneven_values[16] = {
  -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// E2M1 by its four bits, doubled.
static const int8_t mi_e2m1_doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

MI_INLINE void decode_q4_0(const uint8_t *b, float *y) {
  int32_t v[32];
  split_nibbles(b + 2, v);
  float d = half_at(b);
  for (int i = 0; i < 32; i++) y[i] = d * (float)(v[i] - 8);
}

MI_INLINE void decode_q4_1(const uint8_t *b, float *y) {
  int32_t v[32];
  split_nibbles(b + 4, v);
  float d = half_at(b), m = half_at(b + 2);
  for (int i = 0; i < 32; i++) y[i] = d * (float)v[i] + m;
}

MI_INLINE uint32_t word_at(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

MI_INLINE void decode_q5_0(const uint8_t *b, float *y) {
  int32_t v[32];
  split_nibbles(b + 6, v);
  float d = half_at(b);
  uint32_t fifth = word_at(b + 2);
  for (int i = 0; i < 32; i++) y[i] = d * (float)((v[i] | (int32_t)(fifth >> i & 1) << 4) - 16);
}

MI_INLINE void decode_q5_1(const uint8_t *b, float *y) {
  int32_t v[32];
  split_nibbles(b + 8, v);
  float d = half_at(b), m = half_at(b + 2);
  uint32_t fifth = word_at(b + 4);
  for (int i = 0; i < 32; i++) y[i] = d * (float)(v[i] | (int32_t)(fifth >> i & 1) << 4) + m;
}

MI_INLINE void decode_q8_0(const uint8_t *b, float *y) {
  float d = half_at(b);
  const int8_t *q = (const int8_t *)b + 2;
  for (int i = 0; i < 32; i++) y[i] = d * (float)q[i];
}

MI_INLINE void decode_iq4_nl(const uint8_t *b, float *y) {
  float d = half_at(b);
  for (int i = 0; i < 16; i++) {
    y[i] = d * (float)mi_uneven_values[b[2 + i] & 15];
    y[i + 16] = d * (float)mi_uneven_values[b[2 + i] >> 4];
  }
}

MI_INLINE void decode_mxfp4(const uint8_t *b, float *y) {
  // Half of 2^(e - 127), for the table holds doubled values. The two least are subnormal.
  uint32_t bits = b[0] > 1 ? (uint32_t)(b[0] - 1) << 23 : 1u << (21 + b[0]);
  float d;
  memcpy(&d, &bits, sizeof d);
  for (int i = 0; i < 16; i++) {
    y[i] = d * (float)mi_e2m1_doubled[b[1 + i] & 15];
    y[i + 16] = d * (float)mi_e2m1_doubled[b[1 + i] >> 4];
  }
}

MI_INLINE void decode_q2_k(const uint8_t *b, float *y) {
  float d = half_at(b + 80), minimum = half_at(b + 82);
  for (int group = 0; group < 16; group++, y += 16) {
    const uint8_t *q = b + 16 + 32 * (group / 8) + 16 * (group % 2);
    int shift = 2 * (group % 8 / 2);
    float scale = d * (float)(b[group] & 15), m = minimum * (float)(b[group] >> 4);
    for (int i = 0; i < 16; i++) y[i] = scale * (float)(q[i] >> shift & 3) - m;
  }
}

MI_INLINE void decode_q3_k(const uint8_t *b, float *y) {
  float d = half_at(b + 108);
  const uint8_t *s = b + 96;
  for (int group = 0; group < 16; group++, y += 16) {
    const uint8_t *q = b + 32 + 32 * (group / 8) + 16 * (group % 2), *third = b + 16 * (group % 2);
    int shift = 2 * (group % 8 / 2), bit = 4 * (group / 8) + group % 8 / 2;
    int low = group < 8 ? s[group] & 15 : s[group - 8] >> 4;
    float scale = d * (float)((low | (s[8 + group % 4] >> 2 * (group / 4) & 3) << 4) - 32);
    for (int i = 0; i < 16; i++) {
      y[i] = scale * (float)((q[i] >> shift & 3) + 4 * (third[i] >> bit & 1) - 4);
    }
  }
}

// Scale and offset `group` of eight pairs of 6 bits in 12 bytes.
MI_INLINE void six_bit_pair(const uint8_t *s, int group, int *scale, int *minimum) {
  if (group < 4) {
    *scale = s[group] & 63;
    *minimum = s[group + 4] & 63;
  } else {
    *scale = (s[group + 4] & 15) | (s[group - 4] >> 6) << 4;
    *minimum = s[group + 4] >> 4 | (s[group] >> 6) << 4;
  }
}

MI_INLINE void decode_q4_k(const uint8_t *b, float *y) {
  float d = half_at(b), minimum = half_at(b + 2);
  for (int group = 0; group < 8; group++, y += 32) {
    const uint8_t *q = b + 16 + 32 * (group / 2);
    int shift = group % 2 * 4, sixth, offset;
    six_bit_pair(b + 4, group, &sixth, &offset);
    float scale = d * (float)sixth, m = minimum * (float)offset;
    for (int i = 0; i < 32; i++) y[i] = scale * (float)(q[i] >> shift & 15) - m;
  }
}

MI_INLINE void decode_q5_k(const uint8_t *b, float *y) {
  float d = half_at(b), minimum = half_at(b + 2);
  for (int group = 0; group < 8; group++, y += 32) {
    const uint8_t *q = b + 48 + 32 * (group / 2), *fifth = b + 16;
    int shift = group % 2 * 4, sixth, offset;
    six_bit_pair(b + 4, group, &sixth, &offset);
    float scale = d * (float)sixth, m = minimum * (float)offset;
    for (int i = 0; i < 32; i++) {
      y[i] = scale * (float)((q[i] >> shift & 15) | (fifth[i] >> group & 1) << 4) - m;
    }
  }
}

MI_INLINE void decode_q6_k(const uint8_t *b, float *y) {
  float d = half_at(b + 208);
  for (int group = 0; group < 16; group++, y += 16) {
    int half = group / 8, quarter = group % 8 / 2, l = 16 * (group % 2);
    const uint8_t *low = b + 64 * half + 32 * (quarter % 2) + l, *high = b + 128 + 32 * half + l;
    int low_shift = quarter / 2 * 4, high_shift = 2 * quarter;
    float scale = d * (float)(int8_t)b[192 + group];
    for (int i = 0; i < 16; i++) {
      int v = (low[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4;
      y[i] = scale * (float)(v - 32);
    }
  }
}

MI_INLINE void decode_iq4_xs(const uint8_t *b, float *y) {
  float d = half_at(b);
  int high = b[2] | b[3] << 8;
  for (int group = 0; group < 8; group++, y += 32) {
    int low = b[4 + group / 2] >> 4 * (group % 2) & 15;
    float scale = d * (float)((low | (high >> 2 * group & 3) << 4) - 32);
    const uint8_t *q = b + 8 + 16 * group;
    for (int i = 0; i < 16; i++) {
      y[i] = scale * (float)mi_uneven_values[q[i] & 15];
      y[i + 16] = scale * (float)mi_uneven_values[q[i] >> 4];
    }
  }
}

static void dequantise(mi_block_format format, const void *source, float *target, int64_t blocks) {
  const uint8_t *b = source;
#define MI_DEQUANTISE(kind, name, elements, bytes)                        \
  case kind:                                                              \
    for (int64_t i = 0; i < blocks; i++, b += (bytes), target += (elements)) { \
      decode_##name(b, target);                                           \
    }                                                                     \
    break;
  switch (format) {
    MI_DEQUANTISE(MI_Q4_0, q4_0, 32, 18)
    MI_DEQUANTISE(MI_Q4_1, q4_1, 32, 20)
    MI_DEQUANTISE(MI_Q5_0, q5_0, 32, 22)
    MI_DEQUANTISE(MI_Q5_1, q5_1, 32, 24)
    MI_DEQUANTISE(MI_Q8_0, q8_0, 32, 34)
    MI_DEQUANTISE(MI_Q2_K, q2_k, 256, 84)
    MI_DEQUANTISE(MI_Q3_K, q3_k, 256, 110)
    MI_DEQUANTISE(MI_Q4_K, q4_k, 256, 144)
    MI_DEQUANTISE(MI_Q5_K, q5_k, 256, 176)
    MI_DEQUANTISE(MI_Q6_K, q6_k, 256, 210)
    MI_DEQUANTISE(MI_IQ4_NL, iq4_nl, 32, 18)
    MI_DEQUANTISE(MI_IQ4_XS, iq4_xs, 256, 136)
    MI_DEQUANTISE(MI_MXFP4, mxfp4, 32, 17)
  }
#undef MI_DEQUANTISE
}
