import JSON

/// Reads the fields of one JSON object of a configuration file, with errors that name file and field.
///
/// A field that is null counts as absent, as transformers writes it.
struct FieldReader {
  let file: String
  /// The prefix of a field's name in messages: "" or "rope_scaling.".
  let prefix: String
  private let object: JSONValue
  /// Bytes of a string at most.
  static let longestName = 1024

  init(file: String, object: JSONValue, prefix: String = "") throws(CheckpointError) {
    guard case .object = object else {
      throw .invalidField(
        file: file, field: prefix.isEmpty ? "the file" : String(prefix.dropLast()),
        problem: "is \(object.kind), not an object")
    }
    self.file = file
    self.prefix = prefix
    self.object = object
  }

  func failure(_ field: String, _ problem: String) -> CheckpointError {
    .invalidField(file: file, field: prefix + field, problem: problem)
  }

  /// A line for the user about a field that is read all the same.
  func notice(_ field: String, _ text: String) -> String {
    "\(printable(file)): \(prefix)\(printable(field, limit: 60)) \(text)"
  }

  var isEmpty: Bool {
    if case .object(let members) = object { members.isEmpty } else { true }
  }

  func value(_ field: String) -> JSONValue? {
    guard let value = object[field], value != .null else { return nil }
    return value
  }

  /// Whether the object has no member of this name, not even null.
  func isAbsent(_ field: String) -> Bool { object[field] == nil }

  /// The names of members that say something, in the order of the file.
  var names: [String] {
    guard case .object(let members) = object else { return [] }
    return members.filter { ConfigurationClass.saysSomething($0.value) }.map(\.key)
  }

  func required<Value>(_ field: String, _ value: Value?) throws(CheckpointError) -> Value {
    guard let value else { throw failure(field, "is missing: add it") }
    return value
  }

  /// A whole number within `range`. Python's 4096.0 counts as whole.
  func integer(_ field: String, in range: ClosedRange<Int>) throws(CheckpointError) -> Int? {
    guard let value = value(field) else { return nil }
    return try integer(value, field: field, in: range)
  }

  private func integer(
    _ value: JSONValue, field: String, in range: ClosedRange<Int>
  ) throws(CheckpointError) -> Int {
    var whole: Int?
    if case .integer(let number) = value { whole = number }
    if case .number(let number) = value { whole = Int(exactly: number) }
    guard let whole else { throw failure(field, "is \(value.kind): it should be a whole number") }
    guard range.contains(whole) else {
      throw failure(
        field, "is \(whole): it should be from \(range.lowerBound) to \(range.upperBound)")
    }
    return whole
  }

  /// A finite number within `range`.
  func number(_ field: String, in range: ClosedRange<Double>) throws(CheckpointError) -> Double? {
    guard let value = value(field) else { return nil }
    return try number(value, field: field, in: range)
  }

  /// A list of finite numbers within `range`.
  func numbers(
    _ field: String, in range: ClosedRange<Double>
  ) throws(CheckpointError) -> [Double]? {
    guard let value = value(field) else { return nil }
    guard case .array(let values) = value else {
      throw failure(field, "is \(value.kind): it should be a list of numbers")
    }
    var numbers: [Double] = []
    for value in values { numbers.append(try number(value, field: field, in: range)) }
    return numbers
  }

  private func number(
    _ value: JSONValue, field: String, in range: ClosedRange<Double>
  ) throws(CheckpointError) -> Double {
    let number: Double
    switch value {
    case .integer(let whole): number = Double(whole)
    case .number(let real): number = real
    default:
      guard let special = specialFloat(value) else {
        throw failure(field, "is \(value.kind): it should be a number")
      }
      number = special
    }
    guard number.isFinite, range.contains(number) else {
      throw failure(
        field, "is \(number): it should be from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  /// How transformers 5 writes numbers that JSON does not have: `{"__float__": "Infinity"}`.
  /// Source: transformers, `configuration_utils.py`, `_encode_special_floats`.
  private func specialFloat(_ value: JSONValue) -> Double? {
    guard case .object(let members) = value, members.count == 1 else { return nil }
    return switch value["__float__"]?.text {
    case "Infinity": .infinity
    case "-Infinity": -.infinity
    case "NaN": .nan
    default: nil
    }
  }

  func boolean(_ field: String) throws(CheckpointError) -> Bool? {
    guard let value = value(field) else { return nil }
    guard case .boolean(let boolean) = value else {
      throw failure(field, "is \(value.kind): it should be true or false")
    }
    return boolean
  }

  /// A string. Fields hold names: longer ones than ``longestName`` would make comparing and messages
  /// costly and are refused.
  func string(_ field: String) throws(CheckpointError) -> String? {
    guard let value = value(field) else { return nil }
    guard let string = value.text else {
      throw failure(field, "is \(value.kind): it should be a string")
    }
    try checkLength(of: string, field)
    return string
  }

  private func checkLength(of string: String, _ field: String) throws(CheckpointError) {
    guard string.utf8.count <= Self.longestName else {
      throw failure(
        field,
        "has a string of \(string.utf8.count) bytes: it should have at most \(Self.longestName)")
    }
  }

  func strings(_ field: String) throws(CheckpointError) -> [String]? {
    guard let value = value(field) else { return nil }
    guard case .array(let values) = value else {
      throw failure(field, "is \(value.kind): it should be a list of strings")
    }
    var strings: [String] = []
    for value in values {
      guard let string = value.text else {
        throw failure(field, "holds \(value.kind): it should be a list of strings")
      }
      try checkLength(of: string, field)
      strings.append(string)
    }
    return strings
  }

  /// Token ids: one whole number, or a list of them.
  func tokenIDs(_ field: String) throws(CheckpointError) -> [Int]? {
    guard let value = value(field) else { return nil }
    var ids: [Int] = []
    let values: [JSONValue]
    if case .array(let list) = value { values = list } else { values = [value] }
    for value in values {
      ids.append(try integer(value, field: field, in: 0...Int(Int32.max)))
    }
    return ids
  }

  func object(_ field: String) throws(CheckpointError) -> FieldReader? {
    guard let value = value(field) else { return nil }
    return try FieldReader(file: file, object: value, prefix: prefix + field + ".")
  }
}
