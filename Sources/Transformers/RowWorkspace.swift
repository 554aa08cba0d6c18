import Compute

/// Intermediate results of up to `rows` tokens within one layer, used again for every block of rows
/// and every layer: memory is bounded by the block, not by the prompt.
struct RowWorkspace {
  let rows: Int
  /// [rows, hidden]
  private let normed: Tensor
  /// [rows, queryHeads, headDim]; queries, then, in place, the attention output
  private let q: Tensor
  /// [rows, keyValueHeads, headDim]
  private let k: Tensor
  private let v: Tensor
  /// [rows, intermediate]
  private let gate: Tensor
  private let up: Tensor

  init(rows: Int, configuration: DecoderConfiguration, backend: any Backend) throws {
    let shape = configuration.attention[0]
    func tensor(_ extents: Int...) throws -> Tensor {
      try backend.makeTensor(
        backend.activationType, [rows] + extents, purpose: "activations of \(rows) rows")
    }
    self.rows = rows
    normed = try tensor(configuration.hiddenSize)
    q = try tensor(shape.queryHeads, shape.headDim)
    k = try tensor(shape.keyValueHeads, shape.headDim)
    v = try tensor(shape.keyValueHeads, shape.headDim)
    gate = try tensor(configuration.intermediateSize)
    up = try tensor(configuration.intermediateSize)
  }

  private init(slicing whole: RowWorkspace, rows: Int) {
    self.rows = rows
    normed = whole.normed.slice(rows: 0..<rows)
    q = whole.q.slice(rows: 0..<rows)
    k = whole.k.slice(rows: 0..<rows)
    v = whole.v.slice(rows: 0..<rows)
    gate = whole.gate.slice(rows: 0..<rows)
    up = whole.up.slice(rows: 0..<rows)
  }

  /// The first `rows` rows of every tensor.
  func prefix(_ rows: Int) -> RowWorkspace { RowWorkspace(slicing: self, rows: rows) }

  /// The steps of a layer, on the rows of `hidden`; all are of this workspace's number of rows.
  struct Step {
    let backend: any Backend
    let configuration: DecoderConfiguration
    let layer: DecoderLayer
    let rotary: RotaryEmbedding
    let workspace: RowWorkspace
  }
}

extension RowWorkspace.Step {
  /// k, v = projections of norm(hidden), k rotated; stored in the cache.
  func storeKeysAndValues(
    of hidden: Tensor, in cache: KeyValueLayer, firstPosition: Int
  ) throws {
    try normalize(hidden, layer.inputNorm)
    try project(workspace.normed, layer.k, into: workspace.k)
    try project(workspace.normed, layer.v, into: workspace.v)
    try backend.rotate(workspace.k, rotary, firstPosition: firstPosition)
    try backend.store(k: workspace.k, v: workspace.v, in: cache, firstPosition: firstPosition)
  }

  /// [rows, queryHeads, headDim]: the projection of norm(hidden), rotated. Valid until the next step.
  func queries(of hidden: Tensor, firstPosition: Int) throws -> Tensor {
    try normalize(hidden, layer.inputNorm)
    try project(workspace.normed, layer.q, into: workspace.q)
    try backend.rotate(workspace.q, rotary, firstPosition: firstPosition)
    return workspace.q
  }

  /// The same for rows at any positions, ascending.
  func queries(of hidden: Tensor, positions: [Int]) throws -> Tensor {
    try normalize(hidden, layer.inputNorm)
    try project(workspace.normed, layer.q, into: workspace.q)
    for (rows, positions) in positions.consecutiveRanges {
      try backend.rotate(
        workspace.q.slice(rows: rows), rotary, firstPosition: positions.lowerBound)
    }
    return workspace.q
  }

  /// hidden += projection of the attention output, which stands where the queries stood.
  func addAttentionOutput(to hidden: Tensor) throws {
    try project(workspace.q, layer.o, into: hidden, accumulate: true)
  }

  /// hidden += down(silu(gate(x)) * up(x)), x = norm(hidden).
  func addFeedForward(to hidden: Tensor) throws {
    try normalize(hidden, layer.postAttentionNorm)
    try project(workspace.normed, layer.gate, into: workspace.gate)
    try project(workspace.normed, layer.up, into: workspace.up)
    try backend.swiGLU(gate: workspace.gate, up: workspace.up)
    try project(workspace.gate, layer.down, into: hidden, accumulate: true)
  }

  private func normalize(_ hidden: Tensor, _ weight: Tensor) throws {
    try backend.rmsNorm(
      hidden, weight: weight, epsilon: configuration.normEpsilon, into: workspace.normed)
  }

  private func project(
    _ x: Tensor, _ projection: Projection, into y: Tensor, accumulate: Bool = false
  ) throws {
    try backend.linear(
      x.reshaped([x.rows, x.rowCount]), weight: projection.weight, bias: projection.bias,
      into: y.reshaped([y.rows, y.rowCount]), accumulate: accumulate)
  }
}
