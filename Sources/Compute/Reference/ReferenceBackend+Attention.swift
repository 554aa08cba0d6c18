#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

extension ReferenceBackend {
  public func store(k: Tensor, v: Tensor, in layer: KeyValueLayer, firstPosition: Int) throws {
    let rows = k.rows
    try require(
      layer.keys.shape.count == 3 && layer.keys.shape == layer.values.shape
        && k.shape == v.shape && k.shape == [rows, layer.keys.shape[0], layer.keys.shape[2]],
      "store", "k \(k.shape), v \(v.shape), layer \(layer.keys.shape)")
    try require(
      firstPosition >= 0 && firstPosition + rows <= layer.capacity, "store",
      "\(rows) rows from position \(firstPosition), capacity \(layer.capacity)")
    for (factors, source, target) in [(0, k, layer.keys), (1, v, layer.values)] {
      let scales = try scales(of: layer, row: factors)
      for row in 0..<rows {
        for head in 0..<k.shape[1] {
          let vector = try doubles(
            source.slice(rows: row..<row + 1).reshaped([k.shape[1], k.shape[2]])
              .slice(rows: head..<head + 1))
          let place = head * layer.capacity + firstPosition + row
          let cells = target.reshaped([k.shape[1] * layer.capacity, k.shape[2]])
          try store(vector.map { $0 / scales[head] }, in: cells.slice(rows: place..<place + 1))
        }
      }
    }
  }

  public func attention(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape,
    index: SparseIndex, into o: Tensor, logSumExp: Tensor?
  ) throws {
    let index = try index.hostTiles("attention")
    try require(
      firstPosition >= index.firstPosition && firstPosition + q.rows <= index.keys
        && index.rowSetOfHead.count == shape.queryHeads, "attention",
      "rows \(firstPosition)..<\(firstPosition + q.rows), index of rows "
        + "\(index.firstPosition)..<\(index.keys) and \(index.rowSetOfHead.count) heads")
    let positions = Array(firstPosition..<firstPosition + q.rows)
    try attend(
      "attention", q: q, positions: positions, layer: layer, shape: shape, into: o,
      logSumExp: logSumExp,
      computes: { head, i, j in
        index.computes(
          query: i, key: j, head: head, slidingWindow: shape.slidingWindow)
      })
  }

  public func rowAttention(
    q: Tensor, positions: [Int], layer: KeyValueLayer, shape: AttentionShape, into o: Tensor,
    logSumExp: Tensor?
  ) throws {
    try attend(
      "rowAttention", q: q, positions: positions, layer: layer, shape: shape, into: o,
      logSumExp: logSumExp,
      computes: { _, i, j in j <= i && j >= shape.firstKey(visibleFrom: i) })
  }

  public func mergeAttention(
    _ part: Tensor, logSumExp: Tensor, into o: Tensor, logSumExp whole: Tensor
  ) throws {
    try fallback.mergeAttention(
      part, logSumExp: logSumExp, into: o, logSumExp: whole, memory: self)
  }

  /// o[r, h] = sum over the keys j that row r computes of softmax(scale * q k_j) v_j, the softmax over these
  /// keys and the head's sink.
  private func attend(
    _ operation: String, q: Tensor, positions: [Int], layer: KeyValueLayer,
    shape: AttentionShape, into o: Tensor, logSumExp: Tensor?,
    computes: (_ head: Int, _ query: Int, _ key: Int) -> Bool
  ) throws {
    let (rows, headDim) = (q.rows, shape.headDim)
    try require(
      q.shape == [rows, shape.queryHeads, headDim] && o.shape == q.shape
        && positions.count == rows && layer.keys.shape.first == shape.keyValueHeads
        && layer.keys.shape.last == headDim
        && (logSumExp.map { $0.shape == [rows, shape.queryHeads] } ?? true), operation,
      "q \(q.shape), o \(o.shape), \(positions.count) positions, keys \(layer.keys.shape), "
        + "log-sum-exp \(logSumExp?.shape ?? []), shape \(shape)")
    try require(
      positions.allSatisfy { $0 >= 0 && $0 < layer.count } && layer.count <= layer.capacity,
      operation, "a row's position is not below the \(layer.count) stored keys")
    let queries = try doubles(q)
    let keys = try doubles(layer.keys)
    let values = try doubles(layer.values)
    let sinks = try layer.sinkLogits(of: shape).map { try doubles($0) }
    let keyScales = try scales(of: layer, row: 0)
    let valueScales = try scales(of: layer, row: 1)
    var outputs = Array(repeating: 0.0, count: o.count)
    var sums = Array(repeating: -Double.infinity, count: rows * shape.queryHeads)

    for row in 0..<rows {
      for head in 0..<shape.queryHeads {
        let query = (row * shape.queryHeads + head) * headDim
        let firstKey = head / shape.groupSize * layer.capacity
        var scores: [(key: Int, score: Double)] = []
        for j in 0..<layer.count where computes(head, positions[row], j) {
          var product = 0.0
          for d in 0..<headDim {
            product += queries[query + d] * keys[(firstKey + j) * headDim + d]
          }
          let scale = keyScales[head / shape.groupSize] * Double(shape.scale)
          scores.append((j, product * scale))
        }
        let sink = sinks?[head] ?? -.infinity
        let largest = max(scores.map(\.score).max() ?? -.infinity, sink)
        guard largest > -.infinity else { continue }
        let total = scores.reduce(exp(sink - largest)) { $0 + exp($1.score - largest) }
        for (j, score) in scores {
          let weight = exp(score - largest) / total
          for d in 0..<headDim {
            outputs[query + d] +=
              weight * valueScales[head / shape.groupSize] * values[(firstKey + j) * headDim + d]
          }
        }
        sums[row * shape.queryHeads + head] = largest + log(total)
      }
    }
    try store(outputs, in: o)
    if let logSumExp { try store(sums, in: logSumExp) }
  }

  /// What stored keys (row 0) or values (row 1) are multiplied with, for each key-value head.
  private func scales(of layer: KeyValueLayer, row: Int) throws -> [Double] {
    let heads = layer.keys.shape.first ?? 0
    guard let scales = layer.scales else { return Array(repeating: 1, count: heads) }
    try require(
      scales.shape == [2, heads], "key-value layer", "scales \(scales.shape) for \(heads) heads")
    return try doubles(scales.slice(rows: row..<row + 1))
  }
}

extension TileIndex {
  /// Whether attention computes the pair (query position, key position) for a head: the key is not
  /// after the query, is in the window, and lies in a tile of the query's tile row or is a column.
  public func computes(query: Int, key: Int, head: Int, slidingWindow: Int? = nil) -> Bool {
    guard key <= query, query - key < slidingWindow ?? Int.max else { return false }
    switch rowSet(ofHead: head) {
    case .all: return true
    case .tiles(let tiles):
      let keyTile = key / tile.columns
      let isInTile = tiles.runs(ofRow: query / tile.rows - tileRows.lowerBound).contains {
        Int($0.start) <= keyTile && keyTile < Int($0.end)
      }
      return isInTile || tiles.columns.contains(Int32(key))
    }
  }
}
