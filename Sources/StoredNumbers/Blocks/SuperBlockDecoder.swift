/// Blocks of 256 elements, a function for each format.
///
/// d is the scale of a block's sub-scales, dmin that of its sub-offsets. In the formats of 2, 3 and 6
/// bits, an element's bits lie in one of two halves of 128 elements (n), at one of four shifts (s), in
/// byte l of 32.
/// Source of the formulas: the Python package `gguf`, `quants.py`.
enum SuperBlockDecoder {
  /// Scales and offsets of 16 elements each: bytes 0-15; 2-bit elements: 16-79; d: 80-81;
  /// dmin: 82-83.
  static func q2K(_ block: BlockBytes) -> [Double] {
    let d = block.half(80)
    let dmin = block.half(82)
    return (0..<256).map { i in
      let (n, s, l) = (i / 128, i % 128 / 32, i % 32)
      let value = block[16 + 32 * n + l] >> (2 * s) & 3
      let group = i / 16
      return d * Double(block.low(group) * value) - dmin * Double(block.high(group))
    }
  }

  /// Third bits: bytes 0-31; 2-bit elements: 32-95; 16 scales of 6 bits: 96-107; d: 108-109.
  static func q3K(_ block: BlockBytes) -> [Double] {
    let d = block.half(108)
    return (0..<256).map { i in
      let (n, s, l) = (i / 128, i % 128 / 32, i % 32)
      let lower = block[32 + 32 * n + l] >> (2 * s) & 3
      let third = block[l] >> (4 * n + s) & 1
      let group = i / 16
      let lowScale = group < 8 ? block.low(96 + group) : block.high(96 + group - 8)
      let highScale = block[104 + group % 4] >> (2 * (group / 4)) & 3
      let scale = (lowScale | highScale << 4) - 32
      return d * Double(scale * (lower + 4 * third - 4))
    }
  }

  /// d: bytes 0-1; dmin: 2-3; scales and offsets: 4-15; nibbles: 16-143, of which 32 bytes hold 32
  /// elements in their low halves and the next 32 in their high ones.
  static func q4K(_ block: BlockBytes) -> [Double] {
    let d = block.half(0)
    let dmin = block.half(2)
    return (0..<256).map { i in
      let (group, l) = (i / 32, i % 32)
      let offset = 16 + 32 * (group / 2) + l
      let value = group % 2 == 0 ? block.low(offset) : block.high(offset)
      let (scale, minimum) = sixBitPair(group, of: block, from: 4)
      return d * Double(scale * value) - dmin * Double(minimum)
    }
  }

  /// d: bytes 0-1; dmin: 2-3; scales and offsets: 4-15; fifth bits: 16-47; nibbles as in Q4_K: 48-175.
  static func q5K(_ block: BlockBytes) -> [Double] {
    let d = block.half(0)
    let dmin = block.half(2)
    return (0..<256).map { i in
      let (group, l) = (i / 32, i % 32)
      let offset = 48 + 32 * (group / 2) + l
      let nibble = group % 2 == 0 ? block.low(offset) : block.high(offset)
      let value = nibble + 16 * (block[16 + l] >> group & 1)
      let (scale, minimum) = sixBitPair(group, of: block, from: 4)
      return d * Double(scale * value) - dmin * Double(minimum)
    }
  }

  /// Lower four bits: bytes 0-127; upper two: 128-191; 16 signed scales: 192-207; d: 208-209.
  static func q6K(_ block: BlockBytes) -> [Double] {
    let d = block.half(208)
    return (0..<256).map { i in
      let (n, s, l) = (i / 128, i % 128 / 32, i % 32)
      let offset = 64 * n + 32 * (s % 2) + l
      let lower = s < 2 ? block.low(offset) : block.high(offset)
      let upper = block[128 + 32 * n + l] >> (2 * s) & 3
      return d * Double(block.signed(192 + i / 16) * ((lower | upper << 4) - 32))
    }
  }

  /// d: bytes 0-1; upper two bits of 8 scales: 2-3; lower four: 4-7; nibbles: 8-135, 16 bytes to 32
  /// elements.
  static func iq4XS(_ block: BlockBytes) -> [Double] {
    let d = block.half(0)
    let upperScales = block[2] | block[3] << 8
    return (0..<256).map { i in
      let (group, l) = (i / 32, i % 32)
      let lower = block[4 + group / 2] >> (4 * (group % 2)) & 15
      let scale = (lower | (upperScales >> (2 * group) & 3) << 4) - 32
      let index = block.nibble(l, from: 8 + 16 * group)
      return d * Double(scale) * BlockDecoder.unevenValues[index]
    }
  }

  /// Scale and offset `group` of 8 pairs of 6 bits, packed into 12 bytes from `start` on.
  private static func sixBitPair(
    _ group: Int, of block: BlockBytes, from start: Int
  ) -> (scale: Int, minimum: Int) {
    if group < 4 { return (block[start + group] & 63, block[start + group + 4] & 63) }
    let shared = start + group + 4
    return (
      block.low(shared) | (block[start + group - 4] >> 6) << 4,
      block.high(shared) | (block[start + group] >> 6) << 4
    )
  }
}
