import Compute
import Transformers

/// Looking at a head: its prompt is read by turns as others are, up to the head's layer, with keys and values
/// of its own that nobody shares and that are freed at the end.
extension Engine {
  func begin(
    _ submission: Submission, observing observed: ObservedHead
  ) throws -> Admission {
    let request = submission.request
    let prompt = request.prompt
    let attention = request.attention ?? options.session.attention
    let planner = try model.planner(for: attention)
    let transformer = model.transformer
    // Layers behind the head's are not read, unless others have them.
    let layers = transformer.distribution == nil ? 0..<observed.layer + 1 : transformer.layers
    let type = transformer.backend.activationType
    let shape = transformer.attentionShape(layer: observed.layer)
    let bytes =
      2 * prompt.count * layers.count * shape.keyValueHeads * shape.headDim * type.byteCount
    guard bytes <= memoryBudget else {
      throw EngineError.doesNotFit(
        tokens: prompt.count, longest: memoryBudget / max(1, bytes / prompt.count))
    }
    let sharedTokens = (bytes + bytesPerToken - 1) / bytesPerToken
    guard makeRoom(for: sharedTokens, isTrial: false) else { return .waitsForMemory }
    let cache: KeyValueCache
    do {
      // Scores are products of queries and keys of one type.
      cache = try transformer.makeCache(
        capacity: prompt.count, keyValues: KeyValueOptions(type: type),
        chunk: options.session.chunk, planner: planner, layers: layers)
    } catch {
      // The device may have less than was thought.
      guard let oldest = prefixes.expendable(but: []).first else {
        if running.isEmpty { throw error }
        return .waitsForMemory
      }
      guard giveUp(oldest) else { return .waitsForMemory }
      return try begin(submission, observing: observed)
    }
    cache.calibratedSelections = attention.calibratedSelections
    let observer = HeadObserver(
      layer: observed.layer, head: observed.head, tokens: prompt.count, cells: observed.cells)
    let cancellation = submission.cancellation
    var reading = PrefillOptions(
      planner: planner, chunk: options.session.chunk,
      monitor: request.monitor ?? options.session.monitor, isCancelled: { cancellation.isSet })
    reading.observer = observer
    run(
      RunningSequence(
        submission, owner: .observer(observer), cache: cache, attention: attention,
        reading: reading, cachedTokens: 0, maximumTokens: 0))
    return .begun
  }

  /// A reading up to the head's layer.
  func makeObservedRun(
    _ tokens: [Int32], cache: KeyValueCache, options: PrefillOptions
  ) throws -> any PromptReading {
    if model.transformer.distribution == nil {
      return try PrefillRun(model.transformer, .tokens(tokens), cache: cache, options: options)
    }
    return try model.transformer.makeReading(tokens, cache: cache, options: options)
  }
}
