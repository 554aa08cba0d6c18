#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The estimation primitives of ``Backend`` written down as they are defined: plain arrays, one
/// loop for each symbol of the formula, Double inside. Every backend is tested against these.
public enum ReferenceEstimation {
  /// Softmax of one query row over the keys that it may see, and over a sink.
  ///
  /// - q: [headDim] of the row at `position`; keys: [>= position + 1, headDim] of its key-value
  ///   head, position 0 first.
  /// - Parameter sink: The head's (``KeyValueLayer/sinks``); nil: there is none.
  /// - Returns: position + 1 probabilities; zero for keys before the model's own window. The sink has what is
  ///   missing in their sum.
  public static func attentionRow(
    q: ArraySlice<Float>, position: Int, keys: ArraySlice<Float>, shape: AttentionShape,
    sink: Float? = nil
  ) -> [Double] {
    let first = shape.firstKey(visibleFrom: position)
    var scores = [Double](repeating: -.infinity, count: position + 1)
    for j in first...position {
      let key = keys.startIndex + j * shape.headDim
      var dot = 0.0
      for d in 0..<shape.headDim {
        dot += Double(q[q.startIndex + d]) * Double(keys[key + d])
      }
      scores[j] = dot * Double(shape.scale)
    }
    let sink = sink.map { Double($0) } ?? -.infinity
    let largest = max(scores.max() ?? 0, sink)
    let weights = scores.map { exp($0 - largest) }
    let sum = weights.reduce(exp(sink - largest), +)
    return weights.map { $0 / sum }
  }

  /// Column sums and offset sums of the attention of the last rows; see
  /// ``Backend/lastRowSums(q:firstPosition:layer:shape:heads:)``.
  ///
  /// - q: [rows, queryHeads, headDim], row r at position firstPosition + r.
  /// - keys: [keyValueHeads, capacity, headDim].
  /// - sinks: [queryHeads]; nil: there are none.
  /// - Returns: one entry for each of `heads`, in that order; firstPosition + rows sums each.
  ///
  /// O(heads * rows * keys * headDim).
  public static func lastRowSums(
    q: [Float], rows: Int, firstPosition: Int, keys: [Float], capacity: Int,
    shape: AttentionShape, heads: [Int], sinks: [Float]? = nil
  ) -> [LastRowSums] {
    let keyCount = firstPosition + rows
    return heads.map { head in
      let keyHead = (head / shape.groupSize) * capacity * shape.headDim
      var vertical = [Double](repeating: 0, count: keyCount)
      var slash = [Double](repeating: 0, count: keyCount)
      for row in 0..<rows {
        let position = firstPosition + row
        let start = (row * shape.queryHeads + head) * shape.headDim
        let probabilities = attentionRow(
          q: q[start..<start + shape.headDim], position: position,
          keys: keys[keyHead..<keyHead + keyCount * shape.headDim], shape: shape,
          sink: sinks?[head])
        for (j, probability) in probabilities.enumerated() {
          vertical[j] += probability
          slash[position - j] += probability
        }
      }
      return LastRowSums(vertical: vertical.map(Float.init), slash: slash.map(Float.init))
    }
  }

