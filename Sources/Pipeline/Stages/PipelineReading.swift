import Compute
import Transformers

/// One prompt on its way through the stages of a ``LayerPipeline``.
///
/// Chunk c passes through stage s as soon as it has left stage s - 1. What each stage computes is what
/// one device would compute with the same chunks. An error or a cancellation in one stage stops all.
final class PipelineReading: PromptReading {
  let chunks: [Range<Int>]
  private let pipeline: LayerPipeline
  private let cache: KeyValueCache
  private let passage: ChunkPassage
  private let start = ContinuousClock.now
  private var state = State.running
  /// Whether the last call gave a chunk, which has been used now.
  private var hasGivenChunk = false
  private(set) var report: PrefillReport

  private enum State {
    case running
    case finished
    case failed(any Error)
  }

  /// - Throws: what a stage says before anything is computed.
  init(
    _ pipeline: LayerPipeline, ids: [Int32], cache: KeyValueCache, options: PrefillOptions,
    wantsAllRows: Bool
  ) throws {
    let stages = pipeline.stages
    guard cache.parts.count == stages.count else {
      throw TransformerError.foreignCache(
        detail: "it has \(cache.parts.count) parts for \(stages.count) stages")
    }
    let progress = PipelineProgress(
      layers: stages.map(\.transformer.layers.count), tokens: ids.count,
      report: options.progress)
    try stages[0].transformer.validate(stage: ids, for: cache)
    var options = options
    if options.chunk == nil, options.chunkEnds == nil {
      options.chunkEnds = pipeline.chunkEnds(
        of: cache.count..<cache.count + ids.count, isSparse: options.planner != nil)
    }
    cache.beginFilling(adding: ids.count)
    do {
      let runs = try stages.indices.map { stage in
        var own = options
        own.progress = { try progress.update(stage: stage, fraction: $0.fraction) }
        own.injection = options.stageInjections?[stage] ?? options.injection
        return try PrefillRun(
          stages[stage].transformer,
          stage == 0 ? .tokens(ids) : .hiddenStates(rows: ids.count), cache: cache.parts[stage],
          options: own, wantsAllRows: wantsAllRows)
      }
      guard runs.allSatisfy({ $0.chunks == runs[0].chunks }) else {
        throw PipelineError.differentChunks
      }
      chunks = runs[0].chunks
      report = PrefillReport(merging: runs.map(\.report), seconds: 0)
      passage = ChunkPassage(
        pipeline, runs: runs, caches: cache.parts, chunks: chunks, progress: progress)
    } catch {
      cache.endFilling()
      throw error
    }
    self.pipeline = pipeline
    self.cache = cache
  }

  deinit {
    guard case .running = state else { return }
    passage.stop()
    leaveCache()
  }

  var progress: PrefillProgress { passage.progress.current }

  func advance() throws -> PrefillRun.Progress {
    switch state {
    case .finished: return .finished
    case .failed(let error): throw error
    case .running: break
    }
    do {
      if hasGivenChunk { passage.take() }
      hasGivenChunk = false
      if cache.count == chunks.last?.upperBound ?? 0 {
        try passage.finish()
        report = PrefillReport(
          merging: passage.reports, seconds: (ContinuousClock.now - start).inSeconds)
        state = .finished
        leaveCache()
        return .finished
      }
      let (positions, hidden) = try passage.waitForChunk()
      cache.fill(to: positions.upperBound)
      hasGivenChunk = true
      return .chunk(positions, hidden: hidden)
    } catch {
      passage.stop()
      state = .failed(error)
      leaveCache()
      throw error
    }
  }

  /// Leaves the cache with the chunks that were given.
  private func leaveCache() {
    passage.forgetChunks(from: cache.count)
    cache.endFilling()
  }
}

/// The fractions of all stages as one; tells them on, one call at a time.
final class PipelineProgress: Sendable {
  private struct State {
    var fractions: [Double]
    var callbackError: (any Error)?
  }

  private let layers: [Int]
  private let tokens: Int
  private let state: Monitor<State>
  private let calls = Monitor(())
  private let report: (@Sendable (PrefillProgress) throws -> Void)?

  init(
    layers: [Int], tokens: Int, report: (@Sendable (PrefillProgress) throws -> Void)?
  ) {
    self.layers = layers
    self.tokens = tokens
    self.report = report
    state = Monitor(State(fractions: Array(repeating: 0, count: layers.count)))
  }

  /// What the callback threw.
  var callbackError: (any Error)? { state.withLock { $0.callbackError } }

  var current: PrefillProgress {
    let fractions = state.withLock { $0.fractions }
    let sum = zip(layers, fractions).reduce(0) { $0 + Double($1.0) * $1.1 }
    return PrefillProgress(
      fraction: min(1, sum / Double(max(1, layers.reduce(0, +)))), tokens: tokens)
  }

  func update(stage: Int, fraction: Double) throws {
    state.withLock { $0.fractions[stage] = max($0.fractions[stage], fraction) }
    guard let report else { return }
    do {
      try calls.withLock { _ in try report(current) }
    } catch {
      state.withLock { $0.callbackError = $0.callbackError ?? error }
      throw error
    }
  }
}
