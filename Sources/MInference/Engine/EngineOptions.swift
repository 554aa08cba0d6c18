import Transformers

/// How an ``Engine`` shares a device among sequences.
public struct EngineOptions: Sendable {
  /// How a prompt is read where its request does not say.
  public var session: SessionOptions
  /// Bytes that keys and values of all sequences may take, running or kept for later prompts; nil: 7
  /// tenths of what is free on the device when the engine starts.
  public var memoryBytes: Int?
  /// Sequences that are read or answered at once.
  public var runningSequences: Int
  /// Requests that wait for a place among these.
  public var queueLength: Int
  /// Seconds that a request waits at most.
  public var queueSeconds: Double
  /// Seconds for which reading prompts may hold up the answers that are running. One block of rows
  /// of one layer is computed to its end beyond it.
  public var stallSeconds: Double
  /// Tokens of an answer whose request names no number.
  public var answerTokens: Int
  /// Where long prefixes are kept on disk, and how many bytes they may take; nil: nowhere.
  public var disk: PrefixDirectory.Options?
  /// Told what whoever runs the engine should know, one line each.
  public var notice: (@Sendable (String) -> Void)?

  /// Tokens of a prompt read at once where nothing else is asked for: what an interrupted prefill
  /// has finished by then is kept.
  public static let defaultChunk = 16384

  public init(
    session: SessionOptions = SessionOptions(chunk: EngineOptions.defaultChunk),
    memoryBytes: Int? = nil, runningSequences: Int = 16, queueLength: Int = 256,
    queueSeconds: Double = 600, stallSeconds: Double = 0.1, answerTokens: Int = 4096,
    disk: PrefixDirectory.Options? = nil, notice: (@Sendable (String) -> Void)? = nil
  ) {
    self.session = session
    self.memoryBytes = memoryBytes
    self.runningSequences = runningSequences
    self.queueLength = queueLength
    self.queueSeconds = queueSeconds
    self.stallSeconds = stallSeconds
    self.answerTokens = answerTokens
    self.disk = disk
    self.notice = notice
  }
}
