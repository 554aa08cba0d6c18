/// What an engine has done since it started, and what it does now. A snapshot: reading it waits for
/// nothing.
public struct EngineMetrics: Sendable {
  /// Requests that are being read or answered.
  public var running = 0
  public var waiting = 0
  /// Requests that ended, by why.
  public var finished: [String: Int] = [:]
  /// Tokens of prompts that were begun, the cached ones included. Prompts that are read to look at a head are
  /// not counted.
  public var promptTokens = 0
  /// Tokens of prompts whose keys and values were there already.
  public var cachedTokens = 0
  /// Tokens that prefill computed. A prompt that was given up counts by the share of its work that was done, and
  /// tokens that are read again count again. Prompts that are read to look at a head are not counted.
  public var computedTokens = 0
  /// Seconds in which ``computedTokens`` were computed.
  public var prefillSeconds = 0.0
  public var completionTokens = 0
  /// Seconds in which tokens were decoded.
  public var decodeSeconds = 0.0
  /// Rounds in which every running answer got a token, and the tokens that they gave.
  public var decodeRounds = 0
  public var decodedTokens = 0
  /// The longest sequence, in tokens.
  public var longestSequence = 0
  /// Bytes of keys and values, of running sequences and of those kept for later prompts.
  public var keyValueBytes = 0
  public var keyValueBudget = 0
  /// Sequences whose keys and values are kept for later prompts.
  public var keptSequences = 0
  /// The longest time, in seconds, that a running answer waited for its next token.
  public var longestStall = 0.0
  /// Bytes of prefixes on disk, and how many times one was taken from there.
  public var diskBytes = 0
  public var diskHits = 0
  /// Bytes of prefixes that were read from disk, and the seconds from the beginning of each to its end.
  public var diskReadBytes = 0
  public var diskReadSeconds = 0.0
  /// How many times a prefix could not be written to disk, or read from there.
  public var diskFailures = 0
  public var timeToFirstToken = Histogram(
    bounds: [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800])
  public var queueSeconds = Histogram(bounds: [0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600])
  public var requestSeconds = Histogram(
    bounds: [0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600])

  public init() {}

  /// Counts of values up to each bound, and their sum.
  public struct Histogram: Sendable {
    public let bounds: [Double]
    /// One for each bound, and one for what is larger; not cumulative.
    public private(set) var counts: [Int]
    public private(set) var sum = 0.0

    public init(bounds: [Double]) {
      self.bounds = bounds
      counts = Array(repeating: 0, count: bounds.count + 1)
    }

    public mutating func add(_ value: Double) {
      counts[bounds.firstIndex { value <= $0 } ?? bounds.count] += 1
      sum += value
    }
  }
}
