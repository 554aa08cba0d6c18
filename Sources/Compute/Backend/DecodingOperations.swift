/// A layer of a decoding step: row r is the next token of sequence r, each sequence with keys and values of
/// its own.
///
/// Steps are bound by memory and by launches, so what belongs together is one operation. What a row gives
/// does not depend on the rows beside it. On processors that holds bit for bit.
public protocol DecodingOperations: AnyObject, Sendable {
  /// y = norm(x) * transpose(weight) + bias of each product. x: [rows, in].
  ///
  /// - Parameter normed: [rows, in] of ``LayerOperations/makeLinearInput(_:purpose:)``: a place for norm(x),
  ///   which may be left as it was.
  func normedLinear(
    _ x: Tensor, norm: RowNorm, normed: Tensor, products: [RowProduct]) throws

  /// silu(gate) * up, where gate and up are products as of ``normedLinear(_:norm:normed:products:)``.
  ///
  /// - Parameters:
  ///   - gate: Its y may be overwritten by anything, and so may that of `up`.
  ///   - input: [rows, intermediate] of ``LayerOperations/makeLinearInput(_:purpose:)`` where that is narrower
  ///     than activations.
  /// - Returns: What goes into ``rowLinear(_:weight:bias:into:accumulate:)``: the y of `gate`, or `input`.
  func gatedLinear(
    _ x: Tensor, norm: RowNorm, normed: Tensor, gate: RowProduct, up: RowProduct, input: Tensor?
  ) throws -> Tensor

  /// As ``LayerOperations/linear(_:weight:bias:into:accumulate:)``; a row is the same whatever rows are beside it.
  func rowLinear(
    _ x: Tensor, weight: Weight, bias: Weight?, into y: Tensor, accumulate: Bool) throws

  /// Norms the heads of q and k where there are norms, turns row r of both as one that stands at
  /// positions[r], and stores row r of k and v at that position of sequences[r].
  ///
  /// - Parameters:
  ///   - q: [rows, queryHeads, headDim]; changed in place.
  ///   - k: [rows, keyValueHeads, headDim], as v; may be overwritten.
  ///   - rotaries: One for each row.
  ///   - sequences: One layer of each sequence, open for ``KeyValueAccess/decode``; of one type.
  func storeRows(
    q: Tensor, k: Tensor, v: Tensor, headNorms: HeadNorms?, rotaries: [RotaryEmbedding],
    in sequences: [KeyValueLayer], positions: [Int]) throws

  /// Dense causal attention: row r sees keys j <= positions[r] of sequences[r], and of the window. q, o:
  /// [rows, queryHeads, headDim]; they may be the same tensor.
  func rowAttention(
    q: Tensor, positions: [Int], sequences: [KeyValueLayer], shape: AttentionShape, into o: Tensor)
    throws

  /// ``normedLinear(_:norm:normed:products:)`` of the products that give q, k and v, and
  /// ``storeRows(q:k:v:headNorms:rotaries:in:positions:)`` of these.
  func storeProjections(
    of x: Tensor, norm: RowNorm, normed: Tensor, products: [RowProduct], heads: ProjectedHeads,
    in sequences: [KeyValueLayer], positions: [Int]) throws

  /// ``rowAttention(q:positions:sequences:shape:into:)`` into q, and
  /// ``rowLinear(_:weight:bias:into:accumulate:)`` of the result. q may be left as it was.
  func rowAttention(
    q: Tensor, positions: [Int], sequences: [KeyValueLayer], shape: AttentionShape,
    projection: RowProduct, accumulate: Bool) throws

  /// hidden += what the experts of each row give for norm(hidden), times their weights, and what a shared
  /// expert gives.
  ///
  /// - Parameters:
  ///   - hidden: [rows, hidden].
  ///   - space: For as many rows.
  func addExperts(
    to hidden: Tensor, norm: RowNorm, experts: RoutedExperts, in space: ExpertPlaces) throws
}

