/// Reads JSON (RFC 8259) front to back from UTF-8 bytes that are already known to be well formed.
///
/// Strings stay bytes, so that texts that are canonically equivalent stay different. Nothing is read
/// outside the buffer, whatever it holds; nesting is limited.
struct JSONScanner {
  /// The deepest nesting that is read; `tokenizer.json` needs about eight.
  static let deepestNesting = 64

  let bytes: UnsafeBufferPointer<UInt8>
  /// The file's name, for errors.
  let file: String
  /// The offset of the next byte.
  private(set) var position: Int

  init(_ bytes: UnsafeBufferPointer<UInt8>, file: String, position: Int = 0) {
    self.bytes = bytes
    self.file = file
    self.position = position
  }

  func malformed(_ problem: String) -> TokenizerError {
    TokenizerError(.malformed, file, "\(problem) at byte \(position)")
  }

  /// The first byte of the next value, white space skipped; nil at the end.
  mutating func peek() -> UInt8? {
    while position < bytes.count {
      switch bytes[position] {
      case 0x20, 0x0A, 0x0D, 0x09: position += 1
      case let byte: return byte
      }
    }
    return nil
  }

  /// Takes `byte` if it comes next.
  mutating func take(_ byte: UInt8) -> Bool {
    guard peek() == byte else { return false }
    position += 1
    return true
  }

  mutating func expect(_ byte: UInt8) throws(TokenizerError) {
    guard take(byte) else {
      let found = peek().map { $0 < 0x80 ? "\"\(Unicode.Scalar($0))\"" : "byte \($0)" }
      throw malformed(
        "expected \"\(Unicode.Scalar(byte))\" but found \(found ?? "the end of the file")")
    }
  }

  /// Fails unless only white space is left.
  mutating func expectEnd() throws(TokenizerError) {
    if peek() != nil { throw malformed("text after the JSON value") }
  }

  /// Moves on to the next member of an object or element of an array.
  ///
  /// `isFirst` is true before the first one and is set to false; the opening bracket must be taken already.
  /// - Returns: false when `closing` was taken.
  mutating func next(until closing: UInt8, _ isFirst: inout Bool) throws(TokenizerError) -> Bool {
    if take(closing) { return false }
    if !isFirst {
      try expect(UInt8(ascii: ","))
      if peek() == closing { throw malformed("a comma before the closing bracket") }
    }
    isFirst = false
    return true
  }

  /// Reads a member's key and the colon after it, replacing `key`.
  mutating func readKey(into key: inout [UInt8]) throws(TokenizerError) {
    key.removeAll(keepingCapacity: true)
    try readString(appendingTo: &key)
    try expect(UInt8(ascii: ":"))
  }

  /// Reads a string, unescaped, onto the end of `output`.
  mutating func readString(appendingTo output: inout [UInt8]) throws(TokenizerError) {
    try expect(UInt8(ascii: "\""))
    while true {
      var end = position
      while end < bytes.count, bytes[end] != 0x22, bytes[end] != 0x5C, bytes[end] >= 0x20 {
        end += 1
      }
      output.append(contentsOf: bytes[position..<end])
      position = end
      guard position < bytes.count else { throw malformed("the file ends within a string") }
      switch bytes[position] {
      case 0x22:
        position += 1
        return
      case 0x5C: try readEscape(appendingTo: &output)
      default: throw malformed("a control character within a string")
      }
    }
  }

  /// Takes a string without unescaping it; escapes are checked when it is read.
  mutating func skipString() throws(TokenizerError) {
    try expect(UInt8(ascii: "\""))
    while position < bytes.count {
      switch bytes[position] {
      case 0x22:
        position += 1
        return
      case 0x5C: position += 2
      default: position += 1
      }
    }
    position = min(position, bytes.count)
    throw malformed("the file ends within a string")
  }

  private mutating func readEscape(appendingTo output: inout [UInt8]) throws(TokenizerError) {
    guard position + 1 < bytes.count else { throw malformed("the file ends within a string") }
    let kind = bytes[position + 1]
    switch kind {
    case 0x22, 0x5C, 0x2F: output.append(kind)
    case UInt8(ascii: "b"): output.append(0x08)
    case UInt8(ascii: "f"): output.append(0x0C)
    case UInt8(ascii: "n"): output.append(0x0A)
    case UInt8(ascii: "r"): output.append(0x0D)
    case UInt8(ascii: "t"): output.append(0x09)
    case UInt8(ascii: "u"):
      var scalar = try readHexadecimal(at: position + 2)
      if scalar >= 0xD800 && scalar < 0xDC00 {
        guard position + 7 < bytes.count, bytes[position + 6] == 0x5C,
          bytes[position + 7] == UInt8(ascii: "u")
        else { throw malformed("half a surrogate pair") }
        let low = try readHexadecimal(at: position + 8)
        guard low >= 0xDC00 && low < 0xE000 else { throw malformed("half a surrogate pair") }
        scalar = 0x10000 + (scalar - 0xD800) << 10 + (low - 0xDC00)
        position += 6
      } else if scalar >= 0xDC00 && scalar < 0xE000 {
        throw malformed("half a surrogate pair")
      }
      UTF8Bytes.append(scalar, to: &output)
      position += 4
    default: throw malformed("an unknown escape in a string")
    }
    position += 2
  }

  private func readHexadecimal(at start: Int) throws(TokenizerError) -> UInt32 {
    guard start + 4 <= bytes.count else { throw malformed("the file ends within a string") }
    var value: UInt32 = 0
    for byte in bytes[start..<start + 4] {
      guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
        throw malformed("an unknown escape in a string")
      }
      value = value << 4 | UInt32(digit)
    }
    return value
  }

  /// Reads a whole number of at least 0, such as an id.
  mutating func readIndex() throws(TokenizerError) -> Int {
    _ = peek()
    var value = 0
    let start = position
    while position < bytes.count, bytes[position] >= 0x30, bytes[position] <= 0x39 {
      guard value < 1 << 40 else { throw malformed("a number that is too large for an id") }
      value = value * 10 + Int(bytes[position] - 0x30)
      position += 1
    }
    let next = position < bytes.count ? bytes[position] : 0
    guard position > start, next != UInt8(ascii: "."), next | 0x20 != UInt8(ascii: "e") else {
      throw malformed("expected a whole number of at least 0")
    }
    return value
  }

  /// Takes one of the literals `true`, `false` and `null`.
  mutating func readLiteral(_ literal: StaticString) throws(TokenizerError) {
    let end = position + literal.utf8CodeUnitCount
    let matches =
      end <= bytes.count
      && literal.withUTF8Buffer { $0.elementsEqual(bytes[position..<end]) }
    guard matches else { throw malformed("expected a JSON value") }
    position = end
  }

  /// Takes a number, checking its form, and says which bytes it took.
  mutating func readNumberText() throws(TokenizerError) -> Range<Int> {
    let start = position
    _ = takeOne(of: "-")
    try takeDigits()
    if takeOne(of: ".") { try takeDigits() }
    if takeOne(of: "eE") {
      _ = takeOne(of: "+-")
      try takeDigits()
    }
    return start..<position
  }

  private mutating func takeOne(of choices: StaticString) -> Bool {
    guard position < bytes.count else { return false }
    let found = choices.withUTF8Buffer { $0.contains(bytes[position]) }
    if found { position += 1 }
    return found
  }

  private mutating func takeDigits() throws(TokenizerError) {
    let start = position
    while position < bytes.count, bytes[position] >= 0x30, bytes[position] <= 0x39 { position += 1 }
    if position == start { throw malformed("expected a JSON value") }
  }
}
