import TextReports

/// Errors of backends; each description is one line that says what to do.
public enum ComputeError: RemediedError, Sendable, Equatable {
  /// An operation was given tensors or arguments that do not fit together.
  case shapeMismatch(operation: String, detail: String)
  /// An allocation failed.
  case outOfMemory(wantedBytes: Int, purpose: String)
  /// A library, device or instruction set is missing.
  case unavailable(what: String, remedy: Remedy)

  public func description(naming name: (Remedy.Setting) -> String) -> String {
    switch self {
    case .shapeMismatch(let operation, let detail):
      "\(operation): \(detail)"
    case .outOfMemory(let wantedBytes, let purpose):
      "not enough memory for \(purpose): \(Quantity.bytes(wantedBytes)) wanted; "
        + Remedy(use: .shorterPrompt, .smallerChunk, .bfloat16KeyValues).text(naming: name)
    case .unavailable(let what, let remedy):
      "\(what) is not available: \(remedy.text(naming: name))"
    }
  }
}
