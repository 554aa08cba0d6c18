import Compute
import SparseAttention
import Transformers

/// Moves the chunks of one prompt through the stages: what the threads of the stages share.
final class ChunkPassage: @unchecked Sendable {
  // Unchecked: a run and its cache are touched by the thread of their stage while a chunk is in it, and
  // by the reader when no stage is at work.
  let progress: PipelineProgress
  private let pipeline: LayerPipeline
  private var runs: [PrefillRun]
  private let caches: [KeyValueCache]
  private let chunks: [Range<Int>]
  private let monitor: Monitor<State>
  private(set) var reports: [PrefillReport] = []

  private struct State {
    var schedule: ChunkSchedule
    /// The hidden states that wait before each stage, the oldest first.
    var waiting: [[Tensor]]
    /// What the last stage gave.
    var output: Tensor?
    var failure: (any Error)?
    var isStopped = false
    /// What static patterns had kept in each stage before each chunk.
    var selections: [[SelectionMemory.Selections]]
  }

  init(
    _ pipeline: LayerPipeline, runs: [PrefillRun], caches: [KeyValueCache], chunks: [Range<Int>],
    progress: PipelineProgress
  ) {
    self.pipeline = pipeline
    self.runs = runs
    self.caches = caches
    self.chunks = chunks
    self.progress = progress
    monitor = Monitor(
      State(
        schedule: ChunkSchedule(stages: runs.count, chunks: chunks.count),
        waiting: Array(repeating: [], count: runs.count),
        selections: Array(repeating: [], count: runs.count)))
  }

  // MARK: The reader's side

  /// The next chunk that leaves the last stage.
  ///
  /// - Throws: what stopped the stages, once none is at work.
  func waitForChunk() throws -> (positions: Range<Int>, hidden: Tensor) {
    monitor.withLock(beginWork)
    return try monitor.wait {
      state -> Result<(positions: Range<Int>, hidden: Tensor), any Error>? in
      if let failure = state.failure {
        return state.schedule.isBusy ? nil : .failure(failure)
      }
      guard let output = state.output else { return nil }
      state.output = nil
      return .success((self.chunks[state.schedule.taken], output))
    }.get()
  }

  /// The chunk that ``waitForChunk()`` gave is not needed any longer.
  func take() {
    monitor.withLock { state in
      state.schedule.take()
      beginWork(&state)
    }
  }

  /// Ends all runs, whose chunks have all been taken.
  func finish() throws {
    // Stages that finish early wait for nobody; what is left to do is to wait for their devices.
    for stage in runs.indices {
      do {
        try pipeline.workers[stage].run {
          guard case .finished = try self.runs[stage].advance() else {
            throw PipelineError.differentChunks
          }
          try self.pipeline.noteCopies(from: stage)
        }
      } catch { throw named(error, stage: stage) }
    }
    reports = runs.map(\.report)
    runs = []
  }

  /// Keeps stages from beginning anything more, and waits until none is at work.
  func stop() {
    monitor.withLock { $0.isStopped = true }
    monitor.wait { $0.schedule.isBusy ? nil : () }
    runs = []
    monitor.withLock { state in
      state.waiting = state.waiting.map { _ in [] }
      state.output = nil
    }
  }

  /// Static patterns forget what they kept in chunks that begin at `position` or later.
  func forgetChunks(from position: Int) {
    guard let chunk = chunks.firstIndex(where: { $0.lowerBound >= position }) else { return }
    let selections = monitor.withLock { $0.selections }
    for (cache, kept) in zip(caches, selections) where chunk < kept.count {
      cache.keptSelections = kept[chunk]
    }
  }

  // MARK: The stages' side

  /// Gives every stage that may go on its next chunk.
  private func beginWork(_ state: inout State) {
    guard !state.isStopped, state.failure == nil else { return }
    for stage in 0..<state.schedule.stages {
      guard let chunk = state.schedule.next(of: stage) else { continue }
      state.schedule.begin(stage: stage)
      let input = stage > 0 ? state.waiting[stage].removeFirst() : nil
      pipeline.workers[stage].submit { self.work(stage: stage, chunk: chunk, input: input) }
    }
  }

  private func work(stage: Int, chunk: Int, input: Tensor?) {
    do {
      let kept = caches[stage].keptSelections
      monitor.withLock { $0.selections[stage].append(kept) }
      if let input { try runs[stage].supply(input) }
      let hidden = try pipeline.trace.measure(stage: stage, chunk: chunk, chunks[chunk]) {
        try pass(stage: stage)
      }
      let sent = stage + 1 < runs.count ? try pipeline.send(hidden, from: stage, chunk: chunk) : nil
      monitor.withLock { state in
        state.schedule.finish(stage: stage)
        if let sent { state.waiting[stage + 1].append(sent) } else { state.output = hidden }
        beginWork(&state)
      }
    } catch {
      let error = named(error, stage: stage)
      monitor.withLock { state in
        state.schedule.finish(stage: stage)
        state.failure = state.failure ?? error
      }
    }
  }

  /// Runs a chunk through a stage's layers.
  private func pass(stage: Int) throws -> Tensor {
    while true {
      guard monitor.withLock({ $0.failure == nil && !$0.isStopped }) else {
        throw CancellationError()
      }
      if case .chunk(_, let hidden) = try runs[stage].advance() { return hidden }
    }
  }

  /// An error with the stage's name; those that callers know by type stay as they are.
  private func named(_ error: any Error, stage: Int) -> any Error {
    if error is CancellationError { return error }
    if let callbackError = progress.callbackError { return callbackError }
    return PipelineError.stage(
      stage, of: caches.count, name: pipeline.stages[stage].name, error: error)
  }
}
