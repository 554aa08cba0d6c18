// Vectors of fixed lengths, in which blocks are unpacked whatever the instruction set.

// No function here is called from another file: none of these vectors crosses a binary interface.
#pragma clang diagnostic ignored "-Wpsabi"

typedef uint8_t mi_b16 __attribute__((vector_size(16), aligned(1)));
typedef uint8_t mi_b32 __attribute__((vector_size(32), aligned(1)));
typedef uint8_t mi_b8 __attribute__((vector_size(8)));
typedef uint8_t mi_b64 __attribute__((vector_size(64)));
typedef int8_t mi_s16 __attribute__((vector_size(16)));
typedef uint16_t mi_h8 __attribute__((vector_size(16)));
typedef float mi_f8 __attribute__((vector_size(32)));
typedef float mi_f16 __attribute__((vector_size(64)));
typedef float mi_f16_unaligned __attribute__((vector_size(64), aligned(4)));

// Bit i of a word as byte i: 255 or 0.
MI_INLINE mi_b32 spread_bits(uint32_t bits) {
  const mi_b32 bit = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128,
                      1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  mi_b16 bytes = {};
  memcpy(&bytes, &bits, sizeof bits);
  mi_b32 repeated = __builtin_shufflevector(
    bytes, bytes, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3,
    3, 3, 3, 3);
  return (mi_b32)((repeated & bit) == bit);
}
