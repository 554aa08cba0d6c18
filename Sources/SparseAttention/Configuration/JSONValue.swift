#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Any JSON, so that what is wrong with an entry can be said by layer and head.
enum JSONValue: Decodable, Equatable {
  case null
  case bool(Bool)
  case number(Double)
  case string(String)
  case array([JSONValue])
  case object([String: JSONValue])

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let value = try? container.decode(Bool.self) {
      self = .bool(value)
    } else if let value = try? container.decode(Double.self) {
      self = .number(value)
    } else if let value = try? container.decode(String.self) {
      self = .string(value)
    } else if let value = try? container.decode([JSONValue].self) {
      self = .array(value)
    } else {
      self = .object(try container.decode([String: JSONValue].self))
    }
  }

  /// Parses the contents of `file`, which is named in the error.
  init(contentsOfFile file: String) throws {
    let data: Data
    do {
      data = try Data(contentsOf: URL(filePath: file))
    } catch {
      throw PatternError.unreadable(file: file, reason: Self.reason(error))
    }
    // Python writes NaN and Infinity, which JSON has not but JSON5 has: read, so that the message
    // can say which entry is no number.
    let decoder = JSONDecoder()
    decoder.allowsJSON5 = true
    do {
      self = try decoder.decode(JSONValue.self, from: data)
    } catch {
      throw PatternError.malformed(
        file: file, detail: "no valid JSON in its \(data.count) bytes; make it with `search`")
    }
  }

  /// Foundation's description of a file error takes lines; its code is enough for one.
  static func reason(_ error: any Error) -> String {
    guard let error = error as? CocoaError else { return "input or output failed" }
    return switch error.code {
    case .fileReadNoSuchFile, .fileNoSuchFile: "no such file"
    case .fileReadNoPermission, .fileWriteNoPermission: "permission denied"
    case .fileWriteOutOfSpace: "no space left on the device"
    default: "input or output failed"
    }
  }

  subscript(key: String) -> JSONValue? {
    if case .object(let members) = self { members[key] } else { nil }
  }

  var string: String? { if case .string(let value) = self { value } else { nil } }

  var number: Double? { if case .number(let value) = self { value } else { nil } }

  /// The number if it is a whole one.
  var integer: Int? { number.flatMap { Int(exactly: $0) } }

  /// How an error message shows the value.
  var short: String {
    switch self {
    case .null: "null"
    case .bool(let value): "\(value)"
    case .number(let value): Int(exactly: value).map(String.init) ?? "\(value)"
    case .string(let value): "\"\(value.prefix(32))\""
    case .array(let values): "a list of \(values.count)"
    case .object: "an object"
    }
  }
}
