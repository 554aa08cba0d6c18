/// Reads JSON front to back from UTF-8 bytes, in one pass, never outside the buffer.
///
/// Small files become a value by ``JSONValue/init(parsing:policy:)-(UnsafeRawBufferPointer,_)``. For
/// large ones the scanner is used directly, so that no value is made of a vocabulary of 30 MB:
///
///     var scanner = JSONScanner(bytes)
///     var key: [UInt8] = [], isFirst = true
///     try scanner.expect(UInt8(ascii: "{"))
///     while try scanner.next(until: UInt8(ascii: "}"), &isFirst) {
///       try scanner.readKey(into: &key)
///       let value = try scanner.readValue()      // or readString, readIndex, skipValue
///     }
///     try scanner.expectEnd()
///
/// ``readString(appendingTo:)`` and ``readKey(into:)`` give bytes as they stand, well formed only if
/// the buffer is; ``readValue()`` checks its strings itself. A scanner that threw is of no further use.
/// Time and memory are linear in the text.
package struct JSONScanner {
  package let bytes: UnsafeBufferPointer<UInt8>
  package let policy: JSONPolicy
  /// The offset of the next byte.
  package internal(set) var position: Int
  /// Lists and objects that are open within ``readValue()`` and ``skipValue()``.
  var depth = 0

  /// - Parameter position: The offset at which reading begins, before a value.
  package init(
    _ bytes: UnsafeBufferPointer<UInt8>, policy: JSONPolicy = .python, position: Int = 0
  ) {
    self.bytes = bytes
    self.policy = policy
    self.position = position
  }

  /// An error at the next byte.
  package func failure(_ problem: String) -> JSONError {
    JSONError(
      offset: min(position, bytes.count),
      problem: position < bytes.count ? problem : "the text ends early")
  }

  /// The first byte of the next value, white space and JSON5's comments skipped; nil at the end.
  package mutating func peek() -> UInt8? {
    while position < bytes.count {
      switch bytes[position] {
      case 0x20, 0x0A, 0x0D, 0x09: position += 1
      case let byte:
        guard policy.allowsJSON5, skipJSON5Blank(byte) else { return byte }
      }
    }
    return nil
  }

  /// Takes `byte` if it comes next.
  package mutating func take(_ byte: UInt8) -> Bool {
    guard peek() == byte else { return false }
    position += 1
    return true
  }

  /// Takes `byte`, which must come next.
  package mutating func expect(_ byte: UInt8) throws(JSONError) {
    guard take(byte) else {
      let found = peek().map { $0 > 0x20 && $0 < 0x7F ? "\"\(Unicode.Scalar($0))\"" : "byte \($0)" }
      throw failure("expected \"\(Unicode.Scalar(byte))\" but found \(found ?? "nothing")")
    }
  }

  /// Fails unless only white space is left.
  package mutating func expectEnd() throws(JSONError) {
    if peek() != nil { throw failure("text after the value") }
  }

  /// Moves on to the next member of an object or element of a list, whose opening bracket was taken.
  ///
  /// - Parameter isFirst: True before the first one; set to false.
  /// - Returns: False when `closing` was taken.
  package mutating func next(
    until closing: UInt8, _ isFirst: inout Bool
  ) throws(JSONError) -> Bool {
    if take(closing) { return false }
    if !isFirst {
      try expect(UInt8(ascii: ","))
      if peek() == closing {
        guard policy.allowsJSON5 else { throw failure("a comma before the closing bracket") }
        position += 1
        return false
      }
    }
    isFirst = false
    return true
  }

  /// Reads a member's key and the colon after it, replacing `key`.
  package mutating func readKey(into key: inout [UInt8]) throws(JSONError) {
    key.removeAll(keepingCapacity: true)
    if policy.allowsJSON5, let byte = peek(), byte != 0x22, byte != 0x27 {
      try readIdentifier(appendingTo: &key)
    } else {
      guard peek() == 0x22 || policy.allowsJSON5 else { throw failure("a key should begin here") }
      try readString(appendingTo: &key)
    }
    try expect(UInt8(ascii: ":"))
  }

  /// Takes `word` if it comes next, without white space before it.
  mutating func take(word: StaticString) -> Bool {
    let end = position + word.utf8CodeUnitCount
    let matches =
      end <= bytes.count && word.withUTF8Buffer { $0.elementsEqual(bytes[position..<end]) }
    if matches { position = end }
    return matches
  }
}

