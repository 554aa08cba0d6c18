public import Compute

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
  private let rereading: PrefillOptions
  private var sampler: Sampler
  /// Of the token after ``history``, unless ``pending`` is still to be decoded.
  private var logits: Tensor
  /// The last token that was given out, which is not in the cache yet.
  private var pending: Int32?
  /// What ``decodePending(_:by:)`` made the logits with.
  private var batch: BatchRow?
  /// Prompt and answer.
  public private(set) var history: [Int32]
  /// The ids of ``history``, where the sampler asks for them.
  private var seen: Set<Int32>
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
  public mutating func next(
    examining examine: ((inout [Float]) throws -> Void)? = nil
  ) throws -> Int32? {
    guard finishReason == nil else { return nil }
    guard count < maximumTokens else { return finish(.length) }
    if let id = pending {
      guard cache.count < min(cache.capacity, model.contextLength) else {
        return finish(.contextFull)
      }
      logits = try logits(behind: id)
      pending = nil
    } else if let batch, batch.call != batch.decoder.calls, let last = history.last {
      // The decoder has used the place of the logits again.
      cache.truncate(to: cache.count - 1)
      logits = try model.decodedLogits(last, cache: cache)
      self.batch = nil
    }
    let mostLikely = sampler.isGreedy ? batch?.mostLikely : nil
    batch = nil
    let id: Int32
    if examine == nil, let mostLikely {
      id = mostLikely
    } else if let examine {
      var values = try model.backend.read(logits)
      try examine(&values)
      id = try sampler.sample(logits: values, history: seen)
    } else {
      id = try sampler.sample(logits, seen: seen, on: model.backend)
    }
    guard !stopIDs.contains(id) else { return finish(.stop(id: id)) }
    history.append(id)
    if sampler.looksBack { seen.insert(id) }
    count += 1
    pending = id
    return id
  }

  /// The logits of the token after `id`, the last one of ``history``.
  private mutating func logits(behind id: Int32) throws -> Tensor {
    if model.mustReadAgain(cache, adding: 1), history.count == cache.count + 1 {
      cache.truncate(to: 0)
      notices.append(
        "the sequence outgrew the original length of its rotary embedding (LongRoPE): its "
          + "\(history.count) tokens were read again")
    }
    let unread = history.dropFirst(cache.count)
    guard unread.count > 1 else { return try model.decodedLogits(id, cache: cache) }
    return try model.prefill(Array(unread), cache: cache, options: rereading).deviceLogits
  }

  /// Decodes the last tokens of several answers together, so that ``next(examining:)`` of each only has to
  /// choose. Those that have to end or to be read again are left as they are.
  ///
  /// - Parameter decoder: Of the model of all of them.
  /// - Throws: As ``BatchDecoder/logits(behind:caches:)``; the answers are then as before.
  public static func decodePending(
    _ generators: inout [TokenGenerator], by decoder: BatchDecoder
  ) throws {
    let rows = generators.indices.filter { generators[$0].canDecodePending }
    guard !rows.isEmpty else { return }
    let logits = try decoder.logits(
      behind: rows.compactMap { generators[$0].pending }, caches: rows.map { generators[$0].cache })
    // One wait for all whose choice hangs on the largest logit alone.
    let isGreedy = rows.contains { generators[$0].sampler.isGreedy }
    let largest = isGreedy ? try decoder.model.backend.mostLikely(logits) : []
    for (row, index) in rows.enumerated() {
      generators[index].logits = logits.slice(rows: row..<row + 1)
      generators[index].pending = nil
      generators[index].batch = BatchRow(
        decoder: decoder, call: decoder.calls, mostLikely: isGreedy ? largest[row] : nil)
    }
  }

  /// Whether the last token can be decoded, and ``next(examining:)`` would.
  private var canDecodePending: Bool {
    finishReason == nil && count < maximumTokens && pending != nil
      && cache.count < min(cache.capacity, model.contextLength)
      && !model.mustReadAgain(cache, adding: 1) && history.count == cache.count + 1
  }

  /// A row of logits that a decoder made.
  private struct BatchRow {
    let decoder: BatchDecoder
    let call: Int
    /// The id of the largest logit; nil where it was not asked for, or where there is none.
    let mostLikely: Int32?
  }

  private mutating func finish(_ reason: FinishReason) -> Int32? {
    finishReason = reason
    return nil
  }
}
