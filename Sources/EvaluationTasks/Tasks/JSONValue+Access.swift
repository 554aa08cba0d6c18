import JSON

extension JSONValue {
  /// The value that the bytes hold; `error` makes what is thrown otherwise.
  static func parse(_ bytes: [UInt8], error: (_ problem: String) -> any Error) throws -> JSONValue {
    do throws(JSONError) {
      return try JSONValue(parsing: bytes)
    } catch let failure {
      throw error("is not JSON at byte \(failure.offset): \(failure.problem)")
    }
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
}
