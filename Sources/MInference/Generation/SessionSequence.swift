import Compute
import Transformers

/// The one sequence of a session.
///
/// Whoever has the session's turn uses it, and for that time the engine's thread: never two at once.
final class SessionSequence: @unchecked Sendable {
  /// nil before the first prompt.
  var cache: KeyValueCache?
  /// Every token in the cache, and the last one given out that is not in it yet.
  var history: [Int32] = []
  /// Of the token after ``history``, [1, vocabulary] float32; nil before the first prompt, and once an
  /// answer has begun.
  private(set) var logits: Tensor?
  /// The same on the host.
  private(set) var logitValues: [Float]?

  /// A prompt has been read.
  func take(_ prompt: [Int32], logits: Tensor, values: [Float]) {
    history = prompt
    self.logits = logits
    logitValues = values
  }

  func forgetLogits() { (logits, logitValues) = (nil, nil) }
}

/// What a session asks of its engine.
struct SessionWork: Sendable {
  enum Task: Sendable {
    /// Reads the request's prompt behind so many positions of the cache, which stay.
    case read(keeping: Int)
    /// Continues what was read.
    case answer
  }

  let sequence: SessionSequence
  let task: Task
  let attention: AttentionOptions
  /// How prompts are read, and read again.
  let reading: PrefillOptions
  let makeCache: @Sendable () throws -> KeyValueCache
}