  /// Shares of attention that blocks of 128 keys hold; see
  /// ``EstimationOperations/blockShares(q:firstPosition:layer:shape:heads:source:)``.
  ///
  /// - q: [rows, queryHeads, headDim], row r at position firstPosition + r.
  /// - keys: [keyValueHeads, capacity, headDim].
  /// - sinks: [queryHeads]; nil: there are none.
  /// - Returns: for each of `heads` [query blocks * key blocks].
  ///
  /// O(heads * rows * keys * headDim / stride).
  public static func blockShares(
    q: [Float], rows: Int, firstPosition: Int, keys: [Float], capacity: Int, shape: AttentionShape,
    heads: [Int], source: ShareSource, sinks: [Float]? = nil
  ) -> [[Float]] {
    let end = firstPosition + rows
    let size = ShareRule.blockSize
    let stride = source.stride
    let firstBlock = firstPosition / size
    let keyBlocks = (end - 1) / size + 1
    let dim = shape.headDim
    return heads.map { head in
      let keyHead = (head / shape.groupSize) * capacity * dim
      func query(_ position: Int, _ d: Int) -> Double {
        Double(q[((position - firstPosition) * shape.queryHeads + head) * dim + d])
      }
      func key(_ position: Int, _ d: Int) -> Double { Double(keys[keyHead + position * dim + d]) }
      func positions(_ group: Int) -> Range<Int> { group * stride..<(group + 1) * stride }
      func score(_ group: Int, _ other: Int) -> Double {
        switch source {
        case .antidiagonals:
          var dot = 0.0
          for t in 0..<stride {
            let (row, column) = (positions(group).upperBound - 1 - t, other * stride + t)
            guard row >= firstPosition, row < end, column < end else { continue }
            for d in 0..<dim { dot += query(row, d) * key(column, d) }
          }
          return dot * Double(shape.scale) / Double(stride)
        case .means:
          let rows = positions(group).clamped(to: firstPosition..<end)
          let columns = positions(other).clamped(to: 0..<end)
          var dot = 0.0
          for d in 0..<dim {
            dot +=
              rows.reduce(0.0) { $0 + query($1, d) } / Double(rows.count)
              * columns.reduce(0.0) { $0 + key($1, d) } / Double(columns.count)
          }
          return dot * Double(shape.scale)
        }
      }
      var shares = [Float](repeating: 0, count: (keyBlocks - firstBlock) * keyBlocks)
      for block in firstBlock..<keyBlocks {
        let groups = (block * size / stride..<(block + 1) * size / stride).filter {
          $0 % source.queryStride == source.queryStride - 1
            && positions($0).overlaps(firstPosition..<end)
        }
        for group in groups {
          var scores = [Double](repeating: -.infinity, count: group + 1)
          for other in 0...group {
            let nearest = (group - other) * stride - (stride - 1)
            if let window = shape.slidingWindow, nearest >= window { continue }
            scores[other] = score(group, other)
          }
          // The score of a group stands for all of its keys, and a sink is one.
          let sink = sinks.map { Double($0[head]) - log(Double(stride)) } ?? -.infinity
          let largest = max(scores.max() ?? 0, sink)
          let weights = scores.map { exp($0 - largest) }
          let sum = weights.reduce(exp(sink - largest), +) * Double(groups.count)
          for (other, weight) in weights.enumerated() {
            shares[(block - firstBlock) * keyBlocks + other * stride / size] += Float(weight / sum)
          }
        }
      }
      return shares
    }
  }

  /// Mean of each block of `blockSize` rows for every head; the last block may be short.
  ///
  /// x: [rows, heads, headDim]; result: [heads][blocks * headDim].
  public static func meanPooled(
    _ x: [Float], rows: Int, heads: Int, headDim: Int, blockSize: Int
  ) -> [[Float]] {
    (0..<heads).map { head in
      blockMeans(rows: rows, headDim: headDim, blockSize: blockSize) { row, d in
        x[(row * heads + head) * headDim + d]
      }
    }
  }

  /// The same over the keys 0 ..< count; keys: [keyValueHeads, capacity, headDim].
  public static func meanPooledKeys(
    _ keys: [Float], capacity: Int, count: Int, keyValueHeads: Int, headDim: Int, blockSize: Int
  ) -> [[Float]] {
    (0..<keyValueHeads).map { head in
      blockMeans(rows: count, headDim: headDim, blockSize: blockSize) { row, d in
        keys[(head * capacity + row) * headDim + d]
      }
    }
  }

  private static func blockMeans(
    rows: Int, headDim: Int, blockSize: Int, element: (_ row: Int, _ d: Int) -> Float
  ) -> [Float] {
    var means: [Float] = []
    for start in stride(from: 0, to: rows, by: blockSize) {
      let block = start..<min(start + blockSize, rows)
      for d in 0..<headDim {
        let sum = block.reduce(0.0) { $0 + Double(element($1, d)) }
        means.append(Float(sum / Double(block.count)))
      }
    }
    return means
  }
}
