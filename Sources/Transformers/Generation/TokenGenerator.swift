public import Compute

/// Continues a prefilled sequence token by token.
///
/// A token is decoded only when the one after it is asked for, so none is computed in vain.
/// ``next(examining:)`` decodes it alone. Who decodes several sequences together asks for what the next
/// token waits for (``need()``), gives the logits (``supply(_:)``), and has it chosen
/// (``choose(examining:)``); ``DecodingBatch`` does. A generator is used by one thread at a time.
public final class TokenGenerator {
  /// Why no more tokens come.
  public enum FinishReason: Sendable, Equatable {
    /// This id, which is not among the tokens, ended the text.
    case stop(id: Int32)
    /// As many tokens as were asked for.
    case length
    /// The model's context or the cache is full.
    case contextFull
  }

  /// What the next token waits for.
  package enum Need: Equatable {
    /// Its logits are there.
    case nothing
    /// This id, the last one of ``TokenGenerator/history``, is to be decoded.
    case decoding(Int32)
    /// These ids, with which ``TokenGenerator/history`` ends, are to be read behind the cache.
    case reading([Int32])
  }

  private let model: Transformer
  let cache: KeyValueCache
  private let stopIDs: Set<Int32>
  private let maximumTokens: Int
  private let rereading: PrefillOptions
  var sampler: Sampler
  /// Of the token after ``history``, unless ``pending`` is still to be decoded.
  private var logits: Tensor
  /// The last token that was given out, which is not in the cache yet.
  private var pending: Int32?
  /// Prompt and answer.
  public private(set) var history: [Int32]
  /// The ids of ``history``, where the sampler asks for them.
  private var seen: Set<Int32>
  /// Ids that are never chosen.
  package var excludedIDs: [Int32] = []
  /// Tokens given out.
  public private(set) var count = 0
  /// What the user should know about how the answer was made, one line each.
  public private(set) var notices: [String] = []
  /// nil while there may be more.
  public private(set) var finishReason: FinishReason?

  /// - Parameters:
  ///   - cache: Holds the prompt; gets the answer.
  ///   - logits: Of the token after the prompt, as ``PrefillResult/deviceLogits`` gives them. A
  ///     repetition penalty changes them in place.
  ///   - prompt: The tokens that the cache holds: the repetition penalty looks at them, and
  ///     they are read again where ``Transformer/mustReadAgain(_:adding:)`` says so.
  ///   - rereading: How they are read then.
  public init(
    model: Transformer, cache: KeyValueCache, logits: Tensor, prompt: [Int32], sampler: Sampler,
    stopIDs: Set<Int32>, maximumTokens: Int, rereading: PrefillOptions = PrefillOptions()
  ) {
    self.model = model
    self.cache = cache
    self.logits = logits
    self.sampler = sampler
    self.stopIDs = stopIDs
    self.maximumTokens = maximumTokens
    self.rereading = rereading
    history = prompt
    seen = sampler.looksBack ? Set(prompt) : []
  }

  /// The next token, or nil at the end; see ``finishReason``.
  ///
  /// - Parameter examine: Gets the logits of the token on the host before it is chosen, and may
  ///   exclude ids by negative infinity. nil: the logits stay where the backend computes.
  /// - Throws: ``TransformerError``, `ComputeError`; `CancellationError` and what the progress callback
  ///   throws while the sequence is read again. The cache then holds a beginning of ``history``, and
  ///   the next call goes on from there.
  public func next(
    examining examine: ((inout [Float]) throws -> Void)? = nil
  ) throws -> Int32? {
    switch need() {
    case nil: return nil
    case .nothing: break
    case .decoding(let id): supply(try model.decodedLogits(id, cache: cache))
    case .reading(let ids):
      supply(try model.prefill(ids, cache: cache, options: rereading).deviceLogits)
    }
    return try choose(examining: examine)
  }

  /// What the next token waits for; nil where none comes, see ``finishReason``.
  ///
  /// A sequence that outgrew the original length of LongRoPE has lost its keys and values by then: it is read
  /// again.
  package func need() -> Need? {
    guard finishReason == nil else { return nil }
    guard count < maximumTokens else { return finish(.length) }
    guard let id = pending else { return .nothing }
    guard cache.count < min(cache.capacity, model.contextLength) else {
      return finish(.contextFull)
    }
    if model.mustReadAgain(cache, adding: 1), history.count == cache.count + 1 {
      cache.truncate(to: 0)
      notices.append(
        "the sequence outgrew the original length of its rotary embedding (LongRoPE): its "
          + "\(history.count) tokens were read again")
    }
    let unread = history.dropFirst(cache.count)
    return unread.count > 1 ? .reading(Array(unread)) : .decoding(id)
  }

  /// Takes the logits of the token after ``history``, all of which is in the cache.
  ///
  /// - Parameter logits: [1, vocabulary] float32.
  package func supply(_ logits: Tensor) {
    self.logits = logits
    pending = nil
  }

  /// Chooses the token whose logits are there; nil for one that ends the text.
  ///
  /// - Parameter examine: As in ``next(examining:)``.
  package func choose(
    examining examine: ((inout [Float]) throws -> Void)? = nil
  ) throws -> Int32? {
    guard let examine else {
      try exclude(in: logits)
      return accept(try sampler.sample(logits, seen: seen, on: model.backend))
    }
    var values = try model.backend.read(logits)
    try examine(&values)
    for id in excludedIDs where values.indices.contains(Int(id)) { values[Int(id)] = -.infinity }
    return accept(try sampler.sample(logits: values, history: seen))
  }

  /// Makes logits of the next token, [1, vocabulary], those that it is chosen by: without the excluded ids, and
  /// with the sampler's repetition penalty.
  func prepare(_ logits: Tensor) throws {
    try exclude(in: logits)
    try sampler.penalize(seen, in: logits, on: model.backend)
  }

  /// A few numbers are written where the logits are: reading them all would take longer than the step.
  private func exclude(in logits: Tensor) throws {
    let numbers = logits.reshaped([logits.count, 1])
    for id in excludedIDs where (0..<logits.count).contains(Int(id)) {
      try model.backend.write([-.infinity], to: numbers.slice(rows: Int(id)..<Int(id) + 1))
    }
  }

  /// Takes the token that was chosen.
  func accept(_ id: Int32) -> Int32? {
    guard !stopIDs.contains(id) else {
      finishReason = .stop(id: id)
      return nil
    }
    history.append(id)
    if sampler.looksBack { seen.insert(id) }
    count += 1
    pending = id
    return id
  }

  private func finish(_ reason: FinishReason) -> Need? {
    finishReason = reason
    return nil
  }
}
