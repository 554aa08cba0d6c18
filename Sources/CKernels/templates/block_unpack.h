// Rows of blocks as bytes to multiply with bytes: 256 elements at a time, whatever the format.
//
// Every format becomes element = scale * (byte - offset) + minimum, with a scale (and a minimum) for
// each 16 elements. What the blocks mean is defined in Swift, StoredNumbers/Blocks.

#define MI_CHUNK 256
#define MI_GROUPS 16  // of a chunk

// Held in registers where they are used at once.
typedef struct {
  mi_b64 q[MI_CHUNK / 64];
  mi_f16 scale;    // of each group
  mi_f16 minimum;
} mi_chunk;

typedef struct {
  int32_t elements;  // of a block
  int32_t bytes;
  int32_t offset;    // what a byte holds too much
  bool has_minimum;
  bool is_signed;    // bytes are int8
  bool has_small_groups;  // of 16 elements; else both halves of 32 have the same scale
} mi_layout;

MI_INLINE mi_layout layout_of(mi_block_format format) {
  // Instructions that take unsigned bytes only get signed ones with 128 added.
  const bool is_signed = !MI_UNSIGNED_BYTES;
  const int32_t half = MI_UNSIGNED_BYTES ? 128 : 0;
  switch (format) {
    case MI_Q4_0: return (mi_layout){32, 18, 8, false, false, false};
    case MI_Q4_1: return (mi_layout){32, 20, 0, true, false, false};
    case MI_Q5_0: return (mi_layout){32, 22, 16, false, false, false};
    case MI_Q5_1: return (mi_layout){32, 24, 0, true, false, false};
    case MI_Q8_0: return (mi_layout){32, 34, half, false, is_signed, false};
    case MI_Q2_K: return (mi_layout){256, 84, 0, true, false, true};
    case MI_Q3_K: return (mi_layout){256, 110, 4, false, false, true};
    case MI_Q4_K: return (mi_layout){256, 144, 0, true, false, false};
    case MI_Q5_K: return (mi_layout){256, 176, 0, true, false, false};
    case MI_Q6_K: return (mi_layout){256, 210, 32, false, false, true};
    case MI_IQ4_NL: return (mi_layout){32, 18, half, false, is_signed, false};
    case MI_IQ4_XS: return (mi_layout){256, 136, half, false, is_signed, false};
    case MI_MXFP4: return (mi_layout){32, 17, 12, false, false, false};
  }
  return (mi_layout){};
}

MI_INLINE mi_b16 load_b16(const uint8_t *p) { return *(const mi_b16 *)p; }
MI_INLINE mi_b32 load_b32(const uint8_t *p) { return *(const mi_b32 *)p; }
MI_INLINE mi_b32 joined(mi_b16 a, mi_b16 b) {
  return __builtin_shufflevector(
    a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,
    25, 26, 27, 28, 29, 30, 31);
}

MI_INLINE mi_b64 joined_32(mi_b32 a, mi_b32 b) {
  return __builtin_shufflevector(
    a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,
    25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48,
    49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63);
}

// 32 nibbles in 16 bytes: low halves first, then high ones.
MI_INLINE mi_b32 nibbles(const uint8_t *p) {
  mi_b16 v = load_b16(p);
  return joined(v & 15, v >> 4);
}

// The same, as indices of a table of 16 bytes.
MI_INLINE mi_b32 looked_up(const uint8_t *p, mi_b16 table) {
  mi_b16 v = load_b16(p);
  return joined(look_up(table, v & 15), look_up(table, v >> 4));
}

// The uneven values of IQ4, as bytes of their layout.
MI_INLINE mi_b16 uneven_values(void) {
  const mi_s16 values = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  return (mi_b16)values ^ (MI_UNSIGNED_BYTES ? 128 : 0);
}

// Doubled E2M1 values, 12 added.
MI_INLINE mi_b16 e2m1_values(void) {
  return (mi_b16){12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};
}

