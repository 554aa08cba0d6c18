import JSON

/// A `JSONScanner` over a tokenizer's file whose errors name the file.
///
/// The bytes are already known to be well formed UTF-8. Nothing is read outside the buffer, whatever
/// it holds; nesting is limited.
struct FileScanner {
  /// The file's name, for errors.
  let file: String
  private var scanner: JSONScanner

  var bytes: UnsafeBufferPointer<UInt8> { scanner.bytes }

  /// The offset of the next byte.
  var position: Int { scanner.position }

  init(_ bytes: UnsafeBufferPointer<UInt8>, file: String, position: Int = 0) {
    self.file = file
    scanner = JSONScanner(bytes, position: position)
  }

  func malformed(_ problem: String) -> TokenizerError {
    TokenizerError(.malformed, file, "\(problem) at byte \(scanner.position)")
  }

  private mutating func scan<Value>(
    _ body: (inout JSONScanner) throws(JSONError) -> Value
  ) throws(TokenizerError) -> Value {
    do {
      return try body(&scanner)
    } catch {
      throw TokenizerError(.malformed, file, "\(error.problem) at byte \(error.offset)")
    }
  }

  /// Takes `byte` if it comes next.
  mutating func take(_ byte: UInt8) -> Bool { scanner.take(byte) }

  mutating func expect(_ byte: UInt8) throws(TokenizerError) {
    try scan { scanner throws(JSONError) in try scanner.expect(byte) }
  }

  /// Fails unless only white space is left.
  mutating func expectEnd() throws(TokenizerError) {
    try scan { scanner throws(JSONError) in try scanner.expectEnd() }
  }

  /// Moves on to the next member of an object or element of an array, as `JSONScanner` does.
  mutating func next(until closing: UInt8, _ isFirst: inout Bool) throws(TokenizerError) -> Bool {
    try scan { scanner throws(JSONError) in try scanner.next(until: closing, &isFirst) }
  }

  /// Reads a member's key and the colon after it, replacing `key`.
  mutating func readKey(into key: inout [UInt8]) throws(TokenizerError) {
    try scan { scanner throws(JSONError) in try scanner.readKey(into: &key) }
  }

  /// Reads a string, unescaped, onto the end of `output`.
  mutating func readString(appendingTo output: inout [UInt8]) throws(TokenizerError) {
    try scan { scanner throws(JSONError) in try scanner.readString(appendingTo: &output) }
  }

  /// Reads a whole number of at least 0, such as an id.
  mutating func readIndex() throws(TokenizerError) -> Int {
    try scan { scanner throws(JSONError) in try scanner.readIndex() }
  }

  /// Reads any value.
  mutating func readValue() throws(TokenizerError) -> JSONValue {
    try scan { scanner throws(JSONError) in try scanner.readValue() }
  }

  /// Skips any value, checking its form, and says which bytes it took.
  mutating func skipValue() throws(TokenizerError) -> Range<Int> {
    try scan { scanner throws(JSONError) in try scanner.skipValue() }
  }
}
