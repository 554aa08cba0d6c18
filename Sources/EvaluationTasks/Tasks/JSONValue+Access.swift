import Checkpoints

extension JSONValue {
  /// The value that the bytes hold; `error` makes what is thrown otherwise.
  static func parse(_ bytes: [UInt8], error: (_ problem: String) -> any Error) throws -> JSONValue {
    do throws(JSONScanner.Failure) {
      return try JSONScanner.parse(bytes)
    } catch let failure {
      throw error("is not JSON at byte \(failure.offset): \(failure.problem)")
    }
  }

  /// The elements of a list; nil if this is none.
  var elements: [JSONValue]? {
    if case .array(let values) = self { values } else { nil }
  }

  /// The text of a string; nil if this is none.
  var text: String? {
    if case .string(let text) = self { text } else { nil }
  }

  /// A string or a number as text; nil for anything else.
  var textOrNumber: String? {
    switch self {
    case .string(let text): text
    case .integer(let number): "\(number)"
    case .number(let number): "\(number)"
    default: nil
    }
  }

  /// Any number.
  var double: Double? {
    switch self {
    case .integer(let number): Double(number)
    case .number(let number): number
    default: nil
    }
  }

  var int: Int? {
    if case .integer(let number) = self { number } else { nil }
  }
}
