package import JSON

/// The result of one task with one method: a line of a results file.
public struct RunRecord: Sendable, Hashable {
  public var task: String
  public var kind: String
  public var length: Int?
  public var depth: Double?
  public var method: String
  public var references: [String]
  public var score: Double
  public var answer: PromptAnswer

  public init(_ task: EvaluationTask, method: String, answer: PromptAnswer) {
    self.task = task.id
    kind = task.kind
    length = task.length
    depth = task.depth
    self.method = method
    references = task.references
    score = task.score(answer.text)
    self.answer = answer
  }
}

extension RunRecord: RunLine {
  package var key: RunKey { RunKey(task: task, method: method) }

  package var json: JSONValue {
    .object([
      ("task", .string(task)), ("kind", .string(kind)),
      ("length", length.map { .integer($0) } ?? .null),
      ("depth", depth.map { .number($0) } ?? .null), ("method", .string(method)),
      ("score", .number(score)), ("answer", .string(answer.text)),
      ("references", .array(references.map { .string($0) })),
      ("prompt_tokens", .integer(answer.promptTokens)),
      ("time_to_first_token_s", .number(answer.timeToFirstToken)),
      ("density", .number(answer.density)),
      ("recall", answer.recall.map { .number($0) } ?? .null),
      ("worst_recall", answer.worstRecall.map { .number($0) } ?? .null),
    ])
  }

  package init?(_ value: JSONValue) {
    guard let task = value["task"]?.text, let kind = value["kind"]?.text,
      let method = value["method"]?.text, let score = value["score"]?.double,
      let text = value["answer"]?.text, let promptTokens = value["prompt_tokens"]?.int,
      let time = value["time_to_first_token_s"]?.double, let density = value["density"]?.double
    else { return nil }
    self.task = task
    self.kind = kind
    self.method = method
    self.score = score
    length = value["length"]?.int
    depth = value["depth"]?.double
    references = TaskFile.strings(value["references"])
    answer = PromptAnswer(
      text: text, promptTokens: promptTokens, timeToFirstToken: time, density: density,
      recall: value["recall"]?.double, worstRecall: value["worst_recall"]?.double)
  }
}
