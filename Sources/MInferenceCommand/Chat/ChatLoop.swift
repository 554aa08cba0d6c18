import TextReports
import MInference

/// An interactive conversation: lines of standard input in, answers to standard output, all else to
/// standard error.
struct ChatLoop {
  let session: Session
  let generation: GenerationOptions
  let attention: AttentionArguments
  var conversation: Conversation
  private var input = InputLines()
  private var hasAnswered = false

  init(
    session: Session, generation: GenerationOptions, attention: AttentionArguments,
    conversation: Conversation
  ) {
    self.session = session
    self.generation = generation
    self.attention = attention
    self.conversation = conversation
  }

  /// Goes on until the input ends. Throws where standard output or input itself fails.
  mutating func run() async throws {
    while true {
      if InputLines.isTerminal { StandardError.write("> ") }
      guard let line = try input.next() else { return }
      do {
        guard try await obey(ChatCommandLine(line.commandText())) else { return }
      } catch let error as StandardOutput.ReaderGone {
        throw error
      } catch let error as CommandFailure where error.status == .inputOutput {
        throw error
      } catch {
        note(error)
      }
    }
  }

  /// Says whether the conversation goes on.
  private mutating func obey(_ line: ChatCommandLine) async throws -> Bool {
    switch line {
    case .question(let question): try await answer(question)
    case .file(let path):
      let text = try InputText.read(path: path)
      guard !text.isEmpty else {
        throw CommandFailure(.inputData, "\(path): is empty; name a file with text")
      }
      conversation.add(document: text)
    case .save(let path): try await save(to: path)
    case .load(let path):
      try await session.restore(from: path)
      session.metrics.notices.forEach(StandardError.note)
      conversation.advance(to: session.tokens)
      hasAnswered = false
    case .stats: showFigures()
    case .new:
      conversation = Conversation(
        conversation.model, raw: conversation.raw, form: conversation.form)
    case .help: StandardError.write(ChatCommandLine.helpText)
    case .quit: return false
    case .nothing: break
    case .wrong(let what): StandardError.note(what)
    }
    return true
  }

  private mutating func answer(_ question: String) async throws {
    let ids = try conversation.ids(asking: question)
    let outcome = try await Interrupts.cancelling { [session, generation, conversation] in
      try await Self.answer(ids, in: session, generation, inChatForm: !conversation.raw)
    }
    guard outcome != .notRead else {
      return StandardError.note("stopped before the question was read; it counts as not asked")
    }
    conversation.advance(to: try await session.settledTokens())
    guard outcome == .whole else {
      return StandardError.note("the answer was stopped; what it has so far stays")
    }
    hasAnswered = true
    if session.metrics.finish == .contextFull {
      StandardError.note(
        "the answer was cut: the conversation fills its \(Quantity.grouped(session.capacity)) tokens; "
          + "begin anew "
          + "with /new, or start with a larger --context")
    }
  }

  /// How far a turn came.
  private enum Outcome: Sendable {
    case notRead, stopped, whole
  }

  /// Reads and answers until the task is cancelled.
  private static func answer(
    _ ids: [Int32], in session: Session, _ generation: GenerationOptions, inChatForm: Bool
  ) async throws -> Outcome {
    let progress = ProgressLine(label: "prefill")
    defer { progress.finish() }
    do {
      try await session.read(ids) {
        progress.update(fraction: $0.fraction, totalTokens: $0.tokens)
      }
    } catch is CancellationError {
      return .notRead
    }
    progress.finish()
    var writer = AnswerWriter()
    defer { writer.endThought() }
    do {
      for try await part in session.generateParts(generation, inChatForm: inChatForm) {
        try writer.write(part)
      }
    } catch is CancellationError {}
    try writer.finish(endingLine: false)
    if Task.isCancelled { return .stopped }
    writer.notice.map(StandardError.note)
    return .whole
  }

  private func save(to path: String) async throws {
    guard !conversation.ids.isEmpty else { throw CacheFileError.nothingToSave }
    // After a turn that failed, or /new, the session may hold something else.
    if session.tokens != conversation.ids { try await session.read(conversation.ids) }
    try await session.save(to: path)
  }

  private func showFigures() {
    guard hasAnswered else {
      StandardError.note("/stats: nothing was asked yet; ask first")
      return
    }
    let metrics = session.metrics
    StandardError.write(GenerationFigures(metrics, attention: attention).line + "\n")
    StandardError.write(
      "\(Quantity.grouped(metrics.completionTokens)) tokens in the answer, "
        + "\(Quantity.grouped(session.tokens.count)) of \(Quantity.grouped(session.capacity)) "
        + "in the conversation\n")
    if let plan = session.memoryPlan { StandardError.write("memory: \(plan)\n") }
  }

  /// One line about a turn that failed. A document that it was to begin with would fail again.
  private mutating func note(_ error: any Error) {
    var text = FailureReport.line(for: error)
    if case .sessionFull(let tokens, let capacity)? = error as? LanguageModelError {
      text =
        "the conversation would have \(Quantity.grouped(tokens)) tokens and has room for "
        + "\(Quantity.grouped(capacity)); begin anew "
        + "with /new, or start with a larger --context"
    }
    if !(error is CommandFailure), !(error is CacheFileError), conversation.dropDocuments() {
      text += " (the added document was dropped)"
    }
    StandardError.note(text)
  }
}
