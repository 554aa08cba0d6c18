/// Reads the fields of one protocol buffer message, front to back, within its bytes.
///
/// Source: the protocol buffer encoding; wire types 0 (varint), 1 (64 bits), 2 (bytes) and 5 (32 bits).
struct ProtocolBufferReader {
  enum Value {
    case number(UInt64)
    case bits32(UInt32)
    case bits64(UInt64)
    case bytes(Range<Int>)
  }

  private let bytes: [UInt8]
  private let file: String
  private var position: Int
  private let end: Int

  init(_ bytes: [UInt8], _ range: Range<Int>, file: String) {
    self.bytes = bytes
    self.file = file
    position = range.lowerBound
    end = range.upperBound
  }

  /// The next field's number and value, or nil at the end.
  ///
  /// - Throws: `.malformed` naming the byte.
  mutating func next() throws(TokenizerError) -> (field: Int, value: Value)? {
    guard position < end else { return nil }
    let tag = try readNumber()
    let field = Int(truncatingIfNeeded: tag >> 3)
    switch tag & 7 {
    case 0: return (field, .number(try readNumber()))
    case 1: return (field, .bits64(try readFixed(8)))
    case 2:
      let length = try readNumber()
      guard length <= UInt64(end - position) else { throw malformed() }
      defer { position += Int(length) }
      return (field, .bytes(position..<position + Int(length)))
    case 5: return (field, .bits32(UInt32(truncatingIfNeeded: try readFixed(4))))
    default: throw malformed()
    }
  }

  private func malformed() -> TokenizerError {
    TokenizerError(
      .malformed, file,
      "is neither a SentencePiece model nor a list of ranks (byte \(position)): download it again")
  }

  private mutating func readNumber() throws(TokenizerError) -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: 0 as UInt64, to: 70, by: 7) {
      guard position < end else { throw malformed() }
      let byte = bytes[position]
      position += 1
      if shift < 64 { value |= UInt64(byte & 0x7F) << shift }
      if byte < 0x80 { return value }
    }
    throw malformed()
  }

  private mutating func readFixed(_ count: Int) throws(TokenizerError) -> UInt64 {
    guard end - position >= count else { throw malformed() }
    defer { position += count }
    return (0..<count).reduce(0) { $0 | UInt64(bytes[position + $1]) << UInt64(8 * $1) }
  }
}