// Each of eight numbers twice.
MI_INLINE mi_b16 doubled(uint64_t bytes) {
  mi_b8 v;
  memcpy(&v, &bytes, sizeof v);
  return __builtin_shufflevector(v, v, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
}

MI_INLINE uint32_t word_of(const uint8_t *p) {
  uint32_t word;
  memcpy(&word, p, sizeof word);
  return word;
}

MI_INLINE uint64_t words(uint32_t low, uint32_t high) { return low | (uint64_t)high << 32; }

MI_INLINE mi_f16 numbers(mi_b16 v, float factor) {
  return __builtin_convertvector(v, mi_f16) * factor;
}

MI_INLINE mi_f16 signed_numbers(mi_b16 v, float factor) {
  return __builtin_convertvector((mi_s16)v, mi_f16) * factor;
}

MI_INLINE mi_f16 doubled_numbers(mi_f8 v) {
  return __builtin_shufflevector(v, v, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
}

// Scales and minima of Q4_K and Q5_K: eight pairs of 6 bits in 12 bytes.
MI_INLINE void six_bit_scales(const uint8_t *b, mi_chunk *chunk) {
  uint32_t first = word_of(b + 4), second = word_of(b + 8), rest = word_of(b + 12);
  uint32_t scale = (rest & 0x0f0f0f0fu) | (first >> 6 & 0x03030303u) << 4;
  uint32_t minimum = (rest >> 4 & 0x0f0f0f0fu) | (second >> 6 & 0x03030303u) << 4;
  chunk->scale = numbers(doubled(words(first & 0x3f3f3f3fu, scale)), half_number(b));
  chunk->minimum = numbers(doubled(words(second & 0x3f3f3f3fu, minimum)), -half_number(b + 2));
}

// Halves at the start of `blocks` blocks, `bytes` apart; none behind.
MI_INLINE mi_f8 block_halves(const uint8_t *b, int64_t blocks, int32_t bytes) {
  mi_h8 bits = {};
  MI_UNROLL
  for (int i = 0; i < 8; i++) {
    uint16_t half = 0;
    if (i < blocks) memcpy(&half, b + i * bytes, sizeof half);
    bits[i] = half;
  }
  return half_numbers(bits);
}

// 2^(e - 127) / 2 of the first bytes of blocks: the two least are subnormal.
MI_INLINE mi_f8 block_half_powers(const uint8_t *b, int64_t blocks, int32_t bytes) {
  uint32_t bits[8];
  MI_UNROLL
  for (int i = 0; i < 8; i++) {
    uint32_t e = i < blocks ? b[i * bytes] : 0;
    bits[i] = i >= blocks ? 0 : e > 1 ? (e - 1) << 23 : 1u << (21 + e);
  }
  mi_f8 powers;
  memcpy(&powers, bits, sizeof powers);
  return powers;
}

// 32 elements of a format with small blocks.
MI_INLINE mi_b32 unpack_block(mi_block_format format, const uint8_t *b) {
  switch (format) {
    case MI_Q4_0: return nibbles(b + 2);
    case MI_Q4_1: return nibbles(b + 4);
    case MI_Q5_0: return nibbles(b + 6) | bits_times_16(word_of(b + 2));
    case MI_Q5_1: return nibbles(b + 8) | bits_times_16(word_of(b + 4));
    case MI_Q8_0: return load_b32(b + 2) ^ (MI_UNSIGNED_BYTES ? 128 : 0);
    case MI_IQ4_NL: return looked_up(b + 2, uneven_values());
    case MI_MXFP4: return looked_up(b + 1, e2m1_values());
    default: return (mi_b32){};
  }
}

// Up to eight blocks of 32 elements; what they leave of the chunk counts for nothing.
MI_INLINE void unpack_blocks(
  mi_block_format format, const uint8_t *b, int64_t blocks, mi_chunk *chunk
) {
  const mi_layout layout = layout_of(format);
  MI_UNROLL
  for (int i = 0; i < 8; i += 2) {
    mi_b32 none = {};
    chunk->q[i / 2] = joined_32(
      i < blocks ? unpack_block(format, b + i * layout.bytes) : none,
      i + 1 < blocks ? unpack_block(format, b + (i + 1) * layout.bytes) : none);
  }
  chunk->scale = doubled_numbers(
    format == MI_MXFP4 ? block_half_powers(b, blocks, layout.bytes)
                       : block_halves(b, blocks, layout.bytes));
  if (layout.has_minimum) {
    chunk->minimum = doubled_numbers(block_halves(b + 2, blocks, layout.bytes));
  }
}

// Bits of two rows of 32 bytes: those from `shift` on in the first, and from `shift` + 2.
MI_INLINE mi_b64 two_bits(mi_b32 v, int shift) {
  return joined_32(v >> shift & 3, v >> (shift + 2) & 3);
}

MI_INLINE mi_b64 both_nibbles(mi_b32 v) { return joined_32(v & 15, v >> 4); }

MI_INLINE void unpack_super_block(mi_block_format format, const uint8_t *b, mi_chunk *chunk) {
  switch (format) {
    case MI_Q2_K:
      chunk->scale = numbers(load_b16(b) & 15, half_number(b + 80));
      chunk->minimum = numbers(load_b16(b) >> 4, -half_number(b + 82));
      MI_UNROLL
      for (int i = 0; i < 4; i++) {
        chunk->q[i] = two_bits(load_b32(b + 16 + 32 * (i / 2)), 4 * (i % 2));
      }
      break;
    case MI_Q3_K: {
      uint32_t first = word_of(b + 96), second = word_of(b + 100), high = word_of(b + 104);
      const uint32_t low = 0x0f0f0f0fu, two = 0x03030303u;
      uint32_t sixth[4] = {
        (first & low) | (high & two) << 4, (second & low) | (high >> 2 & two) << 4,
        (first >> 4 & low) | (high >> 4 & two) << 4, (second >> 4 & low) | (high >> 6 & two) << 4};
      mi_b16 scales;
      memcpy(&scales, sixth, sizeof scales);
      chunk->scale = signed_numbers(scales - 32, half_number(b + 108));
      mi_b32 third = load_b32(b);
      MI_UNROLL
      for (int i = 0; i < 4; i++) {
        chunk->q[i] = two_bits(load_b32(b + 32 + 32 * (i / 2)), 4 * (i % 2))
          | joined_32((third >> (2 * i) & 1) << 2, (third >> (2 * i + 1) & 1) << 2);
      }
      break;
    }
    case MI_Q4_K:
      six_bit_scales(b, chunk);
      MI_UNROLL
      for (int i = 0; i < 4; i++) chunk->q[i] = both_nibbles(load_b32(b + 16 + 32 * i));
      break;
    case MI_Q5_K: {
      six_bit_scales(b, chunk);
      mi_b32 fifth = load_b32(b + 16);
      MI_UNROLL
      for (int i = 0; i < 4; i++) {
        chunk->q[i] = both_nibbles(load_b32(b + 48 + 32 * i))
          | joined_32((fifth >> (2 * i) & 1) << 4, (fifth >> (2 * i + 1) & 1) << 4);
      }
      break;
    }
    case MI_Q6_K:
      chunk->scale = signed_numbers(load_b16(b + 192), half_number(b + 208));
      MI_UNROLL
      for (int i = 0; i < 4; i++) {
        // Low nibbles of two rows are the first 64 elements of a half, high ones the others.
        const uint8_t *q = b + 64 * (i / 2);
        mi_b32 first = load_b32(q), second = load_b32(q + 32);
        mi_b64 low = i % 2 == 0 ? joined_32(first & 15, second & 15)
                                : joined_32(first >> 4, second >> 4);
        chunk->q[i] = low | two_bits(load_b32(b + 128 + 32 * (i / 2)), 4 * (i % 2)) << 4;
      }
      break;
    case MI_IQ4_XS: {
      uint32_t low = word_of(b + 4), high = (uint32_t)b[2] | (uint32_t)b[3] << 8;
      uint64_t scales = 0;
      MI_UNROLL
      for (int i = 0; i < 8; i++) {
        uint64_t scale = (low >> 4 * i & 15) | (high >> 2 * i & 3) << 4;
        scales |= scale << 8 * i;
      }
      chunk->scale = signed_numbers(doubled(scales) - 32, half_number(b));
      MI_UNROLL
      for (int i = 0; i < 4; i++) {
        chunk->q[i] = joined_32(
          looked_up(b + 8 + 32 * i, uneven_values()), looked_up(b + 24 + 32 * i, uneven_values()));
      }
      break;
    }
    default: break;
  }
}

// The chunk that starts at block b; `elements` of the row are left.
MI_INLINE void unpack(
  mi_block_format format, const uint8_t *b, int64_t elements, mi_chunk *chunk
) {
  if (layout_of(format).elements == MI_CHUNK) return unpack_super_block(format, b, chunk);
  // A whole chunk has a known number of blocks: its loop is unrolled.
  if (elements >= MI_CHUNK) return unpack_blocks(format, b, 8, chunk);
  unpack_blocks(format, b, elements / 32, chunk);
}
