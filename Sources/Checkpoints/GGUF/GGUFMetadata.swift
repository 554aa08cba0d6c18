import Files
import JSON

/// The metadata of a GGUF file by key, with errors that name file and key.
///
/// Every integer type is accepted for a whole number, and every number type for a real one: writers
/// differ.
struct GGUFMetadata {
  let file: String
  let values: [String: GGUFValue]
  private let storage: MappedFile

  init(_ file: GGUFFile) {
    self.file = file.path
    values = file.header.metadata
    storage = file.mapping
  }

  func failure(_ key: String, _ problem: String) -> CheckpointError {
    .invalidField(file: file, field: key, problem: problem)
  }

  func required<Value>(_ key: String, _ value: Value?) throws(CheckpointError) -> Value {
    guard let value else { throw failure(key, "is missing: download or convert the model again") }
    return value
  }

  /// A whole number within `range`.
  func integer(_ key: String, in range: ClosedRange<Int>) throws(CheckpointError) -> Int? {
    guard let value = values[key] else { return nil }
    return try integer(value, key, in: range)
  }

  /// A whole number, or a list that repeats it for every layer.
  func integer(
    _ key: String, in range: ClosedRange<Int>, layers: Int
  ) throws(CheckpointError) -> Int? {
    guard case .array(_, let count, _)? = values[key] else { return try integer(key, in: range) }
    let numbers = try required(key, try integers(key, in: range))
    guard count == layers, let first = numbers.first else {
      throw failure(key, "has \(count) numbers: it should have one for each of \(layers) layers")
    }
    guard numbers.allSatisfy({ $0 == first }) else {
      throw failure(key, "differs between layers: models whose layers are alike are read")
    }
    return first
  }

  private func integer(
    _ value: GGUFValue, _ key: String, in range: ClosedRange<Int>
  ) throws(CheckpointError) -> Int {
    guard case .integer(let number) = value, let number = Int(exactly: number) else {
      throw failure(key, "is \(value.kind): it should be a whole number")
    }
    guard range.contains(number) else {
      throw failure(
        key, "is \(number): it should be from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  /// A finite number within `range`.
  func number(_ key: String, in range: ClosedRange<Double>) throws(CheckpointError) -> Double? {
    guard let value = values[key] else { return nil }
    let number: Double
    switch value {
    case .integer(let whole): number = Double(whole)
    case .real(let real): number = real
    default: throw failure(key, "is \(value.kind): it should be a number")
    }
    guard number.isFinite, range.contains(number) else {
      throw failure(
        key, "is \(number): it should be from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  func boolean(_ key: String) throws(CheckpointError) -> Bool? {
    guard let value = values[key] else { return nil }
    guard case .boolean(let boolean) = value else {
      throw failure(key, "is \(value.kind): it should be true or false")
    }
    return boolean
  }

  func string(_ key: String) throws(CheckpointError) -> String? {
    guard let value = values[key] else { return nil }
    guard case .string(let range) = value else {
      throw failure(key, "is \(value.kind): it should be a string")
    }
    guard let text = String(validating: storage.bytes[range], as: UTF8.self) else {
      throw failure(key, "is not UTF-8: download or convert the model again")
    }
    return text
  }

  /// The bytes of each string of a list.
  func strings(_ key: String) throws(CheckpointError) -> [[UInt8]]? {
    guard var elements = try elements(key, of: [.string], "strings") else { return nil }
    let what = quoted(key)
    var strings: [[UInt8]] = []
    for _ in 0..<elements.count {
      strings.append(Array(elements.cursor.bytes[try elements.cursor.string(what)]))
    }
    return strings
  }

  /// The whole numbers of a list, each within `range`.
  func integers(_ key: String, in range: ClosedRange<Int>) throws(CheckpointError) -> [Int]? {
    let types: [GGUFValueType] = [
      .uint8, .int8, .uint16, .int16, .uint32, .int32, .uint64, .int64,
    ]
    guard var elements = try elements(key, of: types, "whole numbers") else { return nil }
    let what = quoted(key)
    var numbers: [Int] = []
    for _ in 0..<elements.count {
      let value = try elements.cursor.value(elements.type, what)
      numbers.append(try integer(value, key, in: range))
    }
    return numbers
  }

  /// The numbers of a list, NaN excluded.
  func floats(_ key: String) throws(CheckpointError) -> [Float]? {
    guard var elements = try elements(key, of: [.float32, .float64], "numbers") else { return nil }
    let what = quoted(key)
    var numbers: [Float] = []
    for index in 0..<elements.count {
      guard case .real(let number) = try elements.cursor.value(elements.type, what),
        !number.isNaN
      else { throw failure(key, "holds no number at index \(index)") }
      numbers.append(Float(number))
    }
    return numbers
  }

  /// The elements of a list, which the header has checked to lie inside the file.
  private func elements(
    _ key: String, of types: [GGUFValueType], _ what: String
  ) throws(CheckpointError) -> (type: GGUFValueType, count: Int, cursor: GGUFCursor)? {
    guard let value = values[key] else { return nil }
    guard case .array(let type, let count, let range) = value, types.contains(type) || count == 0
    else { throw failure(key, "is \(value.kind): it should be a list of \(what)") }
    let bytes = UnsafeRawBufferPointer(rebasing: storage.bytes[range])
    return (type, count, GGUFCursor(bytes: bytes, file: file))
  }
}