// Strings.
extension JSONScanner {
  /// The quotation mark of the string that comes next.
  private mutating func takeQuotationMark() throws(JSONError) -> UInt8 {
    if policy.allowsJSON5, take(UInt8(ascii: "'")) { return UInt8(ascii: "'") }
    guard take(UInt8(ascii: "\"")) else { throw failure("a string should begin here") }
    return UInt8(ascii: "\"")
  }

  /// Reads a string, unescaped, onto the end of `output`.
  package mutating func readString(appendingTo output: inout [UInt8]) throws(JSONError) {
    let mark = try takeQuotationMark()
    while true {
      var end = position
      while end < bytes.count, bytes[end] != mark, bytes[end] != 0x5C, bytes[end] >= 0x20 {
        end += 1
      }
      output.append(contentsOf: bytes[position..<end])
      position = end
      guard position < bytes.count else { throw failure("") }
      switch bytes[position] {
      case mark:
        position += 1
        return
      case 0x5C: try readEscape(appendingTo: &output)
      default: throw failure("a control character in a string")
      }
    }
  }

  /// Reads a string and checks that it is UTF-8.
  mutating func readText() throws(JSONError) -> String {
    _ = peek()
    let start = position
    let mark = try takeQuotationMark()
    // Most strings have no escapes and become text straight from the file.
    var end = position
    while end < bytes.count, bytes[end] != mark, bytes[end] != 0x5C, bytes[end] >= 0x20 { end += 1 }
    if end < bytes.count, bytes[end] == mark {
      guard let text = String(validating: bytes[position..<end], as: UTF8.self) else {
        throw failure("a string that is not UTF-8")
      }
      position = end + 1
      return text
    }
    position = start
    var content: [UInt8] = []
    try readString(appendingTo: &content)
    guard let text = String(validating: content, as: UTF8.self) else {
      throw JSONError(offset: start, problem: "a string that is not UTF-8")
    }
    return text
  }

  /// Takes a string without unescaping it; its escapes and bytes are not checked.
  package mutating func skipString() throws(JSONError) {
    let mark = try takeQuotationMark()
    while position < bytes.count {
      switch bytes[position] {
      case mark:
        position += 1
        return
      case 0x5C: position += 2
      default: position += 1
      }
    }
    throw failure("")
  }

  private mutating func readEscape(appendingTo output: inout [UInt8]) throws(JSONError) {
    guard position + 1 < bytes.count else {
      position = bytes.count
      throw failure("")
    }
    let kind = bytes[position + 1]
    switch kind {
    case 0x22, 0x5C, 0x2F: output.append(kind)
    case UInt8(ascii: "b"): output.append(0x08)
    case UInt8(ascii: "f"): output.append(0x0C)
    case UInt8(ascii: "n"): output.append(0x0A)
    case UInt8(ascii: "r"): output.append(0x0D)
    case UInt8(ascii: "t"): output.append(0x09)
    case UInt8(ascii: "u"):
      var code = try hexadecimal(digits: 4, at: position + 2)
      if code >= 0xD800 && code < 0xDC00 {
        guard position + 7 < bytes.count, bytes[position + 6] == 0x5C,
          bytes[position + 7] == UInt8(ascii: "u")
        else { throw failure("half a surrogate pair") }
        let low = try hexadecimal(digits: 4, at: position + 8)
        guard low >= 0xDC00 && low < 0xE000 else { throw failure("half a surrogate pair") }
        code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
        position += 6
      }
      guard let scalar = Unicode.Scalar(code) else { throw failure("half a surrogate pair") }
      output.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
      position += 4
    default:
      guard policy.allowsJSON5 else { throw failure("an escape that JSON does not have") }
      return try readJSON5Escape(kind, appendingTo: &output)
    }
    position += 2
  }

