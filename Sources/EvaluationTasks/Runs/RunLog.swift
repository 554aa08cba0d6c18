import Files
package import JSON

/// The key of a line of a results file.
package struct RunKey: Hashable, Sendable {
  package var task: String
  package var method: String

  package init(task: String, method: String) {
    self.task = task
    self.method = method
  }
}

/// A result that is stored as a line of a results file.
package protocol RunLine: Sendable {
  var key: RunKey { get }
  var json: JSONValue { get }
  init?(_ value: JSONValue)
}

/// Results as JSON lines, so that an interrupted run continues where it stopped.
///
/// The first line says which run it is (model, seed, settings); results of another run are not mixed
/// with it, and nothing is written before it was read. A last line that was cut off is dropped and
/// computed again. While one run writes a file no other does. Without a file the results are kept in
/// memory alone.
package struct RunLog<Line: RunLine> {
  package let path: String?
  private let file: AppendedFile?
  private(set) package var lines: [Line] = []
  private var known: [RunKey: Int] = [:]

  /// Opens or begins a results file. Throws ``RunError``, ``TaskError``.
  package init(path: String?, run: [(name: String, value: String)]) throws {
    self.path = path
    guard let path else {
      file = nil
      return
    }
    let file: AppendedFile
    let bytes: [UInt8]
    do {
      file = try AppendedFile(path: path)
    } catch {
      throw error.problem == .inUse
        ? RunError.inUse(file: path) : .unwritable(file: path, reason: error.reason)
    }
    do {
      bytes = try file.contents()
    } catch {
      throw TaskError.unreadable(file: path, reason: error.reason)
    }
    self.file = file
    let end = try read(bytes, path: path, run: run)
    if bytes.isEmpty {
      try write(.object([("run", .object(run.map { ($0.name, .string($0.value)) }))]))
    } else if end < bytes.count {
      try change { file throws(FileError) in try file.removeEnd(from: end) }
    } else if bytes.last != 0x0A {
      // A last line that is whole but for its end.
      try change { file throws(FileError) in try file.append([0x0A]) }
    }
  }

  /// Reads all lines, after checking that the first is this run's.
  ///
  /// - Returns: Where the file ends, without a last line that was cut off.
  private mutating func read(
    _ bytes: [UInt8], path: String, run: [(name: String, value: String)]
  ) throws -> Int {
    var start = 0
    var hasHeader = false
    for (number, line) in bytes.split(separator: 0x0A, omittingEmptySubsequences: false)
      .enumerated()
    {
      defer { start += line.count + 1 }
      guard line.contains(where: { $0 != 0x20 && $0 != 0x09 && $0 != 0x0D }) else { continue }
      func malformed(_ problem: String) -> RunError {
        .malformed(file: path, line: number + 1, problem: problem)
      }
      let value: JSONValue
      do {
        value = try JSONValue(parsing: Array(line))
      } catch {
        let problem = "is not JSON at byte \(error.offset): \(error.problem)"
        guard hasHeader else { throw malformed(problem) }
        if start + line.count == bytes.count { return start }
        throw RunError.damagedLine(file: path, line: number + 1, problem: problem)
      }
      if !hasHeader {
        guard let found = value["run"] else { throw malformed("does not say which run it is") }
        for (name, wanted) in run where found[name]?.text != wanted {
          throw RunError.otherRun(
            file: path, field: name, found: found[name]?.text ?? "none", wanted: wanted)
        }
        hasHeader = true
      } else {
        guard let line = Line(value) else { throw malformed("is no result of this kind of run") }
        remember(line)
      }
    }
    guard hasHeader || bytes.isEmpty else {
      throw RunError.malformed(
        file: path, line: 1, problem: "is blank and does not say which run it is")
    }
    return bytes.count
  }

  private mutating func remember(_ line: Line) {
    if let index = known[line.key] {
      lines[index] = line
    } else {
      known[line.key] = lines.count
      lines.append(line)
    }
  }

  /// Adds a result, and writes it at once.
  package mutating func append(_ line: Line) throws {
    try write(line.json)
    remember(line)
  }

  private func write(_ value: JSONValue) throws {
    let line = Array(value.serialized().utf8) + [0x0A]
    try change { file throws(FileError) in try file.append(line) }
  }

  private func change(_ body: (AppendedFile) throws(FileError) -> Void) throws {
    guard let file else { return }
    do {
      try body(file)
    } catch {
      throw RunError.unwritable(file: file.path, reason: error.reason)
    }
  }

  /// The result of a task with a method, if it is there.
  package subscript(task: String, method: String) -> Line? {
    known[RunKey(task: task, method: method)].map { lines[$0] }
  }
}
