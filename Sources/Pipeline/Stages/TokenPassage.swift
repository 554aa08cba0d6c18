import Compute
import Transformers

/// Moves one token of each of several sequences through the stages, in groups of sequences: each stage passes one
/// group while the next stage passes the one before.
///
/// There are as many groups as stages, so that all stages are at work, and no more, as a stage reads its weights
/// once for each. Where tokens cannot pass together, each sequence is a group.
final class TokenPassage: @unchecked Sendable {
  // Unchecked: a cache is touched by the thread of one stage at a time, and by whoever waits when none is at
  // work on it.
  private let pipeline: LayerPipeline
  private let ids: [Int32]
  private let caches: [KeyValueCache]
  private let groups: [Range<Int>]
  private let monitor: Monitor<State>

  private struct State {
    /// Of each group.
    var hidden: [Tensor?]
    var failure: (any Error)?
    /// Groups that no stage has anything more to do for.
    var ended = 0
  }

  init(_ pipeline: LayerPipeline, ids: [Int32], caches: [KeyValueCache]) {
    self.pipeline = pipeline
    self.ids = ids
    self.caches = caches
    let together = pipeline.stages.enumerated().allSatisfy { number, stage in
      stage.canPassTogether(caches.map { $0.parts[number] })
    }
    groups = Self.groups(
      of: ids.count, count: together ? min(pipeline.stages.count, ids.count) : ids.count)
    monitor = Monitor(State(hidden: Array(repeating: nil, count: groups.count)))
  }

  /// Sequences in groups of like sizes.
  static func groups(of sequences: Int, count: Int) -> [Range<Int>] {
    (0..<count).map { $0 * sequences / count..<($0 + 1) * sequences / count }
  }

  /// The hidden states behind the last stage, [rows, hidden] of each group.
  ///
  /// - Throws: what the first stage that failed threw, with its name, once no stage is at work.
  func run() throws -> [Tensor] {
    for group in groups.indices { submit(group, stage: 0, input: nil) }
    let state = monitor.wait { $0.ended == self.groups.count ? $0 : nil }
    if let failure = state.failure { throw failure }
    let hidden = state.hidden.compactMap { $0 }
    guard hidden.count == groups.count else {
      throw TransformerError.missingPart(what: "the last stage's output")
    }
    return hidden
  }

  private func submit(_ group: Int, stage: Int, input: Carried?) {
    pipeline.workers[stage].submit { self.work(group, stage: stage, input: input) }
  }

  private func work(_ group: Int, stage: Int, input: Carried?) {
    guard monitor.withLock({ $0.failure == nil }) else {
      if let input { pipeline.stages[stage].discard(input) }
      return monitor.withLock { $0.ended += 1 }
    }
    do {
      let sequences = groups[group]
      let carried = try pipeline.stages[stage].pass(
        tokens: Array(ids[sequences]), input, caches: caches[sequences].map { $0.parts[stage] })
      if stage + 1 < pipeline.stages.count {
        return submit(group, stage: stage + 1, input: carried)
      }
      monitor.withLock { state in
        if case .tensor(let hidden) = carried { state.hidden[group] = hidden }
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
