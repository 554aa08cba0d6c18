package import TextReports
package import Checkpoints

/// Which result a line of a results file is.
package struct RunKey: Hashable, Sendable {
  package var task: String
  package var method: String

  package init(task: String, method: String) {
    self.task = task
    self.method = method
  }
}

/// What can stand on a line of a results file.
package protocol RunLine: Sendable {
  var key: RunKey { get }
  var json: JSONText { get }
  init?(_ value: JSONValue)
}

/// Results as JSON lines, so that an interrupted run goes on where it was.
///
/// The first line says which run it is (model, seed, settings); results of another run are not mixed
/// with it. A last line that was cut off is dropped and computed again. Without a file the results
/// are kept in memory alone.
package struct RunLog<Line: RunLine> {
  package let path: String?
  private(set) package var lines: [Line] = []
  private var known: [RunKey: Int] = [:]

  /// Opens or begins a results file. Throws ``RunError``, ``TaskError``.
  package init(path: String?, run: [(name: String, value: String)]) throws {
    self.path = path
    guard let path else { return }
    let header = JSONText.object([
      ("run", .object(run.map { ($0.name, .string($0.value)) }))
    ])
    guard TextFile.exists(path) else {
      try TextFile.append(header.text + "\n", to: path)
      return
    }
    let text = try TextFile.read(path)
    let whole = text.last == "\n" || text.isEmpty ? text : Self.withoutLastLine(text)
    guard !whole.isEmpty else {
      try TextFile.replace(path, with: header.text + "\n")
      return
    }
    try read(whole, path: path, run: run)
    if whole != text { try TextFile.replace(path, with: whole) }
  }

  private static func withoutLastLine(_ text: String) -> String {
    text.lastIndex(of: "\n").map { String(text[...$0]) } ?? ""
  }

  private mutating func read(
    _ text: String, path: String, run: [(name: String, value: String)]
  ) throws {
    for (number, line) in text.split(separator: "\n").enumerated() {
      func malformed(_ problem: String) -> RunError {
        .malformed(file: path, line: number + 1, problem: problem)
      }
      let value = try JSONValue.parse(Array(line.utf8), error: malformed)
      if number == 0 {
        guard let found = value["run"] else { throw malformed("does not say which run it is") }
        for (name, wanted) in run where found[name]?.text != wanted {
          throw RunError.otherRun(
            file: path, field: name, found: found[name]?.text ?? "none", wanted: wanted)
        }
      } else {
        guard let line = Line(value) else { throw malformed("is no result of this kind of run") }
        remember(line)
      }
    }
  }

  private mutating func remember(_ line: Line) {
    if let place = known[line.key] {
      lines[place] = line
    } else {
      known[line.key] = lines.count
      lines.append(line)
    }
  }

  /// Adds a result, and writes it at once.
  package mutating func append(_ line: Line) throws {
    if let path { try TextFile.append(line.json.text + "\n", to: path) }
    remember(line)
  }

  /// The result of a task with a method, if it is there.
  package subscript(task: String, method: String) -> Line? {
    known[RunKey(task: task, method: method)].map { lines[$0] }
  }
}