  /// The value of `digits` hexadecimal digits.
  func hexadecimal(digits: Int, at start: Int) throws(JSONError) -> UInt32 {
    guard start + digits <= bytes.count else {
      throw JSONError(offset: bytes.count, problem: "the text ends early")
    }
    var value: UInt32 = 0
    for byte in bytes[start..<start + digits] {
      guard let digit = hexadecimalDigit(byte) else {
        throw failure("\(digits) hexadecimal digits should stand here")
      }
      value = value << 4 | digit
    }
    return value
  }
}

func hexadecimalDigit(_ byte: UInt8) -> UInt32? {
  switch byte {
  case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0"))
  case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt32(byte - UInt8(ascii: "a") + 10)
  case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt32(byte - UInt8(ascii: "A") + 10)
  default: nil
  }
}

// Numbers.
extension JSONScanner {
  /// Reads a whole number of at least 0, such as an id.
  package mutating func readIndex() throws(JSONError) -> Int {
    _ = peek()
    var value = 0
    let start = position
    while position < bytes.count, isDigit(at: position) {
      guard value < 1 << 40 else { throw failure("a number that is too large for an id") }
      value = value * 10 + Int(bytes[position] - 0x30)
      position += 1
    }
    let next = position < bytes.count ? bytes[position] : 0
    guard position > start, next != UInt8(ascii: "."), next | 0x20 != UInt8(ascii: "e") else {
      throw failure("expected a whole number of at least 0")
    }
    return value
  }

  private func isDigit(at index: Int) -> Bool { bytes[index] >= 0x30 && bytes[index] <= 0x39 }

  /// Takes digits and says how many.
  private mutating func takeDigits() -> Int {
    let start = position
    while position < bytes.count, isDigit(at: position) { position += 1 }
    return position - start
  }

  private mutating func takeOne(of choices: StaticString) -> Bool {
    guard position < bytes.count else { return false }
    let found = choices.withUTF8Buffer { $0.contains(bytes[position]) }
    if found { position += 1 }
    return found
  }

  /// Reads a number, checking its form.
  mutating func readNumber() throws(JSONError) -> JSONValue {
    let start = position
    let isNegative = bytes[position] == UInt8(ascii: "-")
    if isNegative || policy.allowsJSON5 && bytes[position] == UInt8(ascii: "+") { position += 1 }
    if take(word: "Infinity") { return .number(isNegative ? -.infinity : .infinity) }
    if policy.allowsJSON5, let special = try readJSON5Number(isNegative: isNegative) {
      return special
    }
    let firstDigit = position
    let digits = takeDigits()
    if digits == 0, !(policy.allowsJSON5 && position < bytes.count && bytes[position] == 0x2E) {
      throw failure("a value should begin here")
    }
    if digits > 1, bytes[firstDigit] == UInt8(ascii: "0") {
      throw JSONError(offset: firstDigit, problem: "a number with a leading zero")
    }
    var isWhole = true
    if takeOne(of: ".") {
      isWhole = false
      if takeDigits() == 0, !policy.allowsJSON5 || digits == 0 {
        throw failure("a digit should stand here")
      }
    }
    if takeOne(of: "eE") {
      isWhole = false
      _ = takeOne(of: "+-")
      if takeDigits() == 0 { throw failure("a digit should stand here") }
    }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    if isWhole, let whole = Int(text) { return .integer(whole) }
    // Whole numbers past Int.max become a Double, which no field that wants a whole number takes.
    guard let number = Double(text) else {
      throw JSONError(offset: start, problem: "a number that cannot be read")
    }
    return .number(number)
  }
}
