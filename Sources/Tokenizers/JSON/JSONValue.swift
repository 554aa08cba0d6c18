/// A JSON value whose strings and keys are bytes. For the small parts of a tokenizer's files; the
/// vocabulary and the merges are read straight from the scanner.
enum JSONValue {
  case null
  case bool(Bool)
  /// The number as it stands in the file.
  case number(String)
  case string([UInt8])
  case array([JSONValue])
  case object([(key: [UInt8], value: JSONValue)])
}

extension JSONScanner {
  /// Reads any value.
  mutating func readValue(depth: Int = 0) throws(TokenizerError) -> JSONValue {
    if depth > Self.deepestNesting {
      throw malformed("values nested more than \(Self.deepestNesting) deep")
    }
    switch peek() {
    case UInt8(ascii: "{"):
      try expect(UInt8(ascii: "{"))
      var members: [(key: [UInt8], value: JSONValue)] = []
      var isFirst = true
      var key: [UInt8] = []
      while try next(until: UInt8(ascii: "}"), &isFirst) {
        try readKey(into: &key)
        members.append((key, try readValue(depth: depth + 1)))
      }
      return .object(members)
    case UInt8(ascii: "["):
      try expect(UInt8(ascii: "["))
      var elements: [JSONValue] = []
      var isFirst = true
      while try next(until: UInt8(ascii: "]"), &isFirst) {
        elements.append(try readValue(depth: depth + 1))
      }
      return .array(elements)
    case UInt8(ascii: "\""):
      var text: [UInt8] = []
      try readString(appendingTo: &text)
      return .string(text)
    case UInt8(ascii: "t"):
      try readLiteral("true")
      return .bool(true)
    case UInt8(ascii: "f"):
      try readLiteral("false")
      return .bool(false)
    case UInt8(ascii: "n"):
      try readLiteral("null")
      return .null
    case nil: throw malformed("the file ends where a JSON value should be")
    default: return .number(String(decoding: bytes[try readNumberText()], as: UTF8.self))
    }
  }

  /// Skips any value, checking its form, and says which bytes it took.
  mutating func skipValue(depth: Int = 0) throws(TokenizerError) -> Range<Int> {
    if depth > Self.deepestNesting {
      throw malformed("values nested more than \(Self.deepestNesting) deep")
    }
    let first = peek()
    let start = position
    var isFirst = true
    switch first {
    case UInt8(ascii: "{"):
      try expect(UInt8(ascii: "{"))
      while try next(until: UInt8(ascii: "}"), &isFirst) {
        try skipString()
        try expect(UInt8(ascii: ":"))
        _ = try skipValue(depth: depth + 1)
      }
    case UInt8(ascii: "["):
      try expect(UInt8(ascii: "["))
      while try next(until: UInt8(ascii: "]"), &isFirst) { _ = try skipValue(depth: depth + 1) }
    case UInt8(ascii: "\""): try skipString()
    default: _ = try readValue(depth: depth)
    }
    return start..<position
  }
}
