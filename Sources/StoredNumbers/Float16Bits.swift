/// IEEE 754 binary16: a sign, five bits of exponent with bias 15, ten of fraction; subnormal numbers
/// are multiples of 2^-24, and the largest number is 65504. `Float16` is not used: it does not exist
/// on every platform that builds this.
extension Float {
  /// The value of a binary16, exactly. An infinity stays one, a NaN keeps its fraction.
  @inlinable package init(float16Bits bits: UInt16) {
    let sign = UInt32(bits & 0x8000) << 16
    let exponent = UInt32(bits >> 10 & 0x1F)
    let fraction = UInt32(bits & 0x3FF)
    switch exponent {
    case 0:
      // Zero and subnormals are multiples of 2^-24, which Float holds exactly.
      let magnitude = Float(fraction) * 0x1p-24
      self = sign == 0 ? magnitude : -magnitude
    case 0x1F:
      self.init(bitPattern: sign | 0x7F80_0000 | fraction << 13)
    default:
      self.init(bitPattern: sign | (exponent + 112) << 23 | fraction << 13)
    }
  }

  /// The nearest binary16, ties to even; infinity from 65520 on, and for NaN the quiet NaN 0x7E00.
  @inlinable package var float16Bits: UInt16 {
    let sign: UInt16 = self.sign == .minus ? 0x8000 : 0
    guard !isNaN else { return 0x7E00 }
    guard magnitude < 65520 else { return sign | 0x7C00 }
    if magnitude < 0x1p-14 {
      return sign | UInt16((magnitude * 0x1p24).rounded(.toNearestOrEven))
    }
    let bits = magnitude.bitPattern
    let rounded = bits &+ 0xFFF &+ (bits >> 13 & 1)
    return sign | UInt16(truncatingIfNeeded: (rounded >> 13) &- 112 << 10)
  }
}

extension Double {
  /// The value of a binary16, exactly.
  @inlinable package init(float16Bits bits: UInt16) { self = Double(Float(float16Bits: bits)) }
}
