/// What a backend can fail with; each description is one line that says what to do.
public enum ComputeError: Error, CustomStringConvertible, Sendable, Equatable {
  /// An operation was given tensors or arguments that do not fit together.
  case shapeMismatch(operation: String, detail: String)
  /// Memory could not be had.
  case outOfMemory(wantedBytes: Int, purpose: String)
  /// A library, device or instruction set is not there.
  case unavailable(what: String, remedy: String)

  public var description: String {
    switch self {
    case .shapeMismatch(let operation, let detail):
      "\(operation): \(detail)"
    case .outOfMemory(let wantedBytes, let purpose):
      "not enough memory for \(purpose): \(wantedBytes) bytes wanted; use a shorter prompt, "
        + "a smaller --chunk or --kv bf16"
    case .unavailable(let what, let remedy):
      "\(what) is not available: \(remedy)"
    }
  }
}
