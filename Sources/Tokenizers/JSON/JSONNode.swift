import JSON

/// A value within a JSON file that knows where it stands, so that errors name the file and the stage.
struct JSONNode {
  let value: JSONValue
  /// Such as `pre_tokenizer.pretokenizers[0]`; empty for the whole file.
  let path: String
  let file: String

  /// Whether there is something other than `null`.
  var isPresent: Bool {
    if case .null = value { false } else { true }
  }

  /// The member called `key`; `null` where there is none. The last one counts, as in serde and Python.
  subscript(key: String) -> JSONNode {
    var found = JSONValue.null
    if case .object(let members) = value {
      found = members.last { haveSameBytes($0.key, key) }?.value ?? .null
    }
    return JSONNode(value: found, path: path.isEmpty ? key : "\(path).\(key)", file: file)
  }

  /// The members of an object.
  func members() throws(TokenizerError) -> [(key: [UInt8], node: JSONNode)] {
    guard case .object(let members) = value else { throw malformed("is not an object") }
    return members.map { member in
      let node = JSONNode(
        value: member.value, path: "\(path).\(printable(member.key, limit: 120))", file: file)
      return (Array(member.key.utf8), node)
    }
  }

  /// The elements of an array.
  func elements() throws(TokenizerError) -> [JSONNode] {
    guard case .array(let elements) = value else { throw malformed("is not an array") }
    return elements.enumerated().map { index, element in
      JSONNode(value: element, path: "\(path)[\(index)]", file: file)
    }
  }

  /// The bytes of a string.
  func text() throws(TokenizerError) -> [UInt8] {
    Array(try string().utf8)
  }

  /// A string, for names of kinds and the like.
  func string() throws(TokenizerError) -> String {
    guard case .string(let text) = value else { throw malformed("is not a string") }
    return text
  }

  /// A truth value, or `fallback` where there is none.
  func bool(default fallback: Bool) throws(TokenizerError) -> Bool {
    switch value {
    case .null: return fallback
    case .boolean(let value): return value
    default: throw malformed("is neither true nor false")
    }
  }

  /// A whole number from 0 to `limit`.
  func index(limit: Int) throws(TokenizerError) -> Int {
    guard case .integer(let number) = value, number >= 0 else {
      throw malformed("is not a whole number of at least 0")
    }
    guard number <= limit else {
      throw TokenizerError(.unsupported, file, "\(path) is \(number), past the limit of \(limit)")
    }
    return number
  }

  func malformed(_ problem: String) -> TokenizerError {
    TokenizerError(
      .malformed, file, isPresent ? "\(path) \(problem)" : "\(path) is missing")
  }

  func unsupported(_ problem: String) -> TokenizerError {
    TokenizerError(.unsupported, file, "\(path) \(problem)")
  }

  func inconsistent(_ problem: String) -> TokenizerError {
    TokenizerError(.inconsistent, file, "\(path) \(problem)")
  }
}

extension JSONNode {
  /// The whole of a small JSON file.
  init(contentsOf path: String) throws(TokenizerError) {
    let bytes = try FileContents.utf8(of: path)
    self = try bytes.withUnsafeBufferPointer { buffer throws(TokenizerError) in
      var scanner = FileScanner(buffer, file: path)
      let value = try scanner.readValue()
      try scanner.expectEnd()
      return JSONNode(value: value, path: "", file: path)
    }
  }
}
