public import Transformers

/// A prompt and how it is to be answered.
public struct AnswerRequest: Sendable {
  public var prompt: [Int32]
  /// nil: as ``EngineOptions/session`` has it.
  public var attention: AttentionOptions?
  /// Watches recall while the prompt is read; nil: as ``EngineOptions/session`` has it.
  public var monitor: RecallMonitor?
  /// nil: what the checkpoint asks for.
  public var sampling: SamplingOptions?
  /// nil: ``EngineOptions/answerTokens``, and no more than the context leaves. 0 reads the prompt alone.
  public var maximumTokens: Int?
  /// The answer ends before the first of these.
  public var stopStrings: [String]
  /// Where an answer in the harmony format has text in which stop strings count; nil: all of an answer is such.
  package var finalMessages: HarmonyFinalMessages?
  /// Whether each token comes with its log-probability, and with how many of the likeliest.
  public var logProbabilities: Int?
  /// Whether the answer goes on when the model ends it.
  public var ignoresEndOfText = false
  /// Whether control tokens of the answer are part of its text.
  public var showsControlTokens = false
  /// What the answer has to look like; nil: anything.
  public var constraint: (any AnswerConstraint)?
  /// Looks at a head instead of answering: the prompt is read, and the summary has
  /// ``AnswerSummary/observation``. What else is asked for but attention and monitor has no effect.
  public var observedHead: ObservedHead?

  public init(
    prompt: [Int32], attention: AttentionOptions? = nil, monitor: RecallMonitor? = nil,
    sampling: SamplingOptions? = nil, maximumTokens: Int? = nil, stopStrings: [String] = [],
    logProbabilities: Int? = nil, constraint: (any AnswerConstraint)? = nil
  ) {
    self.prompt = prompt
    self.attention = attention
    self.monitor = monitor
    self.sampling = sampling
    self.maximumTokens = maximumTokens
    self.stopStrings = stopStrings
    self.logProbabilities = logProbabilities
    self.constraint = constraint
  }
}

/// What the tokens of an answer have to spell. A value: each answer has its own copy.
public protocol AnswerConstraint: Sendable {
  /// Whether the answer may end here.
  var isComplete: Bool { get }

  /// Sets the logits of ids that cannot come next to negative infinity. At least one id stays.
  ///
  /// - Parameters:
  ///   - stopIDs: Ids that end the answer: they stay only where it is complete.
  ///   - remaining: Tokens that the answer may still have.
  mutating func restrict(
    _ logits: inout [Float], stopIDs: Set<Int32>, remaining: Int) throws

  /// Takes the id that was chosen.
  mutating func accept(_ id: Int32) throws
}