extension DecodingOperations {
  public func storeProjections(
    of x: Tensor, norm: RowNorm, normed: Tensor, products: [RowProduct], heads: ProjectedHeads,
    in sequences: [KeyValueLayer], positions: [Int]
  ) throws {
    try normedLinear(x, norm: norm, normed: normed, products: products)
    try storeRows(
      q: heads.q, k: heads.k, v: heads.v, headNorms: heads.norms, rotaries: heads.rotaries,
      in: sequences, positions: positions)
  }

  public func rowAttention(
    q: Tensor, positions: [Int], sequences: [KeyValueLayer], shape: AttentionShape,
    projection: RowProduct, accumulate: Bool
  ) throws {
    try rowAttention(q: q, positions: positions, sequences: sequences, shape: shape, into: q)
    try rowLinear(
      q.reshaped([q.rows, q.rowCount]), weight: projection.weight, bias: projection.bias,
      into: projection.y, accumulate: accumulate)
  }
}

/// The heads that three projections of rows give, and what becomes of them.
public struct ProjectedHeads: Sendable {
  /// [rows, queryHeads, headDim]
  public var q: Tensor
  /// [rows, keyValueHeads, headDim], as `v`.
  public var k: Tensor
  public var v: Tensor
  /// nil: heads have no norms.
  public var norms: HeadNorms?
  /// One for each row.
  public var rotaries: [RotaryEmbedding]

  public init(q: Tensor, k: Tensor, v: Tensor, norms: HeadNorms?, rotaries: [RotaryEmbedding]) {
    self.q = q
    self.k = k
    self.v = v
    self.norms = norms
    self.rotaries = rotaries
  }
}

/// The root mean square norm of a row.
public struct RowNorm: Sendable {
  /// [width]
  public var weight: Weight
  public var epsilon: Float

  public init(weight: Weight, epsilon: Float) {
    self.weight = weight
    self.epsilon = epsilon
  }
}

/// The norms of the heads of queries and keys, [headDim] each.
public struct HeadNorms: Sendable {
  public var q: Weight
  public var k: Weight
  public var epsilon: Float

  public init(q: Weight, k: Weight, epsilon: Float) {
    self.q = q
    self.k = k
    self.epsilon = epsilon
  }
}

/// One of the products of a row: a linear layer and where its result goes.
public struct RowProduct: Sendable {
  /// [out, in]
  public var weight: Weight
  /// [out]
  public var bias: Weight?
  /// [rows, out]
  public var y: Tensor

  public init(weight: Weight, bias: Weight?, y: Tensor) {
    self.weight = weight
    self.bias = bias
    self.y = y
  }
}

/// The experts of a layer.
public struct RoutedExperts: Sendable {
  /// [experts, hidden]
  public var router: Weight
  /// [experts]; nil: none.
  public var routerBias: Weight?
  /// [experts]; see ``ExpertOperations/route(_:bias:into:)``.
  public var routingBias: Weight?
  public var gate: ExpertWeights
  public var up: ExpertWeights
  public var down: ExpertWeights
  public var activation: GatedActivation
  /// nil: there is none.
  public var shared: SharedExpert?

  public init(
    router: Weight, routerBias: Weight?, routingBias: Weight?, gate: ExpertWeights,
    up: ExpertWeights, down: ExpertWeights, activation: GatedActivation = .silu,
    shared: SharedExpert?
  ) {
    self.router = router
    self.routerBias = routerBias
    self.routingBias = routingBias
    self.gate = gate
    self.up = up
    self.down = down
    self.activation = activation
    self.shared = shared
  }
}

/// An expert that every row passes.
public struct SharedExpert: Sendable {
  public var gate: RowProduct
  public var up: RowProduct
  /// As in ``DecodingOperations/gatedLinear(_:norm:normed:gate:up:input:)``.
  public var input: Tensor?
  /// [hidden, intermediate]
  public var down: Weight
  /// [hidden]
  public var downBias: Weight?

