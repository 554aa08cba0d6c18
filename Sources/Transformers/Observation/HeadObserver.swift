import Compute
package import SparseAttention
import Synchronization

/// Looks at one head of one layer while a prompt is read (``PrefillOptions/observer``).
///
/// Each block of rows adds its sampled queries: their scores of all keys before them, in parts of at most
/// 32 MiB, and what the block's index computes of these. The host sums them up over cells.
package final class HeadObserver: Sendable {
  package let layer: Int
  package let head: Int
  private let positions: [Int]
  private let mass: Mutex<AttentionMass>

  /// Queries that are sampled of each row of cells.
  private static let rowsPerCell = 4
  /// Scores held at once.
  private static let heldScores = 8 << 20
  private static let purpose = "looking at a head's attention"

  /// - Parameters:
  ///   - tokens: Of the prompt; at least 1.
  ///   - cells: On a side; no cell is smaller than a token.
  package init(layer: Int, head: Int, tokens: Int, cells: Int) {
    let grid = CellGrid(keys: tokens, cells: cells)
    self.layer = layer
    self.head = head
    positions = grid.sampledRows(perCell: Self.rowsPerCell)
    mass = Mutex(AttentionMass(grid))
  }

  /// Adds a block of rows.
  ///
  /// - Parameters:
  ///   - q: [rows, queryHeads, headDim], after rotary embedding; unchanged.
  ///   - keysAndValues: Keys up to the last of the rows are written.
  ///   - index: In the host's memory.
  /// - Throws: `ComputeError`; ``TransformerError/invalidLogits(problem:)`` for scores that are no numbers.
  func add(
    _ rows: Range<Int>, q: Tensor, keysAndValues: KeyValueLayer, shape: AttentionShape,
    index: SparseIndex, backend: any Backend
  ) throws {
    let first = positions.partitioningIndex { $0 >= rows.lowerBound }
    let sampled = positions[first...].prefix { $0 < rows.upperBound }
    guard !sampled.isEmpty else { return }
    let index = try index.hostTiles("looking at a head")
    let sink = try keysAndValues.sinks.map { try backend.read($0)[head] }
    let keys = rows.upperBound
    let keyHead = head / shape.groupSize
    let keyRows = keysAndValues.keys.slice(rows: keyHead..<keyHead + 1)
      .reshaped([keysAndValues.capacity, shape.headDim]).slice(rows: 0..<keys)
    let queries = try self.queries(
      q, rows: sampled.map { $0 - rows.lowerBound }, shape: shape, backend: backend)
    let atOnce = max(1, min(32, Self.heldScores / keys))
    for start in stride(from: sampled.startIndex, to: sampled.endIndex, by: atOnce) {
      let part = sampled[start..<min(start + atOnce, sampled.endIndex)]
      let offset = start - sampled.startIndex
      let scores = try backend.makeTensor(.float32, [part.count, keys], purpose: Self.purpose)
      try backend.linear(
        queries.slice(rows: offset..<offset + part.count), weight: Weight(keyRows), bias: nil,
        into: scores, accumulate: false)
      var values = try backend.read(scores)
      let areNumbers = values.withUnsafeMutableBufferPointer { values in
        part.enumerated().allSatisfy { row, position in
          let row = UnsafeMutableBufferPointer(rebasing: values[row * keys..<(row + 1) * keys])
          return mass.withLock {
            $0.add(
              position: position, firstKey: shape.firstKey(visibleFrom: position), scores: row,
              sink: sink, index: index, head: head)
          }
        }
      }
      guard areNumbers else {
        throw TransformerError.invalidLogits(
          problem: "of attention in layer \(layer), head \(head), are no numbers")
      }
    }
  }

  /// The head's scaled queries at some rows of a block: [rows, headDim].
  private func queries(
    _ q: Tensor, rows: [Int], shape: AttentionShape, backend: any Backend
  ) throws -> Tensor {
    let all = try backend.makeTensor(
      q.type, [rows.count, shape.queryHeads, shape.headDim], purpose: Self.purpose)
    try backend.gatherRows(q, rows: rows.map(Int32.init), into: all)
    let values = try backend.read(all)
    let width = shape.queryHeads * shape.headDim
    let queries = try backend.makeTensor(
      q.type, [rows.count, shape.headDim], purpose: Self.purpose)
    try backend.write(
      rows.indices.flatMap { row in
        values[row * width + head * shape.headDim..<row * width + (head + 1) * shape.headDim]
          .map { $0 * shape.scale }
      }, to: queries)
    return queries
  }

  /// What was seen, once the prompt has been read.
  ///
  /// - Parameters:
  ///   - report: Of the reading.
  ///   - planner: What it was read with; nil: dense.
  package func observation(
    of model: Transformer, report: PrefillReport, planner: AttentionPlanner?
  ) -> HeadObservation {
    let (grid, cells) = mass.withLock { ($0.grid, $0.means()) }
    let pattern =
      model.computesWholeWindow(layer: layer)
      ? nil : planner?.pattern(layer: layer, head: head)
    var reasons: [String] = []
    for fallback in report.denseFallbacks
    where fallback.layer == layer && fallback.head == head && !reasons.contains(fallback.reason) {
      reasons.append(fallback.reason)
    }
    return HeadObservation(
      layer: layer, head: head, tokens: grid.keys, pattern: pattern?.label ?? "dense",
      slidingWindow: model.attentionShape(layer: layer).slidingWindow,
      density: report.headDensities[layer][head], denseReasons: reasons, cells: cells)
  }
}
