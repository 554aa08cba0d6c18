public import MInference
import TextReports

/// One reading of the demo's document: its answers and their cost.
public struct DemoReading: Sendable {
  /// In the order of the document's needles.
  public var answers: [String]
  /// Figures of the document with its first question.
  public var metrics: GenerationMetrics

  /// How many of the answers are right.
  public func correct(_ document: DemoDocument) -> Int {
    zip(answers, document.needles).count { answer, needle in needle.isAnswered(by: answer) }
  }

  /// Tokens that an answer may have.
  public static let answerTokens = 48

  /// Reads the document with the first question, answers, and goes on with the other questions in
  /// the same conversation, so that the document is read once.
  ///
  /// Answers are greedy, whatever the checkpoint asks for: two readings are to be compared.
  public static func read(
    _ document: DemoDocument, with model: LanguageModel, options: SessionOptions,
    progress: @escaping @Sendable (PrefillProgress) -> Void
  ) async throws -> DemoReading {
    let prompts = try document.prompts(for: model)
    let capacity = prompts.reduce(0) { $0 + $1.count + answerTokens }
    let session = try model.makeSession(capacity: capacity, options: options)
    var reading = DemoReading(answers: [], metrics: GenerationMetrics())
    for (number, prompt) in prompts.enumerated() {
      try await session.prefill(prompt) { if number == 0 { progress($0) } }
      var answer = ""
      let generation = GenerationOptions(
        maximumTokens: answerTokens, sampling: SamplingOptions(temperature: 0))
      for try await piece in session.generate(generation) { answer += piece }
      reading.answers.append(answer)
      if number == 0 { reading.metrics = session.metrics }
    }
    return reading
  }
}

extension DemoDocument {
  /// A document that makes a prompt of at most `tokens` tokens, and leaves room in the model's
  /// context for all questions and answers.
  ///
  /// Throws ``DemoError/tooShort(tokens:minimum:)`` if the facts alone take more, and
  /// ``DemoError/tooLong(tokens:contextLength:)``.
  public init(promptTokens tokens: Int, for model: LanguageModel, seed: UInt64 = 1) throws {
    guard tokens <= model.contextLength else {
      throw DemoError.tooLong(tokens: tokens, contextLength: model.contextLength)
    }
    let empty = DemoDocument(text: "", needles: Self.needles)
    let frame = try empty.prompts(for: model)
    let others = frame.dropFirst().reduce(0) { $0 + $1.count }
    let answers = Self.needles.count * DemoReading.answerTokens
    let limit = min(tokens, model.contextLength - others - answers) - (frame.first?.count ?? 0)
    try self.init(tokens: limit, seed: seed) {
      model.tokenizer.encode($0, addTemplate: false).count
    }
    let count = try prompts(for: model).first?.count ?? 0
    guard count <= tokens else { throw DemoError.tooShort(tokens: tokens, minimum: count) }
  }

  /// The ids of the document with its first question, then of each question that follows.
  func prompts(for model: LanguageModel) throws -> [[Int32]] {
    try needles.enumerated().map { number, needle in
      number == 0
        ? try model.encode(.user(text + "\n\n" + needle.question))
        : try model.encodeFollowUp(needle.question)
    }
  }
}

/// Errors of the demo, beside those of the library.
public enum DemoError: RemediedError, Sendable, Equatable {
  case tooShort(tokens: Int, minimum: Int)
  case tooLong(tokens: Int, contextLength: Int)
  case textTooShort(tokens: Int, wanted: Int)

  public func description(naming setting: (Remedy.Setting) -> String) -> String {
    switch self {
    case .tooShort(let tokens, let minimum):
      "\(Quantity.grouped(tokens)) tokens are too few; the facts and the question take "
        + "\(Quantity.grouped(minimum)); "
        + Remedy(use: .largerLength).text(naming: setting)
    case .tooLong(let tokens, let contextLength):
      "\(Quantity.grouped(tokens)) tokens are more than the model's context of "
        + "\(Quantity.grouped(contextLength)); "
        + Remedy(use: .smallerLength).text(naming: setting)
    case .textTooShort(let tokens, let wanted):
      "the text has \(Quantity.grouped(tokens)) tokens and \(Quantity.grouped(wanted)) are wanted; "
        + Remedy(use: .longerDocument).text(naming: setting)
    }
  }
}

/// What helps against errors of documents and runs.
extension Remedy.Setting {
  public static let largerLength = Remedy.Setting("a larger length")
  public static let smallerLength = Remedy.Setting("a smaller length")
  public static let longerDocument = Remedy.Setting("a longer document")
  public static let longerEvaluationText = Remedy.Setting("a longer text to evaluate on")
  public static let smallerPromptLengths = Remedy.Setting("smaller prompt lengths")
  public static let largerPromptLengths = Remedy.Setting("larger prompt lengths")
  public static let runMethods = Remedy.Setting("a kind of attention that the run was made with")
  public static let squadFile = Remedy.Setting("a SQuAD file for qa_1")
  public static let hotpotFile = Remedy.Setting("a HotpotQA file for qa_2")
}
