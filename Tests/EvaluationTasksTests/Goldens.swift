import Checkpoints
import EvaluationTasks
import JSON

/// Golden files, beside the scripts that made them.
enum Goldens {
  static let directory = #filePath.split(separator: "/").dropLast().reduce("") { "\($0)/\($1)" }

  static func path(_ name: String) -> String { "\(directory)/Goldens/\(name)" }

  /// The objects of a file with one a line.
  static func lines(_ name: String) throws -> [JSONValue] {
    try TextFile.read(path(name)).split(separator: "\n").map {
      try JSONValue(parsing: Array($0.utf8))
    }
  }
}

extension JSONValue {
  var strings: [String]? { elements?.compactMap(\.text) }
}
