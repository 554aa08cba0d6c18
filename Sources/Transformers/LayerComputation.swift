import Compute

/// What a decoder layer computes on one block of rows, operation by operation. `hidden` has as many
/// rows as the workspace everywhere.
struct LayerComputation {
  let backend: any Backend
  let configuration: DecoderConfiguration
  let layer: DecoderLayer
  let rotary: RotaryEmbedding
  let workspace: RowWorkspace
  /// What stands in for queries and keys when speed is measured without a trained model.
  var injection: (any QueryKeyInjection)?
  /// Counts the time of the linear layers; nil: nobody wants to know.
  var linearWatch: (any WorkStopwatch)?

  /// k, v = projections of norm(hidden), k rotated; stored in the cache.
  func storeKeysAndValues(
    of hidden: Tensor, in cache: KeyValueLayer, firstPosition: Int
  ) throws {
    try normalize(hidden, layer.inputNorm)
    try project(workspace.normed, layer.k, into: workspace.k)
    try project(workspace.normed, layer.v, into: workspace.v)
    try normalizeHeads(workspace.k, layer.headNorms?.k)
    try backend.rotate(workspace.k, rotary, firstPosition: firstPosition)
    try injection?.replaceKeys(workspace.k, firstPosition: firstPosition)
    try backend.store(k: workspace.k, v: workspace.v, in: cache, firstPosition: firstPosition)
  }

  /// [rows, queryHeads, headDim]: the projection of norm(hidden), rotated. Valid until the workspace is used again.
  func queries(of hidden: Tensor, firstPosition: Int) throws -> Tensor {
    try rotatedQueries(unturnedQueries(of: hidden), firstPosition: firstPosition)
  }

  /// The same of the rows whose keys and values were stored last: their norm is still there.
  func queriesOfStoredRows(firstPosition: Int) throws -> Tensor {
    try rotatedQueries(unturnedQueriesOfNormedRows(), firstPosition: firstPosition)
  }

  private func rotatedQueries(_ q: Tensor, firstPosition: Int) throws -> Tensor {
    try backend.rotate(q, rotary, firstPosition: firstPosition)
    try injection?.replaceQueries(q, firstPosition: firstPosition)
    return q
  }

  /// Queries before they are rotated.
  func unturnedQueries(of hidden: Tensor) throws -> Tensor {
    try normalize(hidden, layer.inputNorm)
    return try unturnedQueriesOfNormedRows()
  }

  private func unturnedQueriesOfNormedRows() throws -> Tensor {
    try project(workspace.normed, layer.q, into: workspace.q)
    try normalizeHeads(workspace.q, layer.headNorms?.q)
    return workspace.q
  }

  /// The same for rows at any positions, ascending.
  func queries(of hidden: Tensor, positions: [Int]) throws -> Tensor {
    let q = try unturnedQueries(of: hidden)
    for (rows, positions) in positions.consecutiveRanges {
      try backend.rotate(q.slice(rows: rows), rotary, firstPosition: positions.lowerBound)
    }
    return q
  }

  /// hidden += projection of the attention output, which stands where the queries stood.
  func addAttentionOutput(to hidden: Tensor) throws {
    try addProjection(of: workspace.q, layer.o, norm: layer.attentionOutputNorm, to: hidden)
  }

  /// hidden += feedForward(norm(hidden)).
  func addFeedForward(to hidden: Tensor) throws {
    try normalize(hidden, layer.postAttentionNorm)
    switch layer.feedForward {
    case .gated(let mlp): try add(mlp, to: hidden)
    case .experts(let experts): try add(experts, to: hidden)
    }
  }

  /// hidden += down(silu(gate(x)) * up(x)), x as the workspace holds it.
  func add(_ mlp: GatedMLP, to hidden: Tensor) throws {
    // Layers may differ in the width of their MLPs; the workspace has room for the widest.
    let width = mlp.gate.weight.rows
    let gate = workspace.gate.startingRows(width: width)
    let up = workspace.up.startingRows(width: width)
    let product = workspace.product?.startingRows(width: width)
    try project(workspace.normed, mlp.gate, into: gate)
    try project(workspace.normed, mlp.up, into: up)
    if let product {
      try backend.swiGLU(gate: gate, up: up, into: product)
    } else {
      try backend.swiGLU(gate: gate, up: up)
    }
    try addProjection(
      of: product ?? gate, mlp.down, norm: layer.feedForwardOutputNorm, to: hidden)
  }

  func normalize(_ x: Tensor, _ weight: Weight, into y: Tensor? = nil) throws {
    try backend.rmsNorm(
      x, weight: weight, epsilon: configuration.normEpsilon, into: y ?? workspace.normed)
  }

  /// Norm over each head of x, [rows, heads, headDim], in place.
  private func normalizeHeads(_ x: Tensor, _ weight: Weight?) throws {
    guard let weight else { return }
    let heads = x.reshaped([x.rows * x.shape[1], x.shape[2]])
    try backend.rmsNorm(heads, weight: weight, epsilon: configuration.normEpsilon, into: heads)
  }

  /// hidden += projection of x, or the norm of it.
  private func addProjection(
    of x: Tensor, _ projection: Projection, norm: Weight?, to hidden: Tensor
  ) throws {
    guard let norm else { return try project(x, projection, into: hidden, accumulate: true) }
    try project(x, projection, into: workspace.output)
    try normalize(workspace.output, norm, into: workspace.output)
    try backend.add(workspace.output, to: hidden)
  }

  private func project(
    _ x: Tensor, _ projection: Projection, into y: Tensor, accumulate: Bool = false
  ) throws {
    try timed {
      try backend.linear(
        x.reshaped([x.rows, x.rowCount]), weight: projection.weight, bias: projection.bias,
        into: y.reshaped([y.rows, y.rowCount]), accumulate: accumulate)
    }
  }

  /// Counts the time of work as that of linear layers.
  func timed(_ work: () throws -> Void) throws {
    if let linearWatch { try linearWatch.time(work) } else { try work() }
  }
}

extension Tensor {
  /// As many rows of `width` elements, from the start of this tensor's memory.
  func startingRows(width: Int) -> Tensor {
    precondition(width <= rowCount)
    return Tensor(buffer: buffer, byteOffset: byteOffset, type: type, shape: [rows, width])
  }
}
