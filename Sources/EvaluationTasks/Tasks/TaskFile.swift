import JSON

/// Tasks in files: one JSON object a line.
enum TaskFile {
  /// The objects of a file, with their line numbers; empty lines are skipped.
  ///
  /// Throws ``TaskError/malformed(file:line:problem:)``, ``TaskError/unreadable(file:reason:)``,
  /// ``TaskError/empty(file:)``.
  static func objects(_ file: String) throws -> [(line: Int, value: JSONValue)] {
    let text = try TextFile.read(file)
    var objects: [(line: Int, value: JSONValue)] = []
    let lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    for (number, line) in lines.enumerated() {
      guard line.contains(where: { $0 != 0x20 && $0 != 0x09 && $0 != 0x0D }) else { continue }
      let value = try JSONValue.parse(Array(line)) { problem in
        TaskError.malformed(
          file: file, line: number + 1, problem: "\(problem); give one object a line")
      }
      objects.append((number + 1, value))
    }
    guard !objects.isEmpty else { throw TaskError.empty(file: file) }
    return objects
  }

  /// The file's name without directories and its last ending.
  static func stem(_ file: String) -> String {
    let name = file.split(separator: "/").last.map(String.init) ?? file
    return name.lastIndex(of: ".").map { String(name[..<$0]) } ?? name
  }

  /// The strings of a field that holds one or a list of them; numbers as text.
  static func strings(_ value: JSONValue?) -> [String] {
    guard let value else { return [] }
    return value.elements?.compactMap(\.textOrNumber) ?? value.textOrNumber.map { [$0] } ?? []
  }
}

/// The JSON lines that RULER's own scripts write: `input`, `outputs`, and in newer ones
/// `answer_prefix`, read and scored as they are.
public enum RulerFile {
  /// The tasks of a file. The kind comes from the file's name, or its folder's where the file is
  /// called validation.jsonl or test.jsonl, as the scripts call it.
  ///
  /// Throws ``TaskError``.
  public static func tasks(_ file: String, limit: Int? = nil) throws -> [EvaluationTask] {
    let kind = kind(of: file)
    let known = RulerKind(rawValue: kind)
    return try TaskFile.objects(file).prefix(limit ?? .max).map { line, value in
      guard let input = value["input"]?.text else {
        throw TaskError.malformed(
          file: file, line: line, problem: "has no text \"input\"; give a file that RULER wrote")
      }
      let outputs = TaskFile.strings(value["outputs"])
      guard !outputs.isEmpty else {
        throw TaskError.malformed(
          file: file, line: line, problem: "has no \"outputs\"; give a file that RULER wrote")
      }
      let index = value["index"]?.int ?? line - 1
      return EvaluationTask(
        id: "\(kind)-file-\(index)", kind: kind, length: value["length"]?.int, prompt: input,
        answerPrefix: value["answer_prefix"]?.text ?? "", references: outputs,
        scoring: known?.scoring ?? .containsAll, maximumAnswerTokens: known?.answerTokens ?? 128)
    }
  }

  package static func kind(of file: String) -> String {
    let stem = TaskFile.stem(file)
    let folders = file.split(separator: "/").dropLast()
    guard ["validation", "test"].contains(stem), let folder = folders.last else { return stem }
    return String(folder)
  }
}
