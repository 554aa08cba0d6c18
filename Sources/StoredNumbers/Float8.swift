/// The eight-bit format e4m3: a sign, four bits of exponent with bias 7, three of fraction; no
/// infinity, NaN where all exponent and fraction bits are set, so the largest number is 448.
/// Source: Micikevicius et al., FP8 Formats for Deep Learning (arXiv 2209.05433), section 3.
extension Float {
  /// The largest number of the format.
  package static let largestFloat8: Float = 448

  /// The value of a float8, exactly.
  @inlinable package init(float8Bits bits: UInt8) {
    let sign = UInt32(bits & 0x80) << 24
    let magnitude = UInt32(bits & 0x7F)
    switch magnitude {
    case 0..<8:
      // Zero and subnormals are multiples of 2^-9.
      let value = Float(magnitude) * 0x1p-9
      self = sign == 0 ? value : -value
    case 0x7F: self.init(bitPattern: sign | 0x7FC0_0000)
    default: self.init(bitPattern: sign | (magnitude << 20 + 120 << 23))
    }
  }

  /// The nearest float8, ties to even; numbers beyond the format, infinity too, become its largest.
  @inlinable package var float8Bits: UInt8 { Double(self).float8Bits }
}

extension Double {
  /// The largest number of the format.
  package static let largestFloat8 = 448.0

  /// The value of a float8, exactly.
  @inlinable package init(float8Bits bits: UInt8) { self = Double(Float(float8Bits: bits)) }

  /// The nearest float8, ties to even; numbers beyond the format, infinity too, become its largest.
  @inlinable package var float8Bits: UInt8 {
    let sign: UInt8 = self.sign == .minus ? 0x80 : 0
    if isNaN { return sign | 0x7F }
    let size = magnitude
    if size >= 448 { return sign | 0x7E }
    // Numbers below 2^-6 share the spacing 2^-9 with the first binade.
    let exponent = size < 0x1p-6 ? -6 : Int(size.exponent)
    let units = (size / Double(sign: .plus, exponent: exponent - 3, significand: 1)).rounded(
      .toNearestOrEven)
    // Sixteen units are the next binade's eight, which the carry into the exponent bits gives.
    let biased = Int(units) < 8 ? Int(units) : Int(units) - 8 + (exponent + 7) << 3
    return sign | UInt8(biased)
  }
}
