/// What using a ``LanguageModel`` can fail with, beside the errors of the modules beneath; each
/// description is one line that says what to do.
public enum LanguageModelError: Error, CustomStringConvertible, Sendable, Equatable {
  /// The prompt alone fills the model's context, or passes it.
  case promptTooLong(tokens: Int, contextLength: Int)
  /// There is nothing to read.
  case emptyPrompt
  /// The checkpoint has no chat template.
  case noChatTemplate(file: String)
  /// The chat template drops or changes an earlier answer, so that nothing can follow it.
  case noFollowUp(template: String)
  /// ``Session/generate(_:)`` was called before ``Session/prefill(_:progress:)``.
  case nothingPrefilled
  /// More tokens than the session was made for.
  case sessionFull(tokens: Int, capacity: Int)
  /// Buffers whose sizes do not fit together.
  case sizeMismatch(operation: String, detail: String)
  /// The system gives no thread.
  case noThread(reason: String)

  public var description: String {
    switch self {
    case .promptTooLong(let tokens, let contextLength):
      "the prompt has \(tokens) tokens and the model's context is \(contextLength), the answer "
        + "included; shorten the prompt"
    case .emptyPrompt:
      "the prompt is empty; give it some text"
    case .noChatTemplate(let file):
      "\(file): has no chat template beside it; give the prompt as plain text"
    case .noFollowUp(let template):
      "\(template): does not keep earlier answers; ask in a session of its own"
    case .nothingPrefilled:
      "there is nothing to continue; prefill a prompt first"
    case .sessionFull(let tokens, let capacity):
      "\(tokens) tokens do not fit a session made for \(capacity); make it with a larger capacity"
    case .sizeMismatch(let operation, let detail):
      "\(operation): \(detail)"
    case .noThread(let reason):
      "no thread could be started (\(reason)); end other programs or raise the limit on threads"
    }
  }
}
