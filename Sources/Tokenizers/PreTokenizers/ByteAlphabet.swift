/// GPT-2's alphabet of 256 visible characters, one for each byte, in which byte-level vocabularies are written.
///
/// Printable Latin-1 characters stand for themselves; the other 68 bytes, in order, are U+0100 and up.
enum ByteAlphabet {
  /// By byte: its scalar.
  static let scalars: [UInt32] = {
    var next: UInt32 = 0x100
    return (0..<256).map { byte in
      if (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || byte >= 0xAE {
        return UInt32(byte)
      }
      defer { next += 1 }
      return next
    }
  }()

  /// By scalar below U+0144: its byte, or -1.
  private static let bytes: [Int16] = {
    var bytes = [Int16](repeating: -1, count: 0x144)
    for (byte, scalar) in scalars.enumerated() { bytes[Int(scalar)] = Int16(byte) }
    return bytes
  }()

  /// Appends the bytes that well-formed `text` stands for; false, appending nothing, when a character of it
  /// is outside the alphabet.
  static func decode(_ text: some Collection<UInt8>, appendingTo output: inout [UInt8]) -> Bool {
    let start = output.count
    var lead: UInt32 = 0
    for byte in text {
      let scalar: UInt32
      switch byte {
      case ..<0x80: scalar = UInt32(byte)
      case ..<0xC0 where lead != 0:
        scalar = lead | UInt32(byte & 0x3F)
        lead = 0
      case 0xC2...0xC5:
        lead = UInt32(byte & 0x1F) << 6
        continue
      default: scalar = .max
      }
      guard scalar < 0x144, bytes[Int(scalar)] >= 0 else {
        output.removeSubrange(start...)
        return false
      }
      output.append(UInt8(truncatingIfNeeded: bytes[Int(scalar)]))
    }
    return true
  }

  /// Writes bytes in the alphabet.
  static func encode(_ bytes: some Sequence<UInt8>) -> [UInt8] {
    var text: [UInt8] = []
    for byte in bytes { UTF8Bytes.append(scalars[Int(byte)], to: &text) }
    return text
  }
}
