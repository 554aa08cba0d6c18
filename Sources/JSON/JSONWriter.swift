/// Writes JSON values as text.
///
/// Text stays as it is but for quotation marks, backslashes and control characters (U+007F too, so
/// that a terminal shows a line safely). NaN and the infinities, which JSON cannot say, are written
/// as null. Numbers are written so that they read back to the same bits.
package struct JSONWriter {
  /// What stands between elements, and after a key.
  package enum Format: Sendable {
    /// `[1, 2]` and `{"a": 1}`, as Python writes.
    case spaced
    /// `[1,2]` and `{"a":1}`.
    case compact
  }

  package let format: Format
  package private(set) var bytes: [UInt8] = []

  package init(_ format: Format = .spaced) { self.format = format }

  package mutating func write(_ value: JSONValue) {
    switch value {
    case .null: bytes += "null".utf8
    case .boolean(let value): bytes += (value ? "true" : "false").utf8
    case .integer(let value): bytes += "\(value)".utf8
    case .number(let value): bytes += (value.isFinite ? "\(value)" : "null").utf8
    case .string(let text): write(text)
    case .array(let values):
      bytes.append(UInt8(ascii: "["))
      for (index, value) in values.enumerated() {
        if index > 0 { separate(by: UInt8(ascii: ",")) }
        write(value)
      }
      bytes.append(UInt8(ascii: "]"))
    case .object(let members):
      bytes.append(UInt8(ascii: "{"))
      for (index, member) in members.enumerated() {
        if index > 0 { separate(by: UInt8(ascii: ",")) }
        write(member.key)
        separate(by: UInt8(ascii: ":"))
        write(member.value)
      }
      bytes.append(UInt8(ascii: "}"))
    }
  }

  private mutating func separate(by mark: UInt8) {
    bytes.append(mark)
    if format == .spaced { bytes.append(UInt8(ascii: " ")) }
  }

  private mutating func write(_ text: String) {
    bytes.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""): bytes += "\\\"".utf8
      case UInt8(ascii: "\\"): bytes += "\\\\".utf8
      case UInt8(ascii: "\n"): bytes += "\\n".utf8
      case UInt8(ascii: "\r"): bytes += "\\r".utf8
      case UInt8(ascii: "\t"): bytes += "\\t".utf8
      case 0..<0x20, 0x7F:
        bytes += "\\u00".utf8
        bytes += [Self.digit(byte >> 4), Self.digit(byte & 15)]
      default: bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }

  private static func digit(_ value: UInt8) -> UInt8 {
    value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
  }
}

extension JSONValue {
  /// The value on one line, without a line end.
  package func serialized(_ format: JSONWriter.Format = .spaced) -> String {
    var writer = JSONWriter(format)
    writer.write(self)
    return String(decoding: writer.bytes, as: UTF8.self)
  }
}
