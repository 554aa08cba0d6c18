import EvaluationTasks
import Checkpoints

/// Golden files, beside the scripts that made them.
enum Goldens {
  static let directory = #filePath.split(separator: "/").dropLast().reduce("") { "\($0)/\($1)" }

  static func path(_ name: String) -> String { "\(directory)/Goldens/\(name)" }

  /// The objects of a file with one a line.
  static func lines(_ name: String) throws -> [JSONValue] {
    try TextFile.read(path(name)).split(separator: "\n").map {
      try JSONScanner.parse(Array($0.utf8))
    }
  }
}

extension JSONValue {
  var string: String? { if case .string(let text) = self { text } else { nil } }

  var strings: [String]? {
    if case .array(let values) = self { values.compactMap(\.string) } else { nil }
  }

  var number: Double? {
    switch self {
    case .integer(let value): Double(value)
    case .number(let value): value
    default: nil
    }
  }
}
