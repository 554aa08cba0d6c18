import Tokenizers
import Transformers

/// A request between its submission and its end.
struct Submission: Sendable {
  let id: Int
  let request: AnswerRequest
  let cancellation: CancellationFlag
  let events: AsyncThrowingStream<AnswerEvent, any Error>.Continuation
  let time = ContinuousClock.now
}

/// A sequence that is being read or answered. Used on the engine's thread alone.
final class RunningSequence {
  let submission: Submission
  let sequence: HeldSequence
  let attention: AttentionOptions
  /// Tokens of the prompt that were in the cache.
  let cachedTokens: Int
  let maximumTokens: Int
  let start = ContinuousClock.now
  /// nil before its first turn, and once the prompt has been read.
  var run: (any PromptReading)?
  /// Set once the prompt has been read.
  var answer: Answer?
  var prefillSeconds = 0.0
  private var lastProgress: ContinuousClock.Instant?

  /// What making the answer takes.
  struct Answer {
    var generator: TokenGenerator
    var decoder: StreamingDecoder
    var filter: StopStringFilter
    var constraint: (any AnswerConstraint)?
    let report: PrefillReport
    let prefillSeconds: Double
    var firstToken: ContinuousClock.Instant?
    var lastToken: ContinuousClock.Instant
  }

  init(
    _ submission: Submission, sequence: HeldSequence, attention: AttentionOptions,
    cachedTokens: Int, maximumTokens: Int
  ) {
    self.submission = submission
    self.sequence = sequence
    self.attention = attention
    self.cachedTokens = cachedTokens
    self.maximumTokens = maximumTokens
  }

  var prompt: [Int32] { submission.request.prompt }

  /// Tokens of the prompt that are left to read.
  var remaining: Int {
    guard let run else { return prompt.count - sequence.cache.count }
    return max(1, run.progress.tokens - run.progress.tokensDone)
  }

  /// Tells how far the prompt has been read: now and then, or now if it must be said.
  func tellProgress(isNeeded: Bool = false) {
    let now = ContinuousClock.now
    if !isNeeded, let lastProgress, now - lastProgress < .milliseconds(200) { return }
    lastProgress = now
    let read = run.map { $0.progress.tokensDone } ?? (answer == nil ? 0 : prompt.count)
    submission.events.yield(
      .progress(
        PromptProgress(
          total: prompt.count, cached: cachedTokens,
          processed: min(prompt.count, cachedTokens + read),
          seconds: (now - start).inSeconds)))
  }

  /// What the sequence holds once nothing more is computed for it.
  func leave() -> HeldSequence {
    run = nil
    let tokens = answer?.generator.history ?? prompt
    sequence.tokens = Array(tokens.prefix(sequence.cache.count))
    sequence.isStored = false
    return sequence
  }
}
