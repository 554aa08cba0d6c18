import Compute
import Transformers

/// Moves the chunks of one prompt through the stages: what the threads of the stages share.
final class ChunkPassage: @unchecked Sendable {
  // Unchecked: a reading is touched by the thread of its stage while a chunk is in it, and by whoever
  // reads when no stage is at work.
  let progress: PipelineProgress
  private let pipeline: LayerPipeline
  private let readings: [any StageReading]
  private let isCancelled: @Sendable () -> Bool
  private let chunks: [Range<Int>]
  private let monitor: Monitor<State>
  private(set) var reports: [PrefillReport] = []

  private struct State {
    var schedule: ChunkSchedule
    /// The hidden states that wait before each stage, the oldest first.
    var waiting: [[Carried]]
    /// What the last stage gave.
    var output: Tensor?
    var failure: (any Error)?
    var isStopped = false
  }

  init(
    _ pipeline: LayerPipeline, readings: [any StageReading], chunks: [Range<Int>],
    progress: PipelineProgress, isCancelled: @escaping @Sendable () -> Bool
  ) {
    self.pipeline = pipeline
    self.readings = readings
    self.chunks = chunks
    self.progress = progress
    self.isCancelled = isCancelled
    monitor = Monitor(
      State(
        schedule: ChunkSchedule(stages: readings.count, chunks: chunks.count),
        waiting: Array(repeating: [], count: readings.count)))
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
    for stage in readings.indices {
      do {
        try pipeline.workers[stage].run {
          try self.readings[stage].finish()
          try self.pipeline.noteCopies(from: stage)
        }
      } catch { throw named(error, stage: stage) }
    }
    reports = readings.map(\.report)
  }

  /// Keeps stages from beginning anything more, and waits until none is at work.
  func stop() {
    monitor.withLock { $0.isStopped = true }
    monitor.wait { $0.schedule.isBusy ? nil : () }
    let waiting = monitor.withLock { state in
      defer { (state.waiting, state.output) = (state.waiting.map { _ in [] }, nil) }
      return state.waiting
    }
    for (stage, carried) in zip(pipeline.stages, waiting) { carried.forEach(stage.discard) }
  }

  /// Ends the readings, of which chunks before `position` stay.
  func end(keeping position: Int) {
    let chunk = chunks.firstIndex { $0.lowerBound >= position }
    for reading in readings { reading.end(forgettingFrom: chunk) }
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

  private func work(stage: Int, chunk: Int, input: Carried?) {
    do {
      let carried = try pipeline.trace.measure(stage: stage, chunk: chunk, chunks[chunk]) {
        try readings[stage].pass(chunk: chunk, input, isStopped: isStopped) { bytes in
          if stage + 1 < readings.count {
            pipeline.trace.beginCopy(stage: stage, chunk: chunk, bytes: bytes)
          }
        }
      }
      try monitor.withLock { state in
        state.schedule.finish(stage: stage)
        if stage + 1 < readings.count {
          state.waiting[stage + 1].append(carried)
        } else if case .tensor(let hidden) = carried {
          state.output = hidden
        } else {
          throw TransformerError.missingPart(what: "the last stage's output")
        }
        beginWork(&state)
      }
    } catch {
      let error = named(error, stage: stage)
      monitor.withLock { state in
        if state.schedule.isBusy(stage: stage) { state.schedule.finish(stage: stage) }
        state.failure = state.failure ?? error
      }
    }
  }

  /// Whether a stage need not go on with its chunk.
  private func isStopped() -> Bool {
    isCancelled() || progress.callbackError != nil
      || monitor.withLock { $0.failure != nil || $0.isStopped }
  }

  /// An error with the stage's name; those that callers know by type stay as they are.
  private func named(_ error: any Error, stage: Int) -> any Error {
    // What a callback threw stops other stages, which may say so first.
    if let callbackError = progress.callbackError { return callbackError }
    if error is CancellationError { return error }
    return PipelineError.stage(
      stage, of: readings.count, name: pipeline.stages[stage].name, error: error)
  }
}
