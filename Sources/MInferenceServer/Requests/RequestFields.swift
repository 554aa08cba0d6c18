import JSON

/// The members of a request, read by name. A member that is null counts as not given; members that
/// nobody asks for are ignored, since clients send many.
struct RequestFields: Sendable {
  let value: JSONValue
  /// Where the members stand, for errors: "" or "response_format.".
  private let path: String

  init(_ value: JSONValue, path: String = "") throws(APIError) {
    guard case .object = value else {
      throw .invalid(
        path.isEmpty ? "the body is not a JSON object" : "\(path.dropLast()) is not an object")
    }
    self.value = value
    self.path = path
  }

  subscript(key: String) -> JSONValue? {
    guard let member = value[key] else { return nil }
    if case .null = member { return nil }
    return member
  }

  func text(_ key: String) throws(APIError) -> String? {
    guard let value = self[key] else { return nil }
    guard let text = value.text else { throw wrong(key, value, "a string") }
    return text
  }

  func bool(_ key: String) throws(APIError) -> Bool? {
    guard let value = self[key] else { return nil }
    guard case .boolean(let bool) = value else { throw wrong(key, value, "true or false") }
    return bool
  }

  func int(_ key: String, in range: ClosedRange<Int>) throws(APIError) -> Int? {
    guard let value = self[key] else { return nil }
    guard let int = value.int, range.contains(int) else {
      let upper = range.upperBound == .max ? "up" : "to \(range.upperBound)"
      throw wrong(key, value, "a whole number from \(range.lowerBound) \(upper)")
    }
    return int
  }

  /// The first of several names that is given as a whole number. The others are whole numbers too.
  func int(firstOf keys: [String], in range: ClosedRange<Int>) throws(APIError) -> Int? {
    var first: Int?
    for key in keys {
      let int = try int(key, in: range)
      first = first ?? int
    }
    return first
  }

  func number(_ key: String, in range: ClosedRange<Double>) throws(APIError) -> Double? {
    guard let value = self[key] else { return nil }
    guard let number = value.double, range.contains(number) else {
      throw wrong(key, value, "a number from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  func list(_ key: String) throws(APIError) -> [JSONValue]? {
    guard let value = self[key] else { return nil }
    guard let elements = value.elements else { throw wrong(key, value, "a list") }
    return elements
  }

  func object(_ key: String) throws(APIError) -> RequestFields? {
    guard let value = self[key] else { return nil }
    guard case .object = value else { throw wrong(key, value, "an object") }
    return try RequestFields(value, path: path + key + ".")
  }

  /// A string or a list of strings.
  func texts(_ key: String, atMost count: Int) throws(APIError) -> [String] {
    guard let value = self[key] else { return [] }
    if let text = value.text { return [text] }
    guard let elements = value.elements, elements.count <= count else {
      throw wrong(key, value, "a string or a list of up to \(count) strings")
    }
    var texts: [String] = []
    for element in elements {
      guard let text = element.text else {
        throw wrong(key, element, "a string or a list of strings")
      }
      texts.append(text)
    }
    return texts
  }

  func wrong(_ key: String, _ value: JSONValue, _ allowed: String) -> APIError {
    .invalid("\(path)\(key) is \(value.kind): it should be \(allowed)", parameter: path + key)
  }

  func missing(_ key: String, _ what: String) -> APIError {
    .invalid("\(path)\(key) is missing: give \(what)", parameter: path + key)
  }
}
