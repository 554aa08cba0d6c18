import Compute
import Transformers

/// Moves one token of each of several sequences through the stages: each stage passes one while the next
/// stage passes the one before.
final class TokenPassage: @unchecked Sendable {
  // Unchecked: a cache is touched by the thread of one stage at a time, and by whoever waits when none is at
  // work on it.
  private let pipeline: LayerPipeline
  private let ids: [Int32]
  private let caches: [KeyValueCache]
  private let monitor: Monitor<State>

  private struct State {
    var hidden: [Tensor?]
    var failure: (any Error)?
    /// Sequences that no stage has anything more to do for.
    var ended = 0
  }

  init(_ pipeline: LayerPipeline, ids: [Int32], caches: [KeyValueCache]) {
    self.pipeline = pipeline
    self.ids = ids
    self.caches = caches
    monitor = Monitor(State(hidden: Array(repeating: nil, count: ids.count)))
  }

  /// The hidden states behind the last stage.
  ///
  /// - Throws: what the first stage that failed threw, with its name, once no stage is at work.
  func run() throws -> [Tensor] {
    for sequence in ids.indices { submit(sequence, stage: 0, input: nil) }
    let state = monitor.wait { $0.ended == self.ids.count ? $0 : nil }
    if let failure = state.failure { throw failure }
    let hidden = state.hidden.compactMap { $0 }
    guard hidden.count == ids.count else {
      throw TransformerError.missingPart(what: "the last stage's output")
    }
    return hidden
  }

  private func submit(_ sequence: Int, stage: Int, input: Carried?) {
    pipeline.workers[stage].submit { self.work(sequence, stage: stage, input: input) }
  }

  private func work(_ sequence: Int, stage: Int, input: Carried?) {
    guard monitor.withLock({ $0.failure == nil }) else {
      if let input { pipeline.stages[stage].discard(input) }
      return monitor.withLock { $0.ended += 1 }
    }
    do {
      let carried = try pipeline.stages[stage].pass(
        token: ids[sequence], input, cache: caches[sequence].parts[stage])
      if stage + 1 < pipeline.stages.count {
        return submit(sequence, stage: stage + 1, input: carried)
      }
      monitor.withLock { state in
        if case .tensor(let hidden) = carried { state.hidden[sequence] = hidden }
        state.ended += 1
      }
    } catch {
      let error = PipelineError.stage(
        stage, of: pipeline.stages.count, name: pipeline.stages[stage].name, error: error)
      monitor.withLock { state in
        state.failure = state.failure ?? error
        state.ended += 1
      }
    }
  }
}
