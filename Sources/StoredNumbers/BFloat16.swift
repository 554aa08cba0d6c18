/// bfloat16: the upper half of a float32, with its sign, its eight bits of exponent and seven of
/// fraction.
///
/// Everything in this module works on bit patterns: code for baseline x86-64 would call the library
/// for every conversion of `Float16`.
extension Float {
  /// The value of a bfloat16, exactly.
  @inlinable package init(bfloat16Bits bits: UInt16) {
    self.init(bitPattern: UInt32(bits) << 16)
  }

  /// The nearest bfloat16, ties to even; a NaN becomes the quiet NaN 0x7FC0.
  @inlinable package var bfloat16Bits: UInt16 {
    guard !isNaN else { return 0x7FC0 }
    let bits = bitPattern
    // Infinity, the largest pattern, does not overflow.
    return UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ (bits >> 16 & 1)) >> 16)
  }
}

extension Double {
  /// The value of a bfloat16, exactly.
  @inlinable package init(bfloat16Bits bits: UInt16) { self = Double(Float(bfloat16Bits: bits)) }
}
