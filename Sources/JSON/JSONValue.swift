/// One value of a JSON text.
///
/// A whole number that fits `Int` is `integer`, any other number is `number`, as are NaN and the
/// infinities. Strings and keys hold the bytes of the file: they are compared byte by byte, never by
/// Swift's canonical equivalence, which merges different texts and takes quadratic time over long
/// runs of combining marks.
package enum JSONValue: Sendable {
  case null
  case boolean(Bool)
  case integer(Int)
  case number(Double)
  case string(String)
  case array([JSONValue])
  /// The members in the order of the file. A value that was read holds each key once.
  case object([Member])

  /// A key and its value.
  package struct Member: Equatable, Sendable {
    package let key: String
    package let value: JSONValue

    package init(key: String, value: JSONValue) {
      self.key = key
      self.value = value
    }

    package static func == (left: Member, right: Member) -> Bool {
      haveSameBytes(left.key, right.key) && left.value == right.value
    }
  }

  /// An object of these members.
  @_disfavoredOverload
  package static func object(_ members: [(String, JSONValue)]) -> JSONValue {
    .object(members.map { Member(key: $0.0, value: $0.1) })
  }
}

extension JSONValue: Equatable {
  package static func == (left: JSONValue, right: JSONValue) -> Bool {
    switch (left, right) {
    case (.null, .null): true
    case (.boolean(let left), .boolean(let right)): left == right
    case (.integer(let left), .integer(let right)): left == right
    case (.number(let left), .number(let right)): left == right
    case (.string(let left), .string(let right)): haveSameBytes(left, right)
    case (.array(let left), .array(let right)): left == right
    case (.object(let left), .object(let right)): left == right
    default: false
    }
  }
}

extension JSONValue {
  /// The value of `key`; nil if there is none or this is not an object. Linear in the members.
  package subscript(key: String) -> JSONValue? {
    guard case .object(let members) = self else { return nil }
    return members.last { haveSameBytes($0.key, key) }?.value
  }

  /// The elements of a list; nil for any other value.
  package var elements: [JSONValue]? {
    if case .array(let values) = self { values } else { nil }
  }

  /// A string; nil for any other value.
  package var text: String? {
    if case .string(let text) = self { text } else { nil }
  }

  /// Any number; nil for any other value.
  package var double: Double? {
    switch self {
    case .integer(let value): Double(value)
    case .number(let value): value
    default: nil
    }
  }

  /// A number without a fraction that fits `Int`, 4096.0 too; nil for any other value.
  package var int: Int? {
    switch self {
    case .integer(let value): value
    case .number(let value): Int(exactly: value)
    default: nil
    }
  }

  /// The kind with its article, for messages: one short line, whatever the file holds.
  package var kind: String {
    switch self {
    case .null: "null"
    case .boolean(let value): value ? "true" : "false"
    case .integer(let value): "\(value)"
    case .number(let value): Int(exactly: value).map(String.init) ?? "\(value)"
    case .string(let value): quoted(value)
    case .array(let values): "a list of \(values.count)"
    case .object: "an object"
    }
  }
}
