// What the products with blocks need of x86: a table of 16 bytes, halves, the bits of a word.


MI_INLINE mi_b16 look_up(mi_b16 table, mi_b16 index) {
  return (mi_b16)_mm_shuffle_epi8((__m128i)table, (__m128i)index);
}

MI_INLINE float half_number(const uint8_t *p) {
  uint16_t bits;
  memcpy(&bits, p, sizeof bits);
  // All of the register is set: nothing waits for what it held.
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)));
}

MI_INLINE mi_f8 half_numbers(mi_h8 bits) { return (mi_f8)_mm256_cvtph_ps((__m128i)bits); }
