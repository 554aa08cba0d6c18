/// What JSON5 adds, in files that people edit by hand. Source: https://spec.json5.org.
extension JSONScanner {
  /// Skips JSON5's further white space and its comments, which begin with `byte`.
  ///
  /// - Returns: False when nothing was skipped.
  mutating func skipJSON5Blank(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x0B, 0x0C:
      position += 1
      return true
    case UInt8(ascii: "/"): return skipComment()
    default:
      // No-break space, line and paragraph separator, byte order mark.
      return take(word: "\u{A0}") || take(word: "\u{2028}") || take(word: "\u{2029}")
        || take(word: "\u{FEFF}")
    }
  }

  private mutating func skipComment() -> Bool {
    if take(word: "//") {
      while position < bytes.count, bytes[position] != 0x0A, bytes[position] != 0x0D {
        position += 1
      }
      return true
    }
    let start = position
    guard take(word: "/*") else { return false }
    while position < bytes.count {
      if take(word: "*/") { return true }
      position += 1
    }
    // Without an end it is no comment.
    position = start
    return false
  }

  /// Reads a key without quotation marks: ASCII letters, digits, `_` and `$`, and any other scalar.
  mutating func readIdentifier(appendingTo key: inout [UInt8]) throws(JSONError) {
    let start = position
    while position < bytes.count {
      switch bytes[position] {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "_"), UInt8(ascii: "$"), 0x80...:
        break
      case UInt8(ascii: "0")...UInt8(ascii: "9") where position > start: break
      default:
        guard position > start else { throw failure("a key should begin here") }
        return
      }
      key.append(bytes[position])
      position += 1
    }
    throw failure("")
  }

  /// Reads the escape `kind`, before whose backslash the scanner stands.
  mutating func readJSON5Escape(
    _ kind: UInt8, appendingTo output: inout [UInt8]
  ) throws(JSONError) {
    switch kind {
    case UInt8(ascii: "v"): output.append(0x0B)
    case UInt8(ascii: "0"): output.append(0x00)
    case UInt8(ascii: "x"):
      let code = try hexadecimal(digits: 2, at: position + 2)
      let scalar = Unicode.Scalar(UInt8(truncatingIfNeeded: code))
      output.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
      position += 2
    case 0x0A: break
    case 0x0D:
      // A line that ends in a backslash continues on the next.
      if position + 2 < bytes.count, bytes[position + 2] == 0x0A { position += 1 }
    case UInt8(ascii: "1")...UInt8(ascii: "9"): throw failure("an escape that JSON5 does not have")
    default:
      // Any other character stands for itself; the scanner goes on with its bytes.
      output.append(kind)
    }
    position += 2
  }

  /// Reads `NaN` and hexadecimal numbers after their sign; nil when another number comes.
  mutating func readJSON5Number(isNegative: Bool) throws(JSONError) -> JSONValue? {
    if take(word: "NaN") { return .number(.nan) }
    guard take(word: "0x") || take(word: "0X") else { return nil }
    var value = 0.0
    var digits = 0
    while position < bytes.count, let digit = hexadecimalDigit(bytes[position]) {
      value = value * 16 + Double(digit)
      digits += 1
      position += 1
    }
    guard digits > 0 else { throw failure("a hexadecimal digit should stand here") }
    let signed = isNegative ? -value : value
    return Int(exactly: signed).map { .integer($0) } ?? .number(signed)
  }
}
