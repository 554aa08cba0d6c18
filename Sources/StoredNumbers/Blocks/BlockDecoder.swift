/// Blocks of 32 elements, a function for each format. d is the scale, m the offset.
///
/// Source of the formulas: the Python package `gguf`, `quants.py`.
enum BlockDecoder {
  /// What the 4-bit indices of IQ4_NL and IQ4_XS stand for.
  static let unevenValues: [Double] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
  ]

  /// Floats of a sign, two exponent bits and one fraction bit, by their four bits.
  static let e2m1Values: [Double] = [
    0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6,
  ]

  /// d: bytes 0-1; 32 nibbles: 2-17.
  static func q40(_ block: BlockBytes) -> [Double] {
    let d = block.half(0)
    return (0..<32).map { d * Double(block.nibble($0, from: 2) - 8) }
  }

  /// d: bytes 0-1; m: 2-3; 32 nibbles: 4-19.
  static func q41(_ block: BlockBytes) -> [Double] {
    let d = block.half(0)
    let m = block.half(2)
    return (0..<32).map { d * Double(block.nibble($0, from: 4)) + m }
  }

  /// d: bytes 0-1; fifth bits: 2-5; 32 nibbles: 6-21.
  static func q50(_ block: BlockBytes) -> [Double] {
    let d = block.half(0)
    return (0..<32).map { i in
      d * Double(block.nibble(i, from: 6) + 16 * block.bit(i, from: 2) - 16)
    }
  }

  /// d: bytes 0-1; m: 2-3; fifth bits: 4-7; 32 nibbles: 8-23.
  static func q51(_ block: BlockBytes) -> [Double] {
    let d = block.half(0)
    let m = block.half(2)
    return (0..<32).map { i in
      d * Double(block.nibble(i, from: 8) + 16 * block.bit(i, from: 4)) + m
    }
  }

  /// d: bytes 0-1; 32 signed bytes: 2-33.
  static func q80(_ block: BlockBytes) -> [Double] {
    let d = block.half(0)
    return (0..<32).map { d * Double(block.signed(2 + $0)) }
  }

  /// d: bytes 0-1; 32 nibbles: 2-17.
  static func iq4NL(_ block: BlockBytes) -> [Double] {
    let d = block.half(0)
    return (0..<32).map { d * unevenValues[block.nibble($0, from: 2)] }
  }

  /// Exponent of the scale, biased by 127: byte 0; 32 nibbles: 1-16.
  ///
  /// ggml takes exponent 255 for a power of two as any other, where OCP's E8M0 has NaN.
  static func mxfp4(_ block: BlockBytes) -> [Double] {
    let scale = Double(sign: .plus, exponent: block[0] - 127, significand: 1)
    return (0..<32).map { scale * e2m1Values[block.nibble($0, from: 1)] }
  }
}
