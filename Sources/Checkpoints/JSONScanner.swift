/// Reads one JSON text from bytes (RFC 8259), in one pass.
///
/// Never reads outside the buffer, never recurses past `maximumDepth`, refuses keys that appear
/// twice in one object, bytes that are not UTF-8, and lone surrogates. `NaN` and `Infinity`, which
/// Python writes, are numbers. Time and memory are linear in the text.
package struct JSONScanner {
  /// What is wrong and at which byte.
  package struct Failure: Error, Equatable {
    package let offset: Int
    package let problem: String
  }

  package static let maximumDepth = 64

  private let bytes: UnsafeRawBufferPointer
  private var position = 0
  private var depth = 0

  /// The value that the bytes hold; only blanks may follow it.
  package static func parse(_ bytes: UnsafeRawBufferPointer) throws(Failure) -> JSONValue {
    var scanner = JSONScanner(bytes: bytes)
    let value = try scanner.value()
    scanner.skipBlanks()
    guard scanner.position == bytes.count else { throw scanner.failure("text after the value") }
    return value
  }

  package static func parse(_ bytes: [UInt8]) throws(Failure) -> JSONValue {
    let result = bytes.withUnsafeBytes { buffer in
      Result { () throws(Failure) in try parse(buffer) }
    }
    return try result.get()
  }

  private init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  private func failure(_ problem: String) -> Failure {
    Failure(offset: position, problem: position < bytes.count ? problem : "the text ends early")
  }

  private mutating func skipBlanks() {
    while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
      position += 1
    }
  }

  private mutating func skip(_ byte: UInt8) -> Bool {
    skipBlanks()
    guard next == byte else { return false }
    position += 1
    return true
  }

  private mutating func value() throws(Failure) -> JSONValue {
    skipBlanks()
    switch next {
    case UInt8(ascii: "{"): return try object()
    case UInt8(ascii: "["): return try array()
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t") where skip(word: "true"): return .boolean(true)
    case UInt8(ascii: "f") where skip(word: "false"): return .boolean(false)
    case UInt8(ascii: "n") where skip(word: "null"): return .null
    case UInt8(ascii: "N") where skip(word: "NaN"): return .number(.nan)
    case UInt8(ascii: "I") where skip(word: "Infinity"): return .number(.infinity)
    case .some(UInt8(ascii: "-")), .some(UInt8(ascii: "0")...UInt8(ascii: "9")): return try number()
    default: throw failure("a value should begin here")
    }
  }

  private mutating func skip(word: StaticString) -> Bool {
    let count = word.utf8CodeUnitCount
    guard bytes.count - position >= count else { return false }
    for index in 0..<count where bytes[position + index] != word.utf8Start[index] { return false }
    position += count
    return true
  }

  private mutating func enter() throws(Failure) {
    position += 1
    depth += 1
    guard depth <= Self.maximumDepth else {
      throw failure("nested deeper than \(Self.maximumDepth)")
    }
  }

  private mutating func object() throws(Failure) -> JSONValue {
    try enter()
    defer { depth -= 1 }
    var members: [JSONValue.Member] = []
    var keys: Set<String> = []
    if skip(UInt8(ascii: "}")) { return .object(members) }
    repeat {
      skipBlanks()
      guard next == UInt8(ascii: "\"") else { throw failure("a key should begin here") }
      let key = try string()
      guard keys.insert(key).inserted else { throw failure("key \(quoted(key)) appears twice") }
      guard skip(UInt8(ascii: ":")) else { throw failure("a colon should stand here") }
      members.append(.init(key: key, value: try value()))
    } while skip(UInt8(ascii: ","))
    guard skip(UInt8(ascii: "}")) else { throw failure("a comma or brace should stand here") }
    return .object(members)
  }

  private mutating func array() throws(Failure) -> JSONValue {
    try enter()
    defer { depth -= 1 }
    var values: [JSONValue] = []
    if skip(UInt8(ascii: "]")) { return .array(values) }
    repeat { values.append(try value()) } while skip(UInt8(ascii: ","))
    guard skip(UInt8(ascii: "]")) else { throw failure("a comma or bracket should stand here") }
    return .array(values)
  }

  private mutating func skipDigits() throws(Failure) {
    let start = position
    while let byte = next, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { position += 1 }
    if position == start { throw failure("a digit should stand here") }
  }

  private mutating func number() throws(Failure) -> JSONValue {
    let start = position
    var isWhole = true
    if next == UInt8(ascii: "-") {
      position += 1
      if skip(word: "Infinity") { return .number(-.infinity) }
    }
    let firstDigit = position
    try skipDigits()
    if bytes[firstDigit] == UInt8(ascii: "0"), position - firstDigit > 1 {
      throw Failure(offset: firstDigit, problem: "a number with a leading zero")
    }
    if next == UInt8(ascii: ".") {
      isWhole = false
      position += 1
      try skipDigits()
    }
    if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
      isWhole = false
      position += 1
      if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { position += 1 }
      try skipDigits()
    }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    if isWhole, let whole = Int(text) { return .integer(whole) }
    // Whole numbers past Int.max become a Double, which no field that wants a whole number takes.
    guard let number = Double(text) else {
      throw Failure(offset: start, problem: "a number that cannot be read")
    }
    return .number(number)
  }
}

extension JSONScanner {
  /// A string, from its quotation mark to the one that ends it.
  private mutating func string() throws(Failure) -> String {
    position += 1
    let start = position
    while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 {
      position += 1
    }
    if next == UInt8(ascii: "\"") {
      defer { position += 1 }
      return try text(bytes[start..<position], at: start)
    }
    var content = Array(bytes[start..<position])
    while let byte = next {
      position += 1
      switch byte {
      case UInt8(ascii: "\""):
        let result = content.withUnsafeBytes { buffer in
          Result { () throws(Failure) in try text(buffer[...], at: start) }
        }
        return try result.get()
      case UInt8(ascii: "\\"):
        try appendEscape(to: &content)
      case 0..<0x20:
        position -= 1
        throw failure("a control character in a string")
      default:
        content.append(byte)
      }
    }
    throw failure("")
  }

  private func text(
    _ bytes: Slice<UnsafeRawBufferPointer>, at offset: Int
  ) throws(Failure) -> String {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw Failure(offset: offset, problem: "a string that is not UTF-8")
    }
    return text
  }

  private mutating func appendEscape(to content: inout [UInt8]) throws(Failure) {
    guard let byte = next else { throw failure("") }
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): content.append(byte)
    case UInt8(ascii: "b"): content.append(0x08)
    case UInt8(ascii: "f"): content.append(0x0C)
    case UInt8(ascii: "n"): content.append(0x0A)
    case UInt8(ascii: "r"): content.append(0x0D)
    case UInt8(ascii: "t"): content.append(0x09)
    case UInt8(ascii: "u"):
      var code = try hexadecimal()
      if code >= 0xD800, code < 0xDC00, skip(word: "\\u") {
        let low = try hexadecimal()
        guard low >= 0xDC00, low < 0xE000 else { throw failure("a lone surrogate") }
        code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
      }
      guard let scalar = Unicode.Scalar(code) else { throw failure("a lone surrogate") }
      content.append(contentsOf: String(Character(scalar)).utf8)
    default:
      position -= 1
      throw failure("an escape that JSON does not have")
    }
  }

  private mutating func hexadecimal() throws(Failure) -> UInt32 {
    var code: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
        throw failure("four hexadecimal digits should stand here")
      }
      code = code << 4 | UInt32(digit)
      position += 1
    }
    return code
  }
}
