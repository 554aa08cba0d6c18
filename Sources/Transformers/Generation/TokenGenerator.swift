/// Continues a prefilled sequence token by token.
///
/// A token is decoded only when the one after it is asked for, so none is computed in vain.
public struct TokenGenerator {
  /// Why no more tokens come.
  public enum FinishReason: Sendable, Equatable {
    /// This id, which is not among the tokens, ended the text.
    case stop(id: Int32)
    /// As many tokens as were asked for.
    case length
    /// The model's context or the cache is full.
    case contextFull
  }

  private let model: Transformer
  private let cache: KeyValueCache
  private let stopIDs: Set<Int32>
  private let maximumTokens: Int
  private var sampler: Sampler
  private var logits: [Float]
  private var pending: Int32?
  /// Prompt and answer.
  public private(set) var history: [Int32]
  /// The ids of ``history``, where the sampler asks for them.
  private var seen: Set<Int32>
  /// Tokens given out.
  public private(set) var count = 0
  /// nil while there may be more.
  public private(set) var finishReason: FinishReason?

  /// - Parameters:
  ///   - cache: Holds the prompt; gets the answer.
  ///   - logits: Of the token after the prompt, as prefill gave them.
  ///   - prompt: The tokens that the cache holds: the repetition penalty looks at them, and
  ///     they are read again where ``Transformer/mustReadAgain(_:adding:)`` says so.
  public init(
    model: Transformer, cache: KeyValueCache, logits: [Float], prompt: [Int32], sampler: Sampler,
    stopIDs: Set<Int32>, maximumTokens: Int
  ) {
    self.model = model
    self.cache = cache
    self.logits = logits
    self.sampler = sampler
    self.stopIDs = stopIDs
    self.maximumTokens = maximumTokens
    history = prompt
    seen = sampler.looksBack ? Set(prompt) : []
  }

  /// The next token, or nil at the end; see ``finishReason``.
  public mutating func next() throws -> Int32? {
    guard finishReason == nil else { return nil }
    guard count < maximumTokens else { return finish(.length) }
    var chosen: Int32?
    if let id = pending {
      guard cache.count < min(cache.capacity, model.contextLength) else {
        return finish(.contextFull)
      }
      if model.mustReadAgain(cache, adding: 1), history.count == cache.count + 1 {
        cache.truncate(to: 0)
        logits = try model.prefill(history, cache: cache).logits
      } else {
        chosen = try model.decode(id, cache: cache, sampler: &sampler, seen: seen)
      }
      pending = nil
    }
    let id = try chosen ?? sampler.sample(logits: logits, history: seen)
    guard !stopIDs.contains(id) else { return finish(.stop(id: id)) }
    history.append(id)
    if sampler.looksBack { seen.insert(id) }
    count += 1
    pending = id
    return id
  }

  private mutating func finish(_ reason: FinishReason) -> Int32? {
    finishReason = reason
    return nil
  }
}
