import Compute
import Tokenizers
import Transformers

/// A sequence that is being read or answered. Used on the engine's thread alone.
final class RunningSequence {
  /// Whose the sequence is.
  enum Owner {
    /// It is kept for later prompts.
    case engine(PrefixStorage)
    case session(SessionWork)
    /// It is read to look at a head, and dropped then.
    case observer(HeadObserver)
  }

  let submission: Submission
  let owner: Owner
  let attention: AttentionOptions
  /// How its prompt is read.
  let reading: PrefillOptions
  /// Tokens of the prompt that were in the cache, or came from disk.
  private(set) var cachedTokens: Int
  let maximumTokens: Int
  let start: ContinuousClock.Instant
  /// What comes from disk before the rest is read; nil where nothing does any more.
  var restoring: PrefixRestoring?
  /// What is read; nil before its first turn, and while nothing is read.
  var run: (any PromptReading)?
  /// Set once the prompt has been read.
  var answer: Answer?
  /// Seconds of the turns in which it was read, but for the one that is under way.
  var prefillSeconds = 0.0
  /// Seconds that its longest block took so far.
  var blockSeconds = 0.0
  /// When the turn began in which it is being read.
  var turnStart = ContinuousClock.now
  /// Whether its prompt has been read, where no answer follows.
  var isRead = false
  /// Tokens that are read again in the middle of an answer.
  private(set) var rereading: [Int32]?
  private var lastProgress: ContinuousClock.Instant?
  private var heldCache: KeyValueCache?

  /// What making the answer takes.
  final class Answer {
    let generator: TokenGenerator
    var decoder: StreamingDecoder
    var filter: StopStringFilter
    /// Where stop strings count; nil: everywhere.
    private var finalMessages: HarmonyFinalMessages?
    var constraint: (any AnswerConstraint)?
    let report: PrefillReport
    let prefillSeconds: Double
    var firstToken: ContinuousClock.Instant?
    var lastToken = ContinuousClock.now
    /// Of the token that is being chosen.
    var logProbabilities: LogProbabilities?

    init(
      generator: TokenGenerator, decoder: StreamingDecoder, filter: StopStringFilter,
      finalMessages: HarmonyFinalMessages?, constraint: (any AnswerConstraint)?,
      report: PrefillReport,
      prefillSeconds: Double
    ) {
      self.generator = generator
      self.decoder = decoder
      self.filter = filter
      self.finalMessages = finalMessages
      self.constraint = constraint
      self.report = report
      self.prefillSeconds = prefillSeconds
    }

    /// Takes a token, and returns text that is certain: no stop string, nor what may become one.
    func push(_ id: Int32) -> String {
      let text = decoder.push(id)
      guard let isText = finalMessages?.take(id) else { return filter.push(text) }
      // What was held back before a marker is no stop string.
      return isText ? filter.push(text) : filter.finish() + text
    }

    /// Takes what the decoder holds back, at the end.
    func finishDecoding() -> String {
      let text = decoder.finish()
      return finalMessages?.isInText == false ? text : filter.push(text)
    }
  }

  init(
    _ submission: Submission, owner: Owner, cache: KeyValueCache, attention: AttentionOptions,
    reading: PrefillOptions, cachedTokens: Int, maximumTokens: Int,
    start: ContinuousClock.Instant = .now
  ) {
    self.submission = submission
    self.owner = owner
    heldCache = cache
    self.attention = attention
    self.reading = reading
    self.cachedTokens = cachedTokens
    self.maximumTokens = maximumTokens
    self.start = start
  }

  var prompt: [Int32] { submission.request.prompt }

  /// nil once it has left the engine.
  var cache: KeyValueCache? { heldCache }

  /// What the engine keeps afterwards; nil for a session's and for one that is dropped.
  var storage: PrefixStorage? {
    if case .engine(let storage) = owner { storage } else { nil }
  }

  /// Who looks at a head; nil where an answer or a session wants the prompt.
  var observer: HeadObserver? {
    if case .observer(let observer) = owner { observer } else { nil }
  }

  /// Whether its next turn reads, or decodes.
  var isReading: Bool { answer == nil || rereading != nil }

  /// Reads tokens again before the answer goes on.
  func read(again tokens: [Int32]) { rereading = tokens }

  /// Goes on with the answer, whose sequence has been read again.
  func finishRereading(logits: Tensor) {
    rereading = nil
    run = nil
    answer?.generator.supply(logits)
  }

  /// Tokens of the prompt that are left to read.
  var remaining: Int {
    if let restoring { return max(1, prompt.count - restoring.end) }
    guard let run else { return rereading?.count ?? prompt.count - (cache?.count ?? 0) }
    return max(1, run.progress.tokens - run.progress.tokensDone)
  }

  /// Goes on behind what has come from disk.
  ///
  /// - Returns: Tokens that have come.
  func endRestoring() -> Int {
    restoring = nil
    let before = cachedTokens
    cachedTokens = max(before, cache?.count ?? 0)
    return cachedTokens - before
  }

  /// Tells how far the prompt has been read: now and then, or now if it must be said.
  func tellProgress(isNeeded: Bool = false) {
    let now = ContinuousClock.now
    if !isNeeded, let lastProgress, now - lastProgress < .milliseconds(200) { return }
    guard rereading == nil else { return }
    lastProgress = now
    let read = run.map { $0.progress.tokensDone } ?? (answer == nil ? 0 : prompt.count)
    submission.sink.tell(
      .progress(
        PromptProgress(
          total: prompt.count, cached: cachedTokens,
          processed: min(prompt.count, cachedTokens + read),
          seconds: (now - start).inSeconds)))
  }

  /// Gives the sequence back: nothing more is computed for it.
  ///
  /// - Returns: The tokens whose keys and values are in its cache.
  func leave() -> [Int32] {
    run = nil
    restoring = nil
    guard let cache = heldCache else { return [] }
    let tokens = answer?.generator.history ?? prompt
    if case .session(let work) = owner {
      if answer != nil {
        work.sequence.history = tokens
      } else if !isRead {
        // Chunks that were finished are of no use to a history that does not have them.
        cache.truncate(to: min(cachedTokens, cache.count))
      }
    }
    // Who waits for the end may free the memory.
    answer = nil
    heldCache = nil
    return Array(tokens.prefix(cache.count))
  }
}
