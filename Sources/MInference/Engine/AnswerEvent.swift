public import Transformers

/// What becomes of a request, in order.
public enum AnswerEvent: Sendable {
  /// How far the prompt has been read; the first comes when its reading begins, the last when it ends.
  case progress(PromptProgress)
  /// One token of the answer.
  case token(AnswerToken)
  /// Nothing follows. Indirect: the summary would make every waiting event 376 bytes instead of 48.
  indirect case finished(AnswerSummary)
}

/// How far a prompt has been read.
public struct PromptProgress: Sendable, Equatable {
  /// Tokens of the prompt.
  public var total: Int
  /// Of these, tokens whose keys and values were there already.
  public var cached: Int
  /// Tokens done, the cached ones among them.
  public var processed: Int
  /// Seconds since the reading began.
  public var seconds: Double
}

/// A token of an answer.
public struct AnswerToken: Sendable {
  public var id: Int32
  /// Text that is certain now. It may belong to earlier tokens, and is empty where a character or what
  /// may become a stop string is not complete.
  public var text: String
  /// nil unless asked for.
  public var logProbability: TokenLogProbability?

  package init(id: Int32, text: String, logProbability: TokenLogProbability? = nil) {
    self.id = id
    self.text = text
    self.logProbability = logProbability
  }
}

/// How likely a token was, before temperature and penalties.
public struct TokenLogProbability: Sendable {
  /// Natural logarithm.
  public var value: Float
  /// The likeliest tokens, in order.
  public var likeliest: [(id: Int32, value: Float)]

  package init(value: Float, likeliest: [(id: Int32, value: Float)]) {
    self.value = value
    self.likeliest = likeliest
  }
}

/// What an answer came to.
public struct AnswerSummary: Sendable {
  public var finish: GenerationMetrics.Finish
  /// Text that was held back to the end.
  public var text: String
  public var promptTokens: Int
  /// Tokens of the prompt whose keys and values were there already.
  public var cachedTokens: Int
  public var completionTokens: Int
  /// Seconds between the request and the beginning of its reading.
  public var queueSeconds: Double
  /// Seconds from the beginning of the reading to its end, other sequences' turns included.
  public var prefillSeconds: Double
  /// Seconds from the request to its first token; nil without one.
  public var timeToFirstToken: Double?
  /// Seconds from the first token to the end, other sequences' turns included.
  public var decodeSeconds: Double
  /// What the reading computed; of the tokens alone that were not cached.
  public var prefill: PrefillReport
  /// What the user should know about how the answer was made, one line each.
  public var notices: [String]
  /// What a head attends to; nil unless it was asked for.
  public var observation: HeadObservation?
  /// Seconds of the reading that went into measurements, which are in no figure of its report.
  var measuringSeconds = 0.0

  package init(
    finish: GenerationMetrics.Finish, text: String, promptTokens: Int, cachedTokens: Int,
    completionTokens: Int, queueSeconds: Double, prefillSeconds: Double,
    timeToFirstToken: Double?, decodeSeconds: Double, prefill: PrefillReport, notices: [String]
  ) {
    self.finish = finish
    self.text = text
    self.promptTokens = promptTokens
    self.cachedTokens = cachedTokens
    self.completionTokens = completionTokens
    self.queueSeconds = queueSeconds
    self.prefillSeconds = prefillSeconds
    self.timeToFirstToken = timeToFirstToken
    self.decodeSeconds = decodeSeconds
    self.prefill = prefill
    self.notices = notices
  }
}

/// The events of one request. Cancelling the task that reads them, or dropping the iterator, ends the
/// computation within one block.
///
/// Events wait in memory for a reader that is behind; computing never waits for one. It must not: a session's
/// next turn may be asked for before the first is read, and would wait for it for ever. One answer takes at most
/// ``AnswerRequest/maximumTokens`` events of ``bytesOfEvent`` bytes, twice that while the buffer grows, beside
/// log-probabilities and the text of tokens of more than 15 bytes. That is .4 % of the keys and values of the
/// same tokens in a model of 0.5 billion parameters, and less in larger ones.
public struct AnswerStream: AsyncSequence, Sendable {
  public typealias Element = AnswerEvent
  public typealias Failure = any Error

  /// Bytes of an event that waits for its reader.
  public static let bytesOfEvent = MemoryLayout<AnswerEvent>.stride

  /// Different for every request of an engine.
  public let id: Int
  let events: AsyncThrowingStream<AnswerEvent, any Error>

  public func makeAsyncIterator() -> AsyncThrowingStream<AnswerEvent, any Error>.Iterator {
    events.makeAsyncIterator()
  }
}
