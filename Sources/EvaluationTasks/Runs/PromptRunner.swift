/// Reads prompts by several methods: a model, or a stand-in in tests.
public protocol MethodRunner: Sendable {
  /// The methods' names, in the order of the tables' columns. The first is what the others are
  /// compared with.
  var methods: [String] { get }
}

/// Answers tasks.
public protocol PromptRunner: MethodRunner {
  func countTokens(_ text: String) throws -> Int

  /// The greedy answer to a task, read with one of ``methods``.
  ///
  /// - Parameter progress: told the fraction of the prompt that is read, and its tokens.
  func answer(
    _ task: EvaluationTask, method: String,
    progress: @escaping @Sendable (_ fraction: Double, _ tokens: Int) -> Void
  ) async throws -> PromptAnswer
}

/// One answer and its cost.
public struct PromptAnswer: Sendable, Hashable {
  /// Without the answer's prefix, unless the score counts it as a part of the answer.
  public var text: String
  public var promptTokens: Int
  /// Seconds, estimation included.
  public var timeToFirstToken: Double
  /// Computed / causal pairs.
  public var density: Double
  /// Mean over heads and worst head; nil where it was not measured.
  public var recall: Double?
  public var worstRecall: Double?

  public init(
    text: String, promptTokens: Int, timeToFirstToken: Double = 0, density: Double = 1,
    recall: Double? = nil, worstRecall: Double? = nil
  ) {
    self.text = text
    self.promptTokens = promptTokens
    self.timeToFirstToken = timeToFirstToken
    self.density = density
    self.recall = recall
    self.worstRecall = worstRecall
  }
}

/// Reads texts, without a chat form.
public protocol TextReader: MethodRunner {
  /// The ids of a text.
  func tokens(of text: String) throws -> [Int32]
}

/// Scores the tokens of a text.
public protocol TextScorer: TextReader {
  /// Natural logarithms of the probabilities of each token after the first.
  func score(
    _ tokens: [Int32], method: String,
    progress: @escaping @Sendable (_ fraction: Double, _ tokens: Int) -> Void
  ) async throws -> ScoredTokens
}

/// What a ``TextScorer`` gives.
public struct ScoredTokens: Sendable {
  public var logProbabilities: [Float]
  public var seconds: Double
  public var density: Double

  public init(logProbabilities: [Float], seconds: Double = 0, density: Double = 1) {
    self.logProbabilities = logProbabilities
    self.seconds = seconds
    self.density = density
  }
}

/// Compares the attention of every head with dense attention; all methods are sparse.
public protocol RecallMeasurer: TextReader {
  func recall(
    _ tokens: [Int32], method: String,
    progress: @escaping @Sendable (_ fraction: Double, _ tokens: Int) -> Void
  ) async throws -> RecallReading
}

/// Recall and density of every head over one prompt.
public struct RecallReading: Sendable, Hashable {
  /// One head.
  public struct Head: Sendable, Hashable {
    /// Over the sampled rows.
    public var mean: Double
    public var tenthPercentile: Double
    public var density: Double

    public init(mean: Double, tenthPercentile: Double, density: Double) {
      self.mean = mean
      self.tenthPercentile = tenthPercentile
      self.density = density
    }
  }

  /// [layer][head]
  public var heads: [[Head]]
  public var seconds: Double

  public init(heads: [[Head]], seconds: Double) {
    self.heads = heads
    self.seconds = seconds
  }

  /// The mean over all heads.
  public var mean: Double { Bootstrap.average(heads.joined().map(\.mean)) }
  public var density: Double { Bootstrap.average(heads.joined().map(\.density)) }
  /// The head with the least mean, and where it is.
  public var worst: (layer: Int, head: Int, value: Head)? {
    heads.enumerated().flatMap { layer, heads in
      heads.enumerated().map { (layer: layer, head: $0, value: $1) }
    }.min { $0.value.mean < $1.value.mean }
  }
}
