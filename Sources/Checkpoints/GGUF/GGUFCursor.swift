/// Reads the fields of a GGUF header in order, little endian. Never reads outside the bytes, and hands
/// out no count that the rest of the file could not hold.
struct GGUFCursor {
  let bytes: UnsafeRawBufferPointer
  let file: String
  private(set) var position = 0

  init(bytes: UnsafeRawBufferPointer, file: String) {
    self.bytes = bytes
    self.file = file
  }

  private var remaining: Int { bytes.count - position }

  /// The next `count` bytes.
  mutating func take(_ count: Int, _ what: String) throws(CheckpointError) -> Range<Int> {
    guard count >= 0, count <= remaining else {
      throw .malformedFile(
        file: file,
        problem: "is cut off: \(what) at byte \(position) takes \(count) bytes, the file has "
          + "\(remaining) more")
    }
    defer { position += count }
    return position..<position + count
  }

  /// The next whole number.
  mutating func word<Word: FixedWidthInteger & BitwiseCopyable>(
    _ type: Word.Type, _ what: String
  ) throws(CheckpointError) -> Word {
    let range = try take(MemoryLayout<Word>.size, what)
    return Word(littleEndian: bytes.loadUnaligned(fromByteOffset: range.lowerBound, as: type))
  }

  /// A 64-bit count of things that take at least `smallest` bytes each.
  mutating func count(ofAtLeast smallest: Int, _ what: String) throws(CheckpointError) -> Int {
    let start = position
    let count = try word(UInt64.self, what)
    guard count <= UInt64(remaining / smallest) else {
      throw .malformedFile(
        file: file,
        problem: "says at byte \(start) that there are \(count) \(what), more than its "
          + "\(bytes.count) bytes can hold")
    }
    return Int(count)
  }

  /// A string: its length and its bytes.
  mutating func string(_ what: String) throws(CheckpointError) -> Range<Int> {
    let start = position
    let length = try word(UInt64.self, "the length of \(what)")
    guard length <= UInt64(remaining) else {
      throw .malformedFile(
        file: file,
        problem: "is cut off: \(what) at byte \(start) is \(length) bytes long, the file has "
          + "\(remaining) more")
    }
    return try take(Int(length), what)
  }

  /// The name of a key or a tensor: printable ASCII, as the format asks.
  mutating func name(_ what: String) throws(CheckpointError) -> String {
    let start = position
    let range = try string(what)
    let text = bytes[range]
    guard !text.isEmpty, text.count <= Self.longestName, text.allSatisfy({ 0x20..<0x7F ~= $0 })
    else {
      throw .malformedFile(
        file: file,
        problem: "has no name where \(what) should begin, at byte \(start): a name is 1 to "
          + "\(Self.longestName) ASCII characters")
    }
    return String(decoding: text, as: UTF8.self)
  }

  /// The format's limit for keys.
  private static let longestName = 65_535
}
