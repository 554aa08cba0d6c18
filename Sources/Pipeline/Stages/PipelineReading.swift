import Compute
import SparseAttention
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
    try pipeline.requireParts(of: cache)
    let progress = PipelineProgress(
      layers: stages.map(\.layers.count), tokens: ids.count, report: options.progress)
    try pipeline.first.transformer.validate(stage: ids, for: cache)
    var options = options
    if options.chunk == nil, options.chunkEnds == nil {
      options.chunkEnds = pipeline.chunkEnds(
        of: cache.count..<cache.count + ids.count, isSparse: options.planner != nil,
        lastRowOnly: options.lastLayerLastRowOnly && !wantsAllRows)
    }
    if options.chunkBudgets == nil {
      options.chunkBudgets = options.planner?.exact == true ? .whole : .proportional
    }
    cache.beginFilling(adding: ids.count)
    var readings: [any StageReading] = []
    do {
      for (number, stage) in stages.enumerated() {
        // All stages cut where the first one does.
        if let first = readings.first {
          options.chunkEnds = first.chunks.dropLast().map(\.upperBound)
        }
        let request = ReadingRequest(
          ids: ids, options: options, wantsAllRows: wantsAllRows,
          progress: { try progress.update(stage: number, fraction: $0) })
        let reading = try stage.makeReading(request, cache: cache.parts[number], stage: number)
        readings.append(reading)
        guard reading.chunks == readings[0].chunks else { throw PipelineError.differentChunks }
      }
      chunks = readings[0].chunks
      report = PrefillReport(merging: readings.map(\.report), seconds: 0)
      passage = ChunkPassage(
        pipeline, readings: readings, chunks: chunks, progress: progress,
        isCancelled: options.isCancelled)
    } catch {
      for reading in readings { reading.end(forgettingFrom: nil) }
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

  /// All time from the beginning to the end is the reading's.
  func timed<Result>(_ work: () throws -> Result) rethrows -> Result { try work() }

  /// Leaves the cache with the chunks that were given.
  private func leaveCache() {
    passage.end(keeping: cache.count)
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
