public import MInference
import TextReports

/// One question, put to every method in the same words: the prompt, what the answer has to hold, and
/// how that is scored. A pure value.
public struct EvaluationTask: Sendable, Hashable {
  /// Distinct within a run, and the same in every run with the same settings.
  public var id: String
  /// The group in which its result is averaged: "needle", "niah_single_1", "passkey".
  public var kind: String
  /// Tokens that prompt and answer together may have; nil for tasks that come from a file.
  public var length: Int?
  /// Where the needle lies, 0 (beginning) to 1 (end); nil for tasks without a single needle.
  public var depth: Double?
  public var prompt: String
  /// How the answer begins. Stands behind the prompt, in a chat at the head of the answer.
  public var answerPrefix: String
  public var references: [String]
  public var scoring: AnswerScoring
  public var maximumAnswerTokens: Int
  /// What is asked in the same conversation after the first answer. The last answer is the one that
  /// is scored.
  public var laterTurns: [Turn] = []
  /// Whether the reference is what the run's first method answers.
  public var comparesMethods = false

  /// A later turn of a conversation.
  public struct Turn: Sendable, Hashable {
    public var question: String
    /// As ``EvaluationTask/answerPrefix``.
    public var answerPrefix: String
    public var maximumAnswerTokens: Int

    public init(question: String, answerPrefix: String = "", maximumAnswerTokens: Int) {
      self.question = question
      self.answerPrefix = answerPrefix
      self.maximumAnswerTokens = maximumAnswerTokens
    }
  }

  public init(
    id: String, kind: String, length: Int? = nil, depth: Double? = nil, prompt: String,
    answerPrefix: String = "", references: [String], scoring: AnswerScoring,
    maximumAnswerTokens: Int
  ) {
    self.id = id
    self.kind = kind
    self.length = length
    self.depth = depth
    self.prompt = prompt
    self.answerPrefix = answerPrefix
    self.references = references
    self.scoring = scoring
    self.maximumAnswerTokens = maximumAnswerTokens
  }

  /// The score of an answer, 0 to 1.
  public func score(_ answer: String) -> Double { scoring.score(answer, references: references) }

  /// The task with the first method's answer as its reference, if that is what it is scored by.
  func compared(with first: String) -> EvaluationTask {
    guard comparesMethods else { return self }
    var task = self
    task.references = [first]
    return task
  }
}

/// The number of a text's tokens, as the model counts them.
public typealias TokenCounter = @Sendable (String) throws -> Int

/// A task whose prompt is not written yet. Prompts of a million tokens are made one at a time, and only where
/// a result is missing.
public struct TaskPlan: Sendable {
  /// As ``EvaluationTask/id``.
  public let id: String
  public let kind: String
  public let length: Int?
  private let write: @Sendable (_ countTokens: @escaping TokenCounter) throws -> EvaluationTask

  public init(
    id: String, kind: String, length: Int?,
    write: @escaping @Sendable (_ countTokens: @escaping TokenCounter) throws -> EvaluationTask
  ) {
    self.id = id
    self.kind = kind
    self.length = length
    self.write = write
  }

  /// A task that is already written.
  public init(_ task: EvaluationTask) {
    self.init(id: task.id, kind: task.kind, length: task.length) { _ in task }
  }

  /// Writes the task. Throws ``TaskError``, and what `countTokens` throws.
  public func task(_ countTokens: @escaping TokenCounter) throws -> EvaluationTask {
    try write(countTokens)
  }

  /// The same task under another name, averaged with other tasks.
  func renamed(id: String, kind: String) -> TaskPlan {
    TaskPlan(id: id, kind: kind, length: length) { [self] countTokens in
      var task = try task(countTokens)
      (task.id, task.kind) = (id, kind)
      return task
    }
  }
}

extension TaskPlan {
  /// The plans whose kind fits their length, and one ``TaskError/tooShort(kind:length:needed:)`` for each kind
  /// and length that does not. The first plan of each is tried, so that errors show before hours of work.
  public static func fitting(
    _ plans: [TaskPlan], countTokens: @escaping TokenCounter
  ) throws -> (plans: [TaskPlan], leftOut: [TaskError]) {
    struct Group: Hashable {
      let kind: String
      let length: Int?
    }
    var fits: [Group: Bool] = [:]
    var leftOut: [TaskError] = []
    let fitting = try plans.filter { plan in
      let group = Group(kind: plan.kind, length: plan.length)
      if let known = fits[group] { return known }
      do {
        _ = try plan.task(countTokens)
        fits[group] = true
        return true
      } catch let error as TaskError {
        guard case .tooShort = error else { throw error }
        leftOut.append(error)
        fits[group] = false
        return false
      }
    }
    return (fitting, leftOut)
  }
}

/// Errors in a task's parameters or files.
public enum TaskError: RemediedError, Sendable, Equatable {
  case tooShort(kind: String, length: Int, needed: Int)
  case unknownKind(name: String, known: [String])
  case unknownFile(file: String, known: [String])
  case missingQuestions(kind: String)
  case malformed(file: String, line: Int, problem: String)
  case empty(file: String)
  case unreadable(file: String, reason: String)
  /// The texts have no passage from which a question can be made.
  case nothingToAsk(kind: String, source: String)
  /// A scenario's source (books or code) is missing.
  case missingSource(scenario: String, setting: Remedy.Setting)

  public func description(naming setting: (Remedy.Setting) -> String) -> String {
    switch self {
    case .tooShort(let kind, let length, let needed):
      "\(kind) takes at least \(Quantity.grouped(needed)) tokens and does not fit \(Quantity.grouped(length)); "
        + Remedy(use: .largerPromptLengths).text(naming: setting)
    case .unknownKind(let name, let known):
      "\"\(name)\" is no kind of task; give some of \(known.joined(separator: ", "))"
    case .unknownFile(let file, let known):
      "\(file): its name is none of a task's; name it \(known.map { $0 + ".jsonl" }.joined(separator: ", "))"
    case .missingQuestions(let kind):
      "\(kind): needs questions; "
        + Remedy(use: .squadFile, .hotpotFile).text(naming: setting)
    case .malformed(let file, let line, let problem):
      "\(file): line \(line) \(problem)"
    case .empty(let file):
      "\(file): holds no task; give a file with one JSON object a line"
    case .unreadable(let file, let reason):
      "\(file): cannot be read (\(reason)); name a readable UTF-8 file"
    case .nothingToAsk(let kind, let source):
      "\(source): has nothing that \(kind) could ask for; give longer or other text"
    case .missingSource(let scenario, let need):
      "\(scenario): has nothing to ask about; " + Remedy(use: need).text(naming: setting)
    }
  }
}
