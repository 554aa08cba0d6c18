import JSON
import TextReports

/// What using a ``LanguageModel`` can fail with, beside the errors of the modules beneath; each
/// description is one line that says what to do.
public enum LanguageModelError: Error, CustomStringConvertible, Sendable, Equatable {
  /// The prompt alone fills the model's context, or passes it.
  case promptTooLong(tokens: Int, contextLength: Int)
  /// There is nothing to read.
  case emptyPrompt
  /// The checkpoint has no chat template.
  case noChatTemplate(file: String)
  /// The checkpoint has no chat template of that name, or several and none that is the default.
  case unknownChatTemplate(name: String?, known: [String], file: String)
  /// A text with tools is not a JSON list of objects.
  case malformedTools(name: String, problem: String)
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
      "the prompt has \(Quantity.grouped(tokens)) tokens and the model's context is "
        + "\(Quantity.grouped(contextLength)), the answer "
        + "included; shorten the prompt"
    case .emptyPrompt:
      "the prompt is empty; give it some text"
    case .noChatTemplate(let file):
      "\(file): has no chat template beside it; give the prompt as plain text"
    case .unknownChatTemplate(let name, let known, let file):
      "\(file): has no chat template \(name.map { "called \(quoted($0))" } ?? "by default"); "
        + (known.isEmpty
          ? "it has one without a name alone"
          : "name one of \(known.map { printable($0, limit: 60) }.joined(separator: ", "))")
    case .malformedTools(let name, let problem):
      "\(name): \(problem); give a JSON list of objects, one for each tool"
    case .noFollowUp(let template):
      "\(template): does not keep earlier answers; ask in a session of its own"
    case .nothingPrefilled:
      "there is nothing to continue; prefill a prompt first"
    case .sessionFull(let tokens, let capacity):
      "\(Quantity.grouped(tokens)) tokens do not fit a session made for "
        + "\(Quantity.grouped(capacity)); make it with a larger capacity"
    case .sizeMismatch(let operation, let detail):
      "\(operation): \(detail)"
    case .noThread(let reason):
      "no thread could be started (\(reason)); end other programs or raise the limit on threads"
    }
  }
}
