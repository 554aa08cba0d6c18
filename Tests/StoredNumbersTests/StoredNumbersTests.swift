import StoredNumbers
import Testing

/// Every pattern of the three formats against their definitions, and rounding against a search for the
/// nearest number.
@Suite struct StoredNumbersTests {
  /// The value of a pattern by the definition of IEEE 754: `fractionBits` of fraction, an exponent with
  /// `bias`. Without a case for the largest exponent.
  private func value(_ bits: Int, fractionBits: Int, exponentBits: Int, bias: Int) -> Double {
    let fraction = Double(bits & (1 << fractionBits - 1))
    let exponent = bits >> fractionBits & (1 << exponentBits - 1)
    let scale = Double(sign: .plus, exponent: -fractionBits, significand: 1)
    let binade = Double(sign: .plus, exponent: max(exponent, 1) - bias, significand: 1)
    let magnitude = (exponent == 0 ? fraction * scale : 1 + fraction * scale) * binade
    return bits >> (fractionBits + exponentBits) == 1 ? -magnitude : magnitude
  }

  @Test func `Every binary16 has the value of its definition and comes back`() {
    for bits in UInt16.min ... .max {
      let float = Float(float16Bits: bits)
      #expect(Double(float16Bits: bits) == Double(float) || float.isNaN)
      switch (bits >> 10 & 0x1F, bits & 0x3FF) {
      case (0x1F, 0):
        #expect(float == (bits >> 15 == 0 ? .infinity : -.infinity))
        #expect(float.float16Bits == bits)
      case (0x1F, _):
        #expect(float.isNaN)
        #expect(float.float16Bits == 0x7E00)
      default:
        let expected = value(Int(bits), fractionBits: 10, exponentBits: 5, bias: 15)
        if Double(float) != expected || float.float16Bits != bits {
          Issue.record("\(bits): \(float), \(expected), \(float.float16Bits)")
        }
      }
    }
  }

  @Test func `Every float8 has the value of its definition and comes back`() {
    for bits in UInt8.min ... .max {
      let float = Float(float8Bits: bits)
      if bits & 0x7F == 0x7F {
        #expect(float.isNaN && Double(float8Bits: bits).isNaN)
        #expect(float.float8Bits & 0x7F == 0x7F)
      } else {
        #expect(
          Double(float) == value(Int(bits), fractionBits: 3, exponentBits: 4, bias: 7), "\(bits)")
        #expect(float.float8Bits == bits && Double(float8Bits: bits).float8Bits == bits, "\(bits)")
      }
    }
    #expect(Float(float8Bits: 0x7E) == .largestFloat8)
    #expect(Double(float8Bits: 0x7E) == .largestFloat8)
  }

  @Test func `Every bfloat16 is the upper half of a float32 and comes back`() {
    for bits in UInt16.min ... .max {
      let float = Float(bfloat16Bits: bits)
      #expect(float.bitPattern == UInt32(bits) << 16)
      if float.isNaN {
        #expect(float.bfloat16Bits == 0x7FC0 && Double(bfloat16Bits: bits).isNaN)
      } else if float.bfloat16Bits != bits || Double(bfloat16Bits: bits) != Double(float) {
        Issue.record("\(bits) became \(float.bfloat16Bits)")
      }
    }
  }

  /// Halfway between two neighbours the even pattern is the nearest, and on either side the closer one.
  private func expectRounding(
    largest: UInt16, _ value: (UInt16) -> Float, _ bits: (Float) -> UInt16
  ) {
    for pattern in 0..<largest {
      let (low, high) = (value(pattern), value(pattern + 1))
      // Both have at most eleven significant bits: the middle is exact.
      let middle = low + (high - low) / 2
      guard middle > low, middle < high else { continue }
      let even = pattern % 2 == 0 ? pattern : pattern + 1
      if bits(middle) != even || bits(middle.nextDown) != pattern
        || bits(middle.nextUp) != pattern + 1 || bits(-middle) & 0x7FFF != even && largest > 256
      {
        Issue.record("around \(middle), pattern \(pattern)")
      }
    }
  }

  @Test func `Rounding goes to the nearest number, ties to even`() {
    expectRounding(
      largest: 0x7BFF, { Float(float16Bits: $0) }, { $0.float16Bits })
    expectRounding(
      largest: 0x7E, { Float(float8Bits: UInt8($0)) }, { UInt16($0.float8Bits) })
    expectRounding(
      largest: 0x7F7F, { Float(bfloat16Bits: $0) }, { $0.bfloat16Bits })
  }

  @Test func `Numbers beyond a format become infinity, or the largest where there is none`() {
    #expect(Float(65519).float16Bits == 0x7BFF && Float(65520).float16Bits == 0x7C00)
    #expect((-Float.greatestFiniteMagnitude).float16Bits == 0xFC00)
    #expect(Float.greatestFiniteMagnitude.bfloat16Bits == 0x7F80)
    #expect((-Float.infinity).bfloat16Bits == 0xFF80)
    #expect(Float.infinity.float8Bits == 0x7E && Float(-1e30).float8Bits == 0xFE)
    #expect(Double(460).float8Bits == 0x7E && Double(1e300).float8Bits == 0x7E)
    #expect(Float(0x1p-26).float16Bits == 0 && Float(-0.0).float16Bits == 0x8000)
    // Of a Double that Float would round up to the middle: one rounding, not two.
    #expect((1.0625 - 0x1p-40).float8Bits == Double(1).float8Bits)
  }
}
