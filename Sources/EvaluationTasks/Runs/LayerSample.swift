package import MInference

/// What is kept of one layer's queries while its blocks of rows pass by.
package struct LayerSample {
  /// Positions, ascending, and their queries: [positions][queryHeads * headDim].
  private let positions: [Int]
  private var queries: [Float] = []
  private let keys: Int
  package private(set) var keysAndValues: KeyValueLayer?
  /// The prompt's last rows, for estimation.
  package private(set) var lastRows: Tensor?
  /// What the layer's selectors see of all queries; nil: nothing.
  package var sketch: QuerySketch?

  /// Rows of scores held at once.
  private static let scoredRows = 32

  package init(keys: Int, positions: [Int]) {
    self.keys = keys
    self.positions = positions
  }

  /// Keeps the sampled queries of a block, what selectors see of it, and the prompt's last rows.
  package mutating func add(_ block: LayerWalk.Block, backend: any Backend) throws {
    keysAndValues = block.keysAndValues
    let values = try backend.read(block.q)
    let width = block.q.rowCount
    for position in positions where block.positions.contains(position) {
      let row = position - block.positions.lowerBound
      queries += values[row * width..<(row + 1) * width]
    }
    try sketch?.add(
      block.q, firstPosition: block.positions.lowerBound, layer: block.keysAndValues)
    try keepLastRows(of: block, values: values, width: width, backend: backend)
  }

  private mutating func keepLastRows(
    of block: LayerWalk.Block, values: [Float], width: Int, backend: any Backend
  ) throws {
    // The last 64 rows may lie in two blocks.
    let first = max(0, keys - VerticalSlashRule.lastRows)
    let wanted = block.positions.clamped(to: first..<keys)
    guard !wanted.isEmpty else { return }
    let rows = wanted.lowerBound - block.positions.lowerBound
    let new = values[rows * width..<(rows + wanted.count) * width]
    let kept = try lastRows.map { try backend.read($0) } ?? []
    let tensor = try backend.makeTensor(
      backend.activationType,
      [wanted.upperBound - first, block.shape.queryHeads, block.shape.headDim],
      purpose: "the last queries")
    try backend.write(kept + new, to: tensor)
    lastRows = tensor
  }

  /// The sampled rows' scaled scores of all keys, a row at a time.
  ///
  /// - visit: gets the position and the scores of keys 0 ... position; -infinity where the model's
  ///   window hides them.
  package func forEachRow(
    ofHead head: Int, shape: AttentionShape, backend: any Backend,
    _ visit: (_ position: Int, _ scores: UnsafeBufferPointer<Float>) -> Void
  ) throws {
    guard let keysAndValues else { return }
    let keyHead = head / shape.groupSize
    let keyRows = keysAndValues.keys.slice(rows: keyHead..<keyHead + 1)
      .reshaped([keysAndValues.capacity, shape.headDim]).slice(rows: 0..<keys)
    let width = shape.queryHeads * shape.headDim
    for start in stride(from: 0, to: positions.count, by: Self.scoredRows) {
      let rows = positions[start..<min(start + Self.scoredRows, positions.count)]
      let q = try backend.makeTensor(
        backend.activationType, [rows.count, shape.headDim], purpose: "queries")
      try backend.write(
        rows.indices.flatMap { row in
          queries[row * width + head * shape.headDim..<row * width + (head + 1) * shape.headDim]
            .map { $0 * shape.scale }
        }, to: q)
      let scores = try backend.makeTensor(
        .float32, [rows.count, keys], purpose: "scores of \(keys) keys")
      try backend.linear(q, weight: Weight(keyRows), bias: nil, into: scores, accumulate: false)
      var values = try backend.read(scores)
      values.withUnsafeMutableBufferPointer { values in
        for (row, position) in rows.enumerated() {
          let seen = row * keys..<row * keys + position + 1
          for hidden in 0..<shape.firstKey(visibleFrom: position) {
            values[row * keys + hidden] = -.infinity
          }
          visit(position, UnsafeBufferPointer(rebasing: values[seen]))
        }
      }
    }
  }
}