  public init(
    gate: RowProduct, up: RowProduct, input: Tensor?, down: Weight, downBias: Weight?
  ) {
    self.gate = gate
    self.up = up
    self.input = input
    self.down = down
    self.downBias = downBias
  }
}

/// Where a layer with experts has its intermediate results.
public struct ExpertPlaces: Sendable {
  /// [rows, hidden] of the activations' type, and of ``LayerOperations/makeLinearInput(_:purpose:)``; one
  /// tensor where the types are.
  public var x: Tensor
  public var normed: Tensor
  /// [rows, experts] float32.
  public var logits: Tensor
  public var routing: ExpertRouting
  /// [positions, hidden] of ``LayerOperations/makeLinearInput(_:purpose:)``.
  public var inputs: Tensor
  /// [positions, intermediate].
  public var products: Tensor
  /// [positions, hidden]; may be `inputs`.
  public var outputs: Tensor

  public init(
    x: Tensor, normed: Tensor, logits: Tensor, routing: ExpertRouting, inputs: Tensor,
    products: Tensor, outputs: Tensor
  ) {
    self.x = x
    self.normed = normed
    self.logits = logits
    self.routing = routing
    self.inputs = inputs
    self.products = products
    self.outputs = outputs
  }
}

/// A backend that computes decoding steps by the operations of a layer, row by row where rows are of
/// several sequences.
///
/// No operation of a backend has a default: a backend says that it has no decoding kernels of its own by
/// conforming to this.
public protocol SeparateDecoding: DecodingOperations, LayerOperations, AttentionOperations,
  ExpertOperations
{}

extension SeparateDecoding {
  public func normedLinear(
    _ x: Tensor, norm: RowNorm, normed: Tensor, products: [RowProduct]
  ) throws {
    try rmsNorm(x, weight: norm.weight, epsilon: norm.epsilon, into: normed)
    for product in products {
      try rowLinear(
        normed, weight: product.weight, bias: product.bias, into: product.y, accumulate: false)
    }
  }

  public func gatedLinear(
    _ x: Tensor, norm: RowNorm, normed: Tensor, gate: RowProduct, up: RowProduct, input: Tensor?
  ) throws -> Tensor {
    try normedLinear(x, norm: norm, normed: normed, products: [gate, up])
    if let input {
      try swiGLU(gate: gate.y, up: up.y, into: input)
      return input
    }
    // Row by row: vectors begin where they begin for a row alone.
    for row in 0..<x.rows {
      try swiGLU(gate: gate.y.slice(rows: row..<row + 1), up: up.y.slice(rows: row..<row + 1))
    }
    return gate.y
  }

  public func rowLinear(
    _ x: Tensor, weight: Weight, bias: Weight?, into y: Tensor, accumulate: Bool
  ) throws {
    try linear(x, weight: weight, bias: bias, into: y, accumulate: accumulate)
  }

  public func storeRows(
    q: Tensor, k: Tensor, v: Tensor, headNorms: HeadNorms?, rotaries: [RotaryEmbedding],
    in sequences: [KeyValueLayer], positions: [Int]
  ) throws {
    try requireDecodingRows(
      "storeRows", rows: [q.rows, k.rows, v.rows, rotaries.count], positions, sequences)
    if let headNorms {
      for (x, weight) in [(q, headNorms.q), (k, headNorms.k)] {
        let heads = x.reshaped([x.rows * x.shape[1], x.shape[2]])
        try rmsNorm(heads, weight: weight, epsilon: headNorms.epsilon, into: heads)
      }
    }
    for (row, position) in positions.enumerated() {
      let rows = row..<row + 1
      try rotate(q.slice(rows: rows), rotaries[row], firstPosition: position)
      try rotate(k.slice(rows: rows), rotaries[row], firstPosition: position)
      try store(
        k: k.slice(rows: rows), v: v.slice(rows: rows), in: sequences[row],
        firstPosition: position)
    }
  }

