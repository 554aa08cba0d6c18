package import Compute
import SparseAttention
package import Transformers

/// Keeps the parts of one layer's queries that measurements need: the sampled rows, each chunk's last rows,
/// and the means of blocks.
package struct LayerSampler {
  package let rows: SampledRows
  package let shape: AttentionShape
  private let backend: any Backend
  private let pools: Bool
  /// [sampled row, queryHeads, headDim]
  private var sampled: [Float] = []
  /// [row whose output error is measured, hidden size]: before attention.
  private(set) var hidden: [Float] = []
  /// For each chunk [last rows, queryHeads, headDim]
  private var last: [[Float]]
  /// For each chunk [head][blocks * headDim]
  private(set) var pooled: [[[Float]]]

  package init(rows: SampledRows, shape: AttentionShape, backend: any Backend, pools: Bool) {
    self.rows = rows
    self.shape = shape
    self.backend = backend
    self.pools = pools
    last = rows.chunks.map { _ in [] }
    pooled = rows.chunks.map { _ in [] }
  }

  /// The rows from which a chunk is estimated.
  func lastRows(ofChunk chunk: Int) -> Range<Int> {
    let range = rows.chunks[chunk]
    return max(range.lowerBound, range.upperBound - VerticalSlashRule.lastRows)..<range.upperBound
  }

  /// Takes the sampled parts of the next block of rows; blocks come in order.
  package mutating func add(_ block: LayerWalk.Block) throws {
    func read(_ range: Range<Int>) throws -> [Float] {
      let offset = block.positions.lowerBound
      return try backend.read(
        block.q.slice(rows: range.lowerBound - offset..<range.upperBound - offset))
    }
    for place in rows.places(in: block.positions) {
      sampled += try read(rows.positions[place]..<rows.positions[place] + 1)
      if SampledRows.countsForOutput(place) {
        let row = rows.positions[place] - block.positions.lowerBound
        hidden += try backend.read(block.hidden.slice(rows: row..<row + 1))
      }
    }
    for chunk in rows.chunks.indices {
      let lastRows = lastRows(ofChunk: chunk).clamped(to: block.positions)
      if !lastRows.isEmpty { last[chunk] += try read(lastRows) }
      let part = rows.chunks[chunk].clamped(to: block.positions)
      guard pools, !part.isEmpty else { continue }
      let offset = block.positions.lowerBound
      let means = try BlockSparse.pooledQueries(
        block.q.slice(rows: part.lowerBound - offset..<part.upperBound - offset),
        firstPosition: part.lowerBound, backend: backend)
      pooled[chunk] =
        pooled[chunk].isEmpty ? means : zip(pooled[chunk], means).map { $0 + $1 }
    }
  }

  /// The last rows' sums of every head in a chunk.
  func lastRowSums(ofChunk chunk: Int, layer: KeyValueLayer) throws -> [LastRowSums] {
    let lastRows = lastRows(ofChunk: chunk)
    let q = try backend.makeTensor(
      backend.activationType, [lastRows.count, shape.queryHeads, shape.headDim],
      purpose: "measuring recall")
    try backend.write(last[chunk], to: q)
    return try backend.read(
      backend.lastRowSums(
        q: q, firstPosition: lastRows.lowerBound, layer: layer, shape: shape,
        heads: Array(0..<shape.queryHeads)))
  }

  /// Queries of one head in sampled rows, times `factor`: [places, headDim].
  func queries(ofHead head: Int, places: Range<Int>, factor: Float) -> [Float] {
    let width = shape.queryHeads * shape.headDim
    return places.flatMap { place in
      let start = place * width + head * shape.headDim
      return sampled[start..<start + shape.headDim].map { $0 * factor }
    }
  }
}
