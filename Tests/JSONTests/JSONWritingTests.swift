import JSON
import Testing

@Suite struct JSONWritingTests {
  /// SplitMix64: the same numbers everywhere.
  private struct Generator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      var mixed = state
      mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
      mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
      return mixed ^ (mixed >> 31)
    }

    mutating func text() -> String {
      let scalars = (0..<Int.random(in: 0..<12, using: &self)).map { _ -> Unicode.Scalar in
        let code = UInt32.random(in: 0..<0x400, using: &self)
        let wide = UInt32.random(in: 0xE000..<0x11_0000, using: &self)
        return Unicode.Scalar(Bool.random(using: &self) ? code : wide) ?? "?"
      }
      return String(String.UnicodeScalarView(scalars))
    }

    mutating func value(depth: Int) -> JSONValue {
      switch Int.random(in: 0..<(depth > 0 ? 8 : 6), using: &self) {
      case 0: return .null
      case 1: return .boolean(Bool.random(using: &self))
      case 2: return .integer(Int(truncatingIfNeeded: next() >> next() % 64))
      case 3: return .number(Double(bitPattern: next() & 0xBFFF_FFFF_FFFF_FFFF))
      case 4, 5: return .string(text())
      case 6: return .array((0..<next() % 5).map { _ in value(depth: depth - 1) })
      default:
        let count = Int(next() % 14)
        return .object(
          (0..<count).map { ("\($0)" + text(), value(depth: depth - 1)) })
      }
    }
  }

  @Test(arguments: [JSONWriter.Format.spaced, .compact])
  func `What is written reads back to the same value`(format: JSONWriter.Format) throws {
    var generator = Generator(state: 5)
    for _ in 0..<2000 {
      let value = generator.value(depth: 5)
      let text = value.serialized(format)
      #expect(!text.utf8.contains { $0 < 0x20 || $0 == 0x7F })
      for policy in [JSONPolicy.python, .uniqueKeys, .json5] {
        let read = try JSONValue(parsing: Array(text.utf8), policy: policy)
        #expect(read.serialized(format) == text)
        // A whole Double comes back as one: Swift writes "4.0".
        #expect(read == value, "\(text)")
      }
    }
  }

  @Test func `Both formats are those that other programs write`() {
    let value = JSONValue.object([
      ("b", .string("a\"\\\n\t\r\u{1}\u{7F}é")), ("a", .array([.integer(1), .number(0.5)])),
      ("n", .number(.nan)), ("t", .boolean(true)), ("z", .null),
    ])
    #expect(
      value.serialized()
        == #"{"b": "a\"\\\n\t\r\u0001\u007fé", "a": [1, 0.5], "n": null, "t": true, "z": null}"#)
    #expect(
      value.serialized(.compact)
        == #"{"b":"a\"\\\n\t\r\u0001\u007fé","a":[1,0.5],"n":null,"t":true,"z":null}"#)
  }
}
