/// RULER's kinds, written by this project: the published parameters and scoring, our own wording.
///
/// A prompt and its answer together have at most the length asked for, as there; the haystack is
/// fitted by counting. Source: NVIDIA's RULER, scripts/data/synthetic.
public struct RulerTask: Sendable {
  public var kinds: [RulerKind]
  public var lengths: [Int]
  /// Prompts of each kind and length.
  public var samples: Int
  public var seed: UInt64
  /// For qa_1 and qa_2.
  public var questions: [RulerKind: QuestionCorpus]
  /// The essays; nil: a chronicle of our own.
  public var haystack: Haystack?

  public init(
    kinds: [RulerKind], lengths: [Int], samples: Int, seed: UInt64 = 1,
    questions: [RulerKind: QuestionCorpus] = [:], haystack: Haystack? = nil
  ) {
    self.kinds = kinds
    self.lengths = lengths
    self.samples = samples
    self.seed = seed
    self.questions = questions
    self.haystack = haystack
  }

  /// The tasks, kind by kind. Throws ``TaskError/missingQuestions(kind:)``.
  public func plans() throws -> [TaskPlan] {
    for kind in kinds where kind == .squad || kind == .hotpot {
      guard questions[kind]?.questions.isEmpty == false else {
        throw TaskError.missingQuestions(kind: kind.rawValue)
      }
    }
    return kinds.flatMap { kind in
      lengths.flatMap { length in
        (0..<samples).map { sample in
          let id = "\(kind.rawValue)-\(length)-\(sample)"
          return TaskPlan(id: id, kind: kind.rawValue, length: length) { countTokens in
            try task(kind, id: id, length: length, sample: sample, countTokens)
          }
        }
      }
    }
  }

  private func task(
    _ kind: RulerKind, id: String, length: Int, sample: Int, _ countTokens: TokenCounter
  ) throws -> EvaluationTask {
    let number = RulerKind.allCases.firstIndex(of: kind) ?? 0
    let words = WordList(seed: seed &* 1_000_003 &+ UInt64(number * 10_007 + sample))
    let draft: RulerDraft
    switch kind {
    case .variableTracking: draft = .variables(words)
    case .commonWords: draft = .commonWords(words, length: length)
    case .frequentWords: draft = .frequentWords(words, length: length)
    case .squad, .hotpot:
      guard let corpus = questions[kind] else {
        throw TaskError.missingQuestions(kind: kind.rawValue)
      }
      draft = .question(corpus, number: sample, words)
    default:
      guard let needles = kind.needles else {
        throw TaskError.unknownKind(name: kind.rawValue, known: [])
      }
      draft = try .needles(
        needles, words, length: length,
        essay: haystack ?? .chronicle(seed: seed &+ UInt64(sample) &+ 1))
    }
    let limit = length - kind.answerTokens
    let size = try LengthFitting.largestSize(
      upTo: draft.maximumSize, limit: limit, rate: draft.tokensPerUnit
    ) { try countTokens(draft.prompt($0) + draft.answerPrefix) }
    guard let size, size >= draft.minimumSize else {
      let needed =
        try countTokens(draft.prompt(draft.minimumSize) + draft.answerPrefix) + kind.answerTokens
      throw TaskError.tooShort(kind: kind.rawValue, length: length, needed: needed)
    }
    return EvaluationTask(
      id: id, kind: kind.rawValue, length: length, prompt: draft.prompt(size),
      answerPrefix: draft.answerPrefix, references: draft.references(size),
      scoring: kind.scoring, maximumAnswerTokens: kind.answerTokens)
  }
}

/// A task whose haystack has no size yet.
struct RulerDraft {
  /// The smallest size at which the task is meaningful.
  var minimumSize = 0
  var maximumSize: Int
  /// A first guess of the tokens that one unit adds.
  var tokensPerUnit: Double
  var answerPrefix: String
  var references: (_ size: Int) -> [String]
  var prompt: (_ size: Int) -> String
}
