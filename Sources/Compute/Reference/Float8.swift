/// The eight-bit format e4m3: a sign, four bits of exponent with bias 7, three of fraction; no
/// infinity, NaN where all exponent and fraction bits are set, so the largest number is 448.
/// Source: Micikevicius et al., FP8 Formats for Deep Learning (arXiv 2209.05433), section 3.
extension Double {
  /// The largest number of the format.
  package static let largestFloat8 = 448.0

  package init(float8Bits bits: UInt8) {
    let exponent = Int(bits >> 3 & 0xF)
    let fraction = Double(bits & 0x7)
    let magnitude: Double
    if bits & 0x7F == 0x7F {
      magnitude = .nan
    } else if exponent == 0 {
      magnitude = fraction * 0x1p-9
    } else {
      magnitude = Double(sign: .plus, exponent: exponent - 10, significand: 8 + fraction)
    }
    self = bits >> 7 == 1 ? -magnitude : magnitude
  }

  /// Rounded to nearest or even; numbers beyond the format become its largest.
  package var float8Bits: UInt8 {
    let sign: UInt8 = self.sign == .minus ? 0x80 : 0
    if isNaN { return sign | 0x7F }
    let size = magnitude
    if size >= Self.largestFloat8 { return sign | 0x7E }
    // Numbers below 2^-6 share the spacing 2^-9 with the first binade.
    let exponent = size < 0x1p-6 ? -6 : Int(size.exponent)
    let units = (size / Double(sign: .plus, exponent: exponent - 3, significand: 1)).rounded(
      .toNearestOrEven)
    // Sixteen units are the next binade's eight, which the carry into the exponent bits gives.
    let biased = Int(units) < 8 ? Int(units) : Int(units) - 8 + (exponent + 7) << 3
    return sign | UInt8(biased)
  }
}
