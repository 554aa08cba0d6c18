/// Paths as the system has them: bytes that need not be UTF-8.
///
/// A path is a `String` everywhere in this package. Bytes of the system that are not UTF-8 are held in it
/// as scalars of a private plane, U+10FE80 to U+10FEFF for the bytes 0x80 to 0xFF, and become bytes again
/// where the system is called; as Python's `surrogateescape`, with scalars that a `String` can hold. A path
/// that holds such scalars itself is taken apart in the same way, so that every path comes back as it was.
package enum SystemPath {
  private static let firstScalar: UInt32 = 0x10FE00

  private static func byte(of scalar: Unicode.Scalar) -> UInt8? {
    guard (firstScalar + 0x80...firstScalar + 0xFF).contains(scalar.value) else { return nil }
    return UInt8(scalar.value - firstScalar)
  }

  /// Whether the text holds bytes that are not UTF-8.
  package static func isRaw(_ text: String) -> Bool {
    text.unicodeScalars.contains { byte(of: $0) != nil }
  }

  /// The text that stands for these bytes.
  package static func text(of bytes: some Collection<UInt8>) -> String {
    let bytes = Array(bytes)
    if let text = String(validating: bytes, as: UTF8.self), !isRaw(text) { return text }
    var text = ""
    var start = 0
    while start < bytes.count {
      let length = scalarLength(bytes[start...])
      if let scalar = String(validating: bytes[start..<start + length], as: UTF8.self),
        !isRaw(scalar)
      {
        text += scalar
        start += length
      } else {
        if let scalar = Unicode.Scalar(firstScalar + UInt32(bytes[start])) {
          text.unicodeScalars.append(scalar)
        }
        start += 1
      }
    }
    return text
  }

  /// Bytes that the first byte announces, as far as there are so many; 1 for a byte that begins nothing.
  private static func scalarLength(_ bytes: ArraySlice<UInt8>) -> Int {
    let announced =
      switch bytes.first ?? 0 {
      case 0xC2...0xDF: 2
      case 0xE0...0xEF: 3
      case 0xF0...0xF4: 4
      default: 1
      }
    return min(announced, bytes.count)
  }

  /// The text that stands for a string of C.
  package static func text(of string: UnsafePointer<CChar>) -> String {
    var count = 0
    while string[count] != 0 { count += 1 }
    return text(of: UnsafeBufferPointer(start: string, count: count).map { UInt8(bitPattern: $0) })
  }

  /// The bytes that the text stands for.
  package static func bytes(of text: String) -> [UInt8] {
    guard isRaw(text) else { return Array(text.utf8) }
    var bytes: [UInt8] = []
    for scalar in text.unicodeScalars {
      if let byte = byte(of: scalar) {
        bytes.append(byte)
      } else {
        bytes += Array(String(scalar).utf8)
      }
    }
    return bytes
  }

  /// The text for a message: bytes that are not UTF-8 as `\xE9`.
  package static func readable(_ text: String) -> String {
    guard isRaw(text) else { return text }
    return text.unicodeScalars.map { scalar in
      byte(of: scalar).map { "\\x" + String($0, radix: 16, uppercase: true) } ?? String(scalar)
    }.joined()
  }

  /// Calls `body` with the path as the system takes it.
  package static func with<Result>(
    _ path: String, _ body: (UnsafePointer<CChar>) -> Result
  ) -> Result {
    guard isRaw(path) else { return path.withCString(body) }
    let bytes = bytes(of: path).map { CChar(bitPattern: $0) } + [0]
    return bytes.withUnsafeBufferPointer { buffer in
      // The buffer holds at least the zero.
      buffer.baseAddress.map(body) ?? path.withCString(body)
    }
  }
}
