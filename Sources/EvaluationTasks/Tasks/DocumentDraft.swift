/// A task about a document that has no size yet: what to do, the document, the question.
///
/// The document is fitted to the length by counting tokens, and a line of marks before it takes what
/// is left: a prompt and its answers have exactly the length asked for, as the model counts.
struct DocumentDraft {
  /// The smallest size at which the task is meaningful.
  var minimumSize = 0
  var maximumSize: Int
  /// A first guess of the tokens that one unit adds.
  var tokensPerUnit: Double
  /// The text before the document.
  var opening: String
  /// The document of a size.
  var context: (_ size: Int) -> String
  /// The text behind the document.
  var question: String
  var answerPrefix = ""
  var references: (_ size: Int) -> [String]
  var scoring: AnswerScoring
  var answerTokens: Int
  var depth: Double?
  var laterTurns: [EvaluationTask.Turn] = []
  var comparesMethods = false

  /// The prompt with a document of `size` and a line of marks.
  func prompt(size: Int, marks: Int = 0, mark: String = "-") -> String {
    let line = Array(repeating: mark, count: marks).joined(separator: " ")
    return opening + "\n\n" + (marks == 0 ? "" : line + "\n\n") + context(size) + "\n\n" + question
  }

  /// The task, fitted. Throws ``TaskError/tooShort(kind:length:needed:)`` and what `countTokens` throws.
  func task(
    id: String, kind: String, length: Int, _ countTokens: TokenCounter
  ) throws -> EvaluationTask {
    var others = answerTokens
    for turn in laterTurns {
      others += turn.maximumAnswerTokens
      others += try countTokens(turn.question + turn.answerPrefix)
    }
    let limit = length - others
    func tokens(_ prompt: String) throws -> Int { try countTokens(prompt + answerPrefix) }
    let size = try LengthFitting.largestSize(
      upTo: maximumSize, limit: limit, rate: tokensPerUnit
    ) { try tokens(prompt(size: $0)) }
    guard let size, size >= minimumSize else {
      throw TaskError.tooShort(
        kind: kind, length: length, needed: try tokens(prompt(size: minimumSize)) + others)
    }
    let filled = try filled(size, limit: limit, tokens)
    var task = EvaluationTask(
      id: id, kind: kind, length: length, depth: depth, prompt: filled.prompt,
      answerPrefix: answerPrefix, references: references(filled.size), scoring: scoring,
      maximumAnswerTokens: answerTokens)
    task.laterTurns = laterTurns
    task.comparesMethods = comparesMethods
    return task
  }

  /// The prompt of exactly `limit` tokens. If no number of marks gives that, as where a mark and a line end are
  /// one token, the longest prompt below.
  private func filled(
    _ size: Int, limit: Int, _ tokens: (String) throws -> Int
  ) throws -> (prompt: String, size: Int) {
    var best = (prompt: prompt(size: size), size: size)
    var most = try tokens(best.prompt)
    // One unit less leaves a gap that marks can fill in more ways.
    for size in [size, size - 1] where size >= minimumSize && most < limit {
      for mark in ["-", "~", "so"] where most < limit {
        var marks = max(1, limit - most - 2)
        var tried: Set<Int> = []
        while tried.count < 16, tried.insert(marks).inserted {
          let prompt = prompt(size: size, marks: marks, mark: mark)
          let count = try tokens(prompt)
          if count <= limit, count > most { (best, most) = ((prompt, size), count) }
          if count == limit { break }
          marks = max(1, marks + limit - count)
        }
      }
    }
    return best
  }
}