  public func rowAttention(
    q: Tensor, positions: [Int], sequences: [KeyValueLayer], shape: AttentionShape, into o: Tensor
  ) throws {
    try requireDecodingRows("rowAttention", rows: [q.rows, o.rows], positions, sequences)
    for (row, position) in positions.enumerated() {
      let rows = row..<row + 1
      try rowAttention(
        q: q.slice(rows: rows), positions: [position], layer: sequences[row], shape: shape,
        into: o.slice(rows: rows), logSumExp: nil)
    }
  }
}

extension SeparateDecoding {
  /// Row by row: products with an expert's matrices may depend on how many rows it has.
  public func addExperts(
    to hidden: Tensor, norm: RowNorm, experts: RoutedExperts, in space: ExpertPlaces
  ) throws {
    for row in 0..<hidden.rows {
      var experts = experts
      if let shared = experts.shared {
        let rows = row..<row + 1
        experts.shared?.gate.y = shared.gate.y.slice(rows: rows)
        experts.shared?.up.y = shared.up.y.slice(rows: rows)
        experts.shared?.input = shared.input?.slice(rows: rows)
      }
      try addExpertsTogether(
        to: hidden.slice(rows: row..<row + 1), norm: norm, experts: experts, in: space.prefix(1))
    }
  }
}

extension DecodingOperations where Self: LayerOperations & ExpertOperations {
  /// The same by the operations of a layer, all rows at once.
  package func addExpertsTogether(
    to hidden: Tensor, norm: RowNorm, experts: RoutedExperts, in space: ExpertPlaces
  ) throws {
    try rmsNorm(hidden, weight: norm.weight, epsilon: norm.epsilon, into: space.normed)
    // Routers read activations, whatever linear layers read.
    let isNarrow = space.normed.type != hidden.type
    if isNarrow {
      try rmsNorm(hidden, weight: norm.weight, epsilon: norm.epsilon, into: space.x)
    }
    try linear(
      isNarrow ? space.x : space.normed, weight: experts.router, bias: experts.routerBias,
      into: space.logits, accumulate: false)
    try route(space.logits, bias: experts.routingBias, into: space.routing)
    try gatherRows(space.normed, by: space.routing, into: space.inputs)
    try gatedExperts(
      space.inputs, gate: experts.gate, up: experts.up, activation: experts.activation,
      by: space.routing, into: space.products)
    try expertLinear(
      space.products, weight: experts.down, by: space.routing, into: space.outputs)
    if let shared = experts.shared {
      let input = try gatedLinear(
        hidden, norm: norm, normed: space.normed, gate: shared.gate, up: shared.up,
        input: shared.input)
      try rowLinear(
        input, weight: shared.down, bias: shared.downBias, into: hidden, accumulate: true)
    }
    try addExperts(space.outputs, by: space.routing, to: hidden)
  }
}

extension ExpertPlaces {
  /// The same for the first rows.
  package func prefix(_ rows: Int) -> ExpertPlaces {
    let routing = routing.prefix(rows)
    let positions = 0..<routing.positions
    return ExpertPlaces(
      x: x.slice(rows: 0..<rows), normed: normed.slice(rows: 0..<rows),
      logits: logits.slice(rows: 0..<rows), routing: routing,
      inputs: inputs.slice(rows: positions), products: products.slice(rows: positions),
      outputs: outputs.slice(rows: positions))
  }
}

/// The check that operations of decoding steps begin with: as many rows, positions and sequences, of one
/// type.
package func requireDecodingRows(
  _ operation: String, rows: [Int], _ positions: [Int], _ sequences: [KeyValueLayer]
) throws {
  let type = sequences.first?.keys.type
  try require(
    rows.allSatisfy { $0 == positions.count } && sequences.count == positions.count
      && sequences.allSatisfy { $0.keys.type == type }
      && zip(positions, sequences).allSatisfy { (0..<$1.count).contains($0) }, operation,
    "\(rows) rows, \(positions.count) positions, \(sequences.count) sequences of "
      + "\(Set(sequences.map(\.keys.type.rawValue)).sorted())")
}
