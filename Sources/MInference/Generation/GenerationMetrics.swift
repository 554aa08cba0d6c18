public import Transformers

/// What an answer took.
public struct GenerationMetrics: Sendable {
  /// Tokens that were read for the last prompt; those that the session held already are not among
  /// them, see `PrefillReport.reusedTokens` in ``prefill``.
  public var promptTokens = 0
  /// Tokens of the answer, without the token that ended it.
  public var completionTokens = 0
  /// From the prompt's ids to the first sampled token: cache, estimation, prefill, sampling.
  public var timeToFirstToken = 0.0
  /// Seconds of the prefill alone.
  public var prefillSeconds = 0.0
  /// Tokens read after the prompt, one at a time; the one that led to the end is among them.
  public var decodedTokens = 0
  public var decodeSeconds = 0.0
  /// What the user should know about how the answer was made, one line each.
  public var notices: [String] = []
  /// Why the answer ended; nil while it has not.
  public var finish: Finish?
  /// What prefill computed; nil before it.
  public var prefill: PrefillReport?

  /// Why an answer ended.
  public enum Finish: Sendable, Hashable {
    /// The model ended it.
    case endOfText
    case stopString(String)
    /// As many tokens as were asked for.
    case length
    /// The model's context, or what the session was made for, is full.
    case contextFull
  }

  public init() {}

  public var prefillTokensPerSecond: Double {
    prefillSeconds > 0 ? Double(promptTokens) / prefillSeconds : 0
  }

  /// nil if no token was decoded.
  public var decodeTokensPerSecond: Double? {
    decodedTokens > 0 && decodeSeconds > 0 ? Double(decodedTokens) / decodeSeconds : nil
  }
}
