// What the products with blocks need of NEON: a table of 16 bytes, halves, the bits of a word.

MI_INLINE mi_b16 look_up(mi_b16 table, mi_b16 index) {
  return (mi_b16)vqtbl1q_u8((uint8x16_t)table, (uint8x16_t)index);
}

MI_INLINE float half_number(const uint8_t *p) {
  uint16_t bits;
  memcpy(&bits, p, sizeof bits);
  return vgetq_lane_f32(vcvt_f32_f16((float16x4_t)vdup_n_u16(bits)), 0);
}

MI_INLINE mi_f8 half_numbers(mi_h8 bits) {
  float16x8_t halves = (float16x8_t)bits;
  float32x4_t low = vcvt_f32_f16(vget_low_f16(halves)), high = vcvt_f32_f16(vget_high_f16(halves));
  return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
}

MI_INLINE mi_b32 bits_times_16(uint32_t bits) { return spread_bits(bits) & 16; }
