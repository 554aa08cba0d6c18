/// A 64-bit hash (FNV-1a) that tells contents apart: checksums of files, keys of caches, names of
/// models. Not meant to resist forgery. Source: draft-eastlake-fnv.
package struct Fingerprint: Sendable {
  package private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

  package init() {}

  package mutating func add(_ byte: UInt8) { value = (value ^ UInt64(byte)) &* 0x100_0000_01B3 }

  /// Adds the bytes of a text and an end, so that "ab", "c" and "a", "bc" differ.
  package mutating func add(_ text: String) {
    for byte in text.utf8 { add(byte) }
    add(0xFF)
  }

  package mutating func add(_ ids: [Int32]) {
    for id in ids {
      for shift in [0, 8, 16, 24] { add(UInt8(truncatingIfNeeded: id >> Int32(shift))) }
    }
  }

  package mutating func add(_ bytes: UnsafeRawBufferPointer) {
    for byte in bytes { add(byte) }
  }

  /// Adds words of eight bytes, and what remains as bytes: another hash than that of the bytes, and
  /// eight times as fast.
  package mutating func add(words bytes: UnsafeRawBufferPointer) {
    let whole = bytes.count / 8 * 8
    for offset in stride(from: 0, to: whole, by: 8) {
      let word = UInt64(
        littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
      value = (value ^ word) &* 0x100_0000_01B3
      // A product carries upwards only: without this the upper bits would have no effect below.
      value ^= value >> 32
    }
    for byte in bytes[whole...] { add(byte) }
  }

  /// Sixteen hexadecimal digits.
  package var text: String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  package static func of(_ text: String) -> String {
    var fingerprint = Fingerprint()
    fingerprint.add(text)
    return fingerprint.text
  }
}
