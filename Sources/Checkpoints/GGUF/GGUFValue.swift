/// The types of metadata values. The raw value is the number in the file.
package enum GGUFValueType: UInt32, Sendable {
  case uint8, int8, uint16, int16, uint32, int32, float32, boolean, string, array, uint64, int64,
    float64

  /// Bytes of a value; nil for those whose length is in the file.
  var byteCount: Int? {
    switch self {
    case .uint8, .int8, .boolean: 1
    case .uint16, .int16: 2
    case .uint32, .int32, .float32: 4
    case .uint64, .int64, .float64: 8
    case .string, .array: nil
    }
  }

  /// The least that a value takes: a string has a length, an array a type and a count.
  var leastByteCount: Int { byteCount ?? (self == .string ? 8 : 12) }
}

/// A metadata value. Strings and arrays stay in the file until they are asked for: a vocabulary has
/// hundreds of thousands.
package enum GGUFValue: Equatable, Sendable {
  case integer(Int64)
  /// A whole number beyond `Int64.max`.
  case large(UInt64)
  case real(Double)
  case boolean(Bool)
  /// The bytes of the file.
  case string(Range<Int>)
  /// Elements of one type, which lie in these bytes of the file.
  case array(GGUFValueType, count: Int, Range<Int>)

  /// The kind with its article, for messages.
  var kind: String {
    switch self {
    case .integer(let value): "\(value)"
    case .large(let value): "\(value)"
    case .real(let value): "\(value)"
    case .boolean(let value): value ? "true" : "false"
    case .string: "a string"
    case .array(_, let count, _): "a list of \(count)"
    }
  }
}

extension GGUFCursor {
  /// Arrays within one another that are read at most; the format's known keys have none.
  private static let maximumDepth = 8

  /// The next value, which its type precedes.
  mutating func typedValue(_ what: String) throws(CheckpointError) -> GGUFValue {
    try value(valueType(what), what, depth: 0)
  }

  private mutating func valueType(_ what: String) throws(CheckpointError) -> GGUFValueType {
    let start = position
    let number = try word(UInt32.self, "the type of \(what)")
    guard let type = GGUFValueType(rawValue: number) else {
      throw .malformedFile(
        file: file, problem: "gives \(what) type \(number) at byte \(start): known are 0 to 12")
    }
    return type
  }

  mutating func value(
    _ type: GGUFValueType, _ what: String, depth: Int = 0
  ) throws(CheckpointError) -> GGUFValue {
    switch type {
    case .uint8: return .integer(Int64(try word(UInt8.self, what)))
    case .int8: return .integer(Int64(try word(Int8.self, what)))
    case .uint16: return .integer(Int64(try word(UInt16.self, what)))
    case .int16: return .integer(Int64(try word(Int16.self, what)))
    case .uint32: return .integer(Int64(try word(UInt32.self, what)))
    case .int32: return .integer(Int64(try word(Int32.self, what)))
    case .int64: return .integer(try word(Int64.self, what))
    case .uint64:
      let number = try word(UInt64.self, what)
      return Int64(exactly: number).map { .integer($0) } ?? .large(number)
    case .float32:
      return .real(Double(Float(bitPattern: try word(UInt32.self, what))))
    case .float64: return .real(Double(bitPattern: try word(UInt64.self, what)))
    case .boolean:
      let start = position
      let byte = try word(UInt8.self, what)
      guard byte <= 1 else {
        throw .malformedFile(
          file: file,
          problem: "gives \(what) the truth value \(byte) at byte \(start): known are 0 and 1")
      }
      return .boolean(byte == 1)
    case .string: return .string(try string(what))
    case .array: return try array(what, depth: depth)
    }
  }

  private mutating func array(_ what: String, depth: Int) throws(CheckpointError) -> GGUFValue {
    guard depth < Self.maximumDepth else {
      throw .malformedFile(
        file: file, problem: "nests \(what) deeper than \(Self.maximumDepth) lists")
    }
    let type = try valueType(what)
    let count = try count(ofAtLeast: type.leastByteCount, "elements of \(what)")
    let start = position
    if let size = type.byteCount {
      // Cannot overflow: the count was held against the bytes that are left.
      _ = try take(count * size, what)
    } else {
      for _ in 0..<count { _ = try value(type, what, depth: depth + 1) }
    }
    return .array(type, count: count, start..<position)
  }
}
