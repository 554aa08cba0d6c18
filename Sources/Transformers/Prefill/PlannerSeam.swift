// TEMPORARY: stands in for SparseAttention's types until they exist.
import Compute

public final class SelectionMemory { init() {} }
public struct ChunkInputs {
  var backend: any Backend
  var shape: AttentionShape
  var keyValueLayer: KeyValueLayer
  var firstPosition: Int
  var rows: Int
  var lastRows: Tensor
  var pooledQueries: [[Float]]?
  var memory: SelectionMemory
}
public struct IndexReport {
  var computedPairs: [Int]; var causalPairs: [Int]; var fallbacks: [Int: String]
}
public struct AttentionPlanner: Sendable {
  static let poolingBlock = 64
  var make: @Sendable (Int, ChunkInputs) throws -> (SparseIndex, IndexReport)
  func makeIndex(layer: Int, _ inputs: ChunkInputs) throws -> (SparseIndex, IndexReport) {
    try make(layer, inputs)
  }
  func needsEstimate(layer: Int) -> Bool { true }
  func needsPooledQueries(layer: Int) -> Bool { false }
}
