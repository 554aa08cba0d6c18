public import MInference

/// A model as the runner of tasks: each method is a way of reading the same prompts.
public struct LanguageModelRunner: Sendable {
  /// A name and how prompts are read under it.
  public struct Method: Sendable {
    public var name: String
    public var options: SessionOptions

    public init(name: String, options: SessionOptions) {
      self.name = name
      self.options = options
    }
  }

  /// How a task becomes a prompt.
  public struct Form: Sendable {
    /// Whether prompts go through the model's chat form.
    public var usesChat: Bool
    /// Whether the beginning of the answer is given.
    public var givesAnswerPrefix: Bool
    /// Longer prompts lose their middle, as InfiniteBench's do; nil: they are refused.
    public var maximumTokens: Int?

    public init(usesChat: Bool = true, givesAnswerPrefix: Bool = true, maximumTokens: Int? = nil) {
      self.usesChat = usesChat
      self.givesAnswerPrefix = givesAnswerPrefix
      self.maximumTokens = maximumTokens
    }
  }

  public let model: LanguageModel
  private let allMethods: [Method]
  public let form: Form

  public init(_ model: LanguageModel, methods: [Method], form: Form = Form()) {
    self.model = model
    allMethods = methods
    self.form = form
  }

  public var methods: [String] { allMethods.map(\.name) }

  private func options(of method: String) throws -> SessionOptions {
    guard let known = allMethods.first(where: { $0.name == method }) else {
      throw RunError.unknownMethod(name: method)
    }
    return known.options
  }

  /// The ids of a text, without a chat form.
  public func tokens(of text: String) throws -> [Int32] {
    model.tokenizer.encode(text, specialTokens: .asText, addTemplate: false)
  }
}

extension LanguageModelRunner: PromptRunner {
  /// Tokens of a prompt in its form: what tasks are fitted with.
  public func countTokens(_ text: String) throws -> Int {
    // Marks of the chat form and the beginning of the text; counted once, they do not depend on it.
    try tokens(of: text).count + frame
  }

  private var frame: Int {
    let word = "word"
    let bare = model.tokenizer.encode(word, addTemplate: false).count
    let framed =
      form.usesChat
      ? (try? model.encode(.user(word)).count) ?? bare : model.tokenizer.encode(word).count
    // One extra token: tokenization may differ where the prompt and the answer's beginning join.
    return max(0, framed - bare) + 1
  }

  public func answer(
    _ task: EvaluationTask, method: String,
    progress: @escaping @Sendable (_ fraction: Double, _ tokens: Int) -> Void
  ) async throws -> PromptAnswer {
    let ids = try prompt(task)
    let turns = try task.laterTurns.map { (turn: $0, ids: try tokens(of: $0)) }
    let capacity = turns.reduce(ids.count + task.maximumAnswerTokens) {
      $0 + $1.ids.count + $1.turn.maximumAnswerTokens
    }
    let session = try model.makeSession(capacity: capacity, options: try options(of: method))
    let report = try await session.prefill(ids) { progress($0.fraction, $0.tokens) }
    var text = try await greedyAnswer(of: session, maximumTokens: task.maximumAnswerTokens)
    let timeToFirstToken = session.metrics.timeToFirstToken
    for (turn, ids) in turns {
      try await session.prefill(ids)
      text = try await greedyAnswer(of: session, maximumTokens: turn.maximumAnswerTokens)
    }
    if form.givesAnswerPrefix, task.scoring.includesAnswerPrefix { text = task.answerPrefix + text }
    return PromptAnswer(
      text: text, promptTokens: ids.count, timeToFirstToken: timeToFirstToken,
      density: report.density, recall: report.recall?.mean, worstRecall: report.recall?.worst.mean)
  }

  private func greedyAnswer(of session: Session, maximumTokens: Int) async throws -> String {
    var text = ""
    let generation = GenerationOptions(
      maximumTokens: maximumTokens, sampling: SamplingOptions(temperature: 0))
    for try await piece in session.generate(generation) { text += piece }
    return text
  }

  /// The ids of a later turn, with the beginning of its answer: read behind the answer before it.
  private func tokens(of turn: EvaluationTask.Turn) throws -> [Int32] {
    let prefix = form.givesAnswerPrefix ? turn.answerPrefix : ""
    guard form.usesChat else { return try tokens(of: "\n\n" + turn.question + prefix) }
    return try model.encodeFollowUp(turn.question) + tokens(of: String(prefix.drop { $0 == " " }))
  }

  /// The ids of a task's prompt, with the beginning of the answer.
  func prompt(_ task: EvaluationTask) throws -> [Int32] {
    let prefix = form.givesAnswerPrefix ? task.answerPrefix : ""
    let text = try shortened(task.prompt, answerTokens: task.maximumAnswerTokens)
    guard form.usesChat else { return try model.encode(.raw(text + prefix)) }
    let head = try model.encode(.user(text))
    let start = prefix.drop { $0 == " " }
    return try model.encode(.tokens(head + tokens(of: String(start))))
  }

  private func shortened(_ text: String, answerTokens: Int) throws -> String {
    guard let maximum = form.maximumTokens else { return text }
    let ids = try tokens(of: text)
    let limit = min(maximum, model.contextLength) - answerTokens - frame - 64
    guard ids.count > limit, limit > 1 else { return text }
    return model.tokenizer.decode(ids.prefix(limit / 2), skipSpecialTokens: false)
      + model.tokenizer.decode(ids.suffix(limit / 2), skipSpecialTokens: false)
  }
}

extension LanguageModelRunner: TextScorer {
  public func score(
    _ tokens: [Int32], method: String,
    progress: @escaping @Sendable (_ fraction: Double, _ tokens: Int) -> Void
  ) async throws -> ScoredTokens {
    let score = try await model.score(tokens, options: try options(of: method)) {
      progress($0.fraction, $0.tokens)
    }
    return ScoredTokens(
      logProbabilities: score.logProbabilities, seconds: score.report.seconds,
      density: score.report.density)
  }
}

extension LanguageModelRunner: RecallMeasurer {
  public func recall(
    _ tokens: [Int32], method: String,
    progress: @escaping @Sendable (_ fraction: Double, _ tokens: Int) -> Void
  ) async throws -> RecallReading {
    var options = try options(of: method)
    options.measuresRecall = true
    // Scoring computes the last layer in every row; a prefill would leave most of it out.
    let report = try await model.score(tokens, options: options) {
      progress($0.fraction, $0.tokens)
    }.report
    let densities = report.headDensities
    return RecallReading(
      heads: densities.indices.map { layer in
        densities[layer].indices.map { head in
          // A head that was computed densely loses nothing.
          let recall = report.headRecalls?[layer][head]
          return RecallReading.Head(
            mean: recall?.mean ?? 1, tenthPercentile: recall?.tenthPercentile ?? 1,
            density: densities[layer][head])
        }
      }, seconds: report.seconds)
  }
}
