// Everything between the matrix products.

static void to_float32(const void *source, mi_type type, float *target, int64_t count) {
  int64_t i = 0;
  if (type == MI_BFLOAT16) {
    for (; i + MI_VL <= count; i += MI_VL) store(target + i, load_as_float32(source, MI_BFLOAT16, i));
  } else if (type == MI_FLOAT16) {
    for (; i + MI_VL <= count; i += MI_VL) store(target + i, load_as_float32(source, MI_FLOAT16, i));
  } else {
    memcpy(target, source, (size_t)count * sizeof(float));
    return;
  }
  for (; i < count; i++) target[i] = element_as_float32(source, type, i);
}

// Every float8 (e4m3) is exact in float32: the exponent is moved by a multiplication, which also
// normalises subnormals. The two codes of NaN are no numbers of a weight.
static void float8_to_float32(const uint8_t *source, float factor, float *target, int64_t count) {
  int64_t i = 0;
  const vf scale = splat(0x1p120f);
  for (; i + MI_VL <= count; i += MI_VL) {
    vc_unaligned bytes;
    memcpy(&bytes, source + i, sizeof bytes);
    vu bits = __builtin_convertvector(bytes, vu);
    vf magnitude = (vf)((bits & 0x7fu) << 20) * scale;
    store(target + i, (vf)((vu)magnitude | (bits & 0x80u) << 24) * splat(factor));
  }
  for (; i < count; i++) {
    uint32_t bits = (source[i] & 0x7fu) << 20;
    float magnitude;
    memcpy(&magnitude, &bits, sizeof magnitude);
    target[i] = (source[i] & 0x80u ? -magnitude : magnitude) * 0x1p120f * factor;
  }
}

// Rounds to the nearest, ties to even; a NaN stays one.
static void to_bfloat16(const float *source, uint16_t *target, int64_t count) {
  int64_t i = 0;
  for (; i + MI_VL <= count; i += MI_VL) {
    vf value = load(source + i);
    vu bits = (vu)value;
    vu rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    vu not_a_number = (vu)(value != value);
    rounded = (rounded & ~not_a_number) | (((bits >> 16) | 0x40u) & not_a_number);
    *(vh_unaligned *)(target + i) = __builtin_convertvector(rounded, vh);
  }
  for (; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, source + i, sizeof bits);
    target[i] = source[i] != source[i] ? (uint16_t)((bits >> 16) | 0x40u)
                                       : (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
  }
}

static void rms_norm(
  const float *x, const float *weight, float epsilon, float *y, int64_t rows, int64_t width
) {
  for (int64_t r = 0; r < rows; r++, x += width, y += width) {
    vf squares = (vf){}, squares2 = (vf){};
    int64_t i = 0;
    for (; i + 2 * MI_VL <= width; i += 2 * MI_VL) {
      vf a = load(x + i), b = load(x + i + MI_VL);
      squares += a * a;
      squares2 += b * b;
    }
    float sum = sum_lanes(squares + squares2);
    for (; i < width; i++) sum += x[i] * x[i];
    float factor = 1 / sqrtf(sum / (float)width + epsilon);
    for (i = 0; i + MI_VL <= width; i += MI_VL) {
      store(y + i, load(x + i) * splat(factor) * load(weight + i));
    }
    for (; i < width; i++) y[i] = x[i] * factor * weight[i];
  }
}

// silu(g) * u = g * u / (1 + e^-g), by e^-|g| so that nothing overflows.
MI_INLINE vf silu_times(vf g, vf u) {
  vf magnitude = (vf)((vi)g & 0x7fffffff);
  vf small = exp2_nonpositive(magnitude * splat(-MI_LOG2E));
  vf numerator = select_lanes(g < splat(0), small, splat(1));
  return g * u * (numerator / (splat(1) + small));
}

static void swiglu(float *gate, const float *up, int64_t count) {
  int64_t i = 0;
  for (; i + MI_VL <= count; i += MI_VL) store(gate + i, silu_times(load(gate + i), load(up + i)));
  for (; i < count; i++) gate[i] = silu_times(splat(gate[i]), splat(up[i]))[0];
}

// (u + 1) * g * sigmoid(alpha * g), g at most limit and u between -limit and limit. NaN stays NaN.
MI_INLINE vf clamped_silu_times(vf g, vf u, vf alpha, vf limit) {
  g = select_lanes(g > limit, limit, g);
  u = select_lanes(u > limit, limit, select_lanes(u < -limit, -limit, u));
  return silu_times(alpha * g, (u + splat(1)) / alpha);
}

static void clamped_swiglu(float *gate, const float *up, float alpha, float limit, int64_t count) {
  int64_t i = 0;
  for (; i + MI_VL <= count; i += MI_VL) {
    store(gate + i, clamped_silu_times(load(gate + i), load(up + i), splat(alpha), splat(limit)));
  }
  for (; i < count; i++) {
    gate[i] = clamped_silu_times(splat(gate[i]), splat(up[i]), splat(alpha), splat(limit))[0];
  }
}

static void add_bias(const float *bias, float *y, int64_t rows, int64_t width) {
  for (int64_t r = 0; r < rows; r++, y += width) {
    int64_t i = 0;
    for (; i + MI_VL <= width; i += MI_VL) store(y + i, load(y + i) + load(bias + i));
    for (; i < width; i++) y[i] += bias[i];
  }
}

static void rotate(
  float *x, const float *cosine, const float *sine, int64_t rows, int64_t heads, int64_t head_dim,
  int64_t pairs, bool interleaved
) {
  for (int64_t r = 0; r < rows; r++, cosine += pairs, sine += pairs) {
    for (int64_t h = 0; h < heads; h++, x += head_dim) {
      int64_t p = 0;
      if (!interleaved) {
        for (; p + MI_VL <= pairs; p += MI_VL) {
          vf a = load(x + p), b = load(x + pairs + p), c = load(cosine + p), s = load(sine + p);
          store(x + p, a * c - b * s);
          store(x + pairs + p, b * c + a * s);
        }
      }
      for (; p < pairs; p++) {
        float *first = interleaved ? x + 2 * p : x + p;
        float *second = interleaved ? x + 2 * p + 1 : x + pairs + p;
        float a = *first, b = *second;
        *first = a * cosine[p] - b * sine[p];
        *second = b * cosine[p] + a * sine[p];
      }
    }
  }
}
