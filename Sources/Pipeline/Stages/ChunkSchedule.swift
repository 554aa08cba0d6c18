/// Which chunk each stage may work on next: the state of one prompt on its way through the stages.
///
/// A pure value. Chunk c may enter stage s as soon as it has left stage s - 1, chunks stay in order, a
/// stage works on one chunk at a time, and at most ``depth`` chunks wait between two stages. The last
/// stage begins a chunk only when whoever reads has taken the one before.
package struct ChunkSchedule: Equatable {
  package let chunks: Int
  /// Chunks that may wait between two stages.
  package let depth: Int
  /// Chunks that each stage has begun.
  package private(set) var begun: [Int]
  /// Chunks that have left each stage.
  package private(set) var done: [Int]
  /// Chunks that the reader has taken from the last stage.
  package private(set) var taken = 0

  package init(stages: Int, chunks: Int, depth: Int = 2) {
    precondition(stages > 0 && depth > 0)
    self.chunks = chunks
    self.depth = depth
    begun = Array(repeating: 0, count: stages)
    done = begun
  }

  package var stages: Int { begun.count }

  /// Whether a stage is at work.
  package var isBusy: Bool { begun != done }

  package func isBusy(stage: Int) -> Bool { begun[stage] != done[stage] }

  /// The chunk that a stage may begin now; nil if it has to wait, or has done all.
  package func next(of stage: Int) -> Int? {
    let chunk = begun[stage]
    guard chunk < chunks, chunk == done[stage] else { return nil }
    if stage > 0, done[stage - 1] <= chunk { return nil }
    let limit = stage + 1 < stages ? begun[stage + 1] + depth : taken + 1
    return chunk < limit ? chunk : nil
  }

  package mutating func begin(stage: Int) { begun[stage] += 1 }

  package mutating func finish(stage: Int) { done[stage] += 1 }

  /// The reader has taken the chunk that left the last stage.
  package mutating func take() { taken += 1 }
}
