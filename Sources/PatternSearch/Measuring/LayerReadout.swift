import Compute

/// How a layer's hidden states are read behind attention: through the output projection, and weighed
/// by the norm that follows.
///
/// A trained model keeps a few coordinates of its hidden states very large, and its norms turn them
/// down; without the weights they would hide what a head adds.
package struct LayerReadout {
  /// Attention outputs [n, queryHeads * headDim] to what they add to the hidden states, [n, hidden].
  let project: ([Float]) throws -> [Float]
  /// [hidden]
  let norm: [Float]

  package init(norm: [Float], project: @escaping ([Float]) throws -> [Float]) {
    self.norm = norm
    self.project = project
  }

  /// Hidden states [n, hidden] as they are read, their length aside.
  func read(_ hidden: [Float]) -> [Float] {
    hidden.indices.map { hidden[$0] * norm[$0 % norm.count] }
  }

  /// [head][headDim * headDim]: W^T W for the head's part W of the projection, weighed: the norm of
  /// what an output x adds is the root of x^T (W^T W) x.
  func grams(shape: AttentionShape, backend: any Backend) throws -> [[Float]] {
    let width = shape.queryHeads * shape.headDim
    return try (0..<shape.queryHeads).map { head in
      var identity = [Float](repeating: 0, count: shape.headDim * width)
      for d in 0..<shape.headDim { identity[d * width + head * shape.headDim + d] = 1 }
      let columns = read(try project(identity))
      let x = try backend.makeTensor(
        backend.activationType, [shape.headDim, norm.count], purpose: "measuring output error")
      try backend.write(columns, to: x)
      let gram = try backend.makeTensor(
        .float32, [shape.headDim, shape.headDim], purpose: "measuring output error")
      try backend.linear(x, weight: Weight(x), bias: nil, into: gram, accumulate: false)
      return try backend.read(gram)
    }
  }
}

/// Collects the losses of a layer's heads, and divides by the hidden states behind attention once all heads
/// are known.
struct ResidualErrors {
  private let rows: Int
  private let shape: AttentionShape
  /// [row, queryHeads * headDim]
  private var dense: [Float]
  /// [head][candidate][row]
  private var squares: [[[Float]]] = []

  init(rows: Int, shape: AttentionShape) {
    self.rows = rows
    self.shape = shape
    dense = [Float](repeating: 0, count: rows * shape.queryHeads * shape.headDim)
  }

  /// - Parameters:
  ///   - dense: the head's dense outputs, [rows, headDim].
  ///   - squares: [candidate][row], of the norm of what is lost.
  mutating func add(head: Int, dense: [Float], squares: [[Float]]) {
    let width = shape.queryHeads * shape.headDim
    for row in 0..<rows {
      for d in 0..<shape.headDim {
        self.dense[row * width + head * shape.headDim + d] = dense[row * shape.headDim + d]
      }
    }
    self.squares.append(squares)
  }

  /// [head][candidate]: the mean over rows of norm(lost) / norm(hidden + W o_dense).
  ///
  /// - Parameter hidden: [rows, hidden], before attention.
  func errors(hidden: [Float], _ readout: LayerReadout) throws -> [[Double]] {
    guard rows > 0 else { return squares.map { $0.map { _ in 0 } } }
    let added = try readout.project(dense)
    let behind = readout.read(zip(hidden, added).map { $0 + $1 })
    let width = behind.count / rows
    let norms = (0..<rows).map { row in
      behind[row * width..<(row + 1) * width].reduce(0.0) { $0 + Double($1) * Double($1) }
    }
    return squares.map { candidates in
      candidates.map { squares in
        let sum = zip(squares, norms).reduce(0.0) { sum, row in
          row.1 > 0 ? sum + (Double(row.0) / row.1).squareRoot() : sum
        }
        return sum / Double(rows)
      }
    }
  }
}
