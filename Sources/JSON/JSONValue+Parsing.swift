extension JSONValue {
  /// The value that the bytes hold; only white space may follow it.
  package init(
    parsing bytes: UnsafeRawBufferPointer, policy: JSONPolicy = .python
  ) throws(JSONError) {
    let result = bytes.withMemoryRebound(to: UInt8.self) { bytes in
      Result { () throws(JSONError) in
        var scanner = JSONScanner(bytes, policy: policy)
        let value = try scanner.readValue()
        try scanner.expectEnd()
        return value
      }
    }
    self = try result.get()
  }

  /// The value that the bytes hold; only white space may follow it.
  package init(parsing bytes: [UInt8], policy: JSONPolicy = .python) throws(JSONError) {
    let result = bytes.withUnsafeBytes { bytes in
      Result { () throws(JSONError) in try JSONValue(parsing: bytes, policy: policy) }
    }
    self = try result.get()
  }
}

extension JSONScanner {
  /// Reads any value.
  package mutating func readValue() throws(JSONError) -> JSONValue {
    switch peek() {
    case UInt8(ascii: "{"): return .object(try readMembers())
    case UInt8(ascii: "["): return .array(try readElements())
    case UInt8(ascii: "\""): return .string(try readText())
    case UInt8(ascii: "'") where policy.allowsJSON5: return .string(try readText())
    case nil: throw failure("")
    default: return try readScalar()
    }
  }

  private mutating func readScalar() throws(JSONError) -> JSONValue {
    switch bytes[position] {
    case UInt8(ascii: "t") where take(word: "true"): return .boolean(true)
    case UInt8(ascii: "f") where take(word: "false"): return .boolean(false)
    case UInt8(ascii: "n") where take(word: "null"): return .null
    case UInt8(ascii: "N") where take(word: "NaN"): return .number(.nan)
    default: return try readNumber()
    }
  }

  private mutating func enter() throws(JSONError) {
    guard depth < policy.maximumDepth else {
      throw failure("values nested deeper than \(policy.maximumDepth)")
    }
    depth += 1
    position += 1
  }

  private mutating func readElements() throws(JSONError) -> [JSONValue] {
    try enter()
    var values: [JSONValue] = []
    var isFirst = true
    while try next(until: UInt8(ascii: "]"), &isFirst) { values.append(try readValue()) }
    depth -= 1
    return values
  }

  private mutating func readMembers() throws(JSONError) -> [JSONValue.Member] {
    try enter()
    var members: [JSONValue.Member] = []
    var isFirst = true
    var keyStart = position
    while try next(until: UInt8(ascii: "}"), &isFirst) {
      keyStart = position
      members.append(JSONValue.Member(key: try readKeyText(), value: try readValue()))
    }
    depth -= 1
    let unique = withoutDuplicates(members)
    if unique.count < members.count, policy.duplicateKeys == .refused {
      throw JSONError(offset: keyStart, problem: duplicateProblem(members))
    }
    return unique
  }

  private mutating func readKeyText() throws(JSONError) -> String {
    if peek() == UInt8(ascii: "\"") {
      let key = try readText()
      try expect(UInt8(ascii: ":"))
      return key
    }
    var bytes: [UInt8] = []
    let start = position
    try readKey(into: &bytes)
    guard let key = String(validating: bytes, as: UTF8.self) else {
      throw JSONError(offset: start, problem: "a key that is not UTF-8")
    }
    return key
  }

  /// Of members with one key the last value, where the first of them stood, as in Python.
  private func withoutDuplicates(_ members: [JSONValue.Member]) -> [JSONValue.Member] {
    // Most objects are small: comparing every pair is faster than a table.
    if members.count <= 8 {
      let isUnique = members.indices.allSatisfy { index in
        members[..<index].allSatisfy { !haveSameBytes($0.key, members[index].key) }
      }
      if isUnique { return members }
    }
    var unique: [JSONValue.Member] = []
    unique.reserveCapacity(members.count)
    var indices: [ByteString: Int] = Dictionary(minimumCapacity: members.count)
    for member in members {
      let key = ByteString(member.key)
      if let index = indices[key] {
        unique[index] = member
      } else {
        indices[key] = unique.count
        unique.append(member)
      }
    }
    return unique
  }

  private func duplicateProblem(_ members: [JSONValue.Member]) -> String {
    var seen: Set<ByteString> = []
    let twice = members.first { !seen.insert(ByteString($0.key)).inserted }
    return "key \(quoted(twice?.key ?? "")) appears twice"
  }

  /// Skips any value, checking its form but not the bytes of its strings.
  ///
  /// - Returns: Which bytes it took.
  @discardableResult
  package mutating func skipValue() throws(JSONError) -> Range<Int> {
    let first = peek()
    let start = position
    var isFirst = true
    switch first {
    case UInt8(ascii: "{"):
      try enter()
      var key: [UInt8] = []
      while try next(until: UInt8(ascii: "}"), &isFirst) {
        if policy.allowsJSON5 {
          try readKey(into: &key)
        } else {
          try skipString()
          try expect(UInt8(ascii: ":"))
        }
        try skipValue()
      }
      depth -= 1
    case UInt8(ascii: "["):
      try enter()
      while try next(until: UInt8(ascii: "]"), &isFirst) { try skipValue() }
      depth -= 1
    case UInt8(ascii: "\""): try skipString()
    case nil: throw failure("")
    default: _ = try readValue()
    }
    return start..<position
  }
}
