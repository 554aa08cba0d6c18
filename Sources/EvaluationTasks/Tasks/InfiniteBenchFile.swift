import JSON
import MInference

/// InfiniteBench's JSON lines: `context`, `input`, `answer` and, for two tasks, `options`.
public enum InfiniteBenchFile {
  /// The tasks of a file; which of the ten comes from its name ("passkey.jsonl") or is given.
  ///
  /// References are the answers; of the two multiple-choice tasks the option and its letter.
  /// Throws ``TaskError``.
  public static func tasks(
    _ file: String, kind given: InfiniteBenchKind? = nil, limit: Int? = nil
  ) throws -> [EvaluationTask] {
    let stem = TaskFile.stem(file)
    guard let kind = given ?? InfiniteBenchKind(rawValue: stem) else {
      throw TaskError.unknownFile(file: file, known: InfiniteBenchKind.allCases.map(\.rawValue))
    }
    return try TaskFile.objects(file).prefix(limit ?? .max).map { line, value in
      func fail(_ problem: String) -> TaskError {
        .malformed(file: file, line: line, problem: problem + "; give a file of InfiniteBench")
      }
      guard let context = (value["context"] ?? value["content"])?.text else {
        throw fail("has no text \"context\"")
      }
      let options = TaskFile.strings(value["options"])
      let answers = TaskFile.strings(value["answer"])
      guard !answers.isEmpty else { throw fail("has no \"answer\"") }
      let id = value["id"]?.textOrNumber ?? "\(line - 1)"
      return EvaluationTask(
        id: "\(kind.rawValue)-\(id)", kind: kind.rawValue,
        prompt: kind.prompt(
          context: context, input: value["input"]?.text ?? "", options: options),
        answerPrefix: kind.answerPrefix,
        references: try references(answers, options: options, kind: kind, fail: fail),
        scoring: kind.scoring, maximumAnswerTokens: kind.answerTokens)
    }
  }

  private static func references(
    _ answers: [String], options: [String], kind: InfiniteBenchKind, fail: (String) -> TaskError
  ) throws -> [String] {
    guard kind == .choice || kind == .codeDebug else { return answers }
    guard options.count == 4 else { throw fail("has \(options.count) options instead of 4") }
    let letters = ["A", "B", "C", "D"]
    if answers.count == 2, letters.contains(answers[1]) { return answers }
    guard let number = options.firstIndex(of: answers[0]) else {
      throw fail("has an answer that is none of its options")
    }
    return [answers[0], letters[number]]
  }
}
