/// Mixtures of experts: routing of rows, and products of each row with the matrices of its experts.
public protocol ExpertOperations: AnyObject, Sendable {
  /// One projection of all experts of a layer.
  ///
  /// - Parameters:
  ///   - count: How many experts there are.
  ///   - matrix: The stored matrix of one expert, [out, in]; asked for in order, each once.
  /// - Throws: As ``WeightOperations/prepare(_:as:)``, and what `matrix` throws.
  func prepareExperts(
    _ count: Int, _ matrix: (_ expert: Int) throws -> StoredTensor
  ) throws -> ExpertWeights

  /// The same from numbers that this backend holds already, [experts, out, in].
  func prepareExperts(_ numbers: Tensor) throws -> ExpertWeights

  /// Chooses experts for each row and orders the choices by expert.
  ///
  /// - Parameters:
  ///   - logits: [rows, experts] float32, of the router.
  ///   - bias: [experts], prepared as a norm is; nil: none. See ``RoutingRule/choose(logits:bias:)``.
  ///   - routing: Filled for as many rows.
  func route(_ logits: Tensor, bias: Weight?, into routing: ExpertRouting) throws

  /// y[p] = x[source of p] for every position p, bit for bit. x: [rows, width]; y: [positions, width],
  /// both of ``LayerOperations/makeLinearInput(_:purpose:)``.
  func gatherRows(_ x: Tensor, by routing: ExpertRouting, into y: Tensor) throws

  /// y[p] = activation(x[p] * transpose(gate of p's expert), x[p] * transpose(up of p's expert)), the biases
  /// of both added to their products. x: [positions, in], as gathered; y: [positions, out] of the
  /// activations' type.
  func gatedExperts(
    _ x: Tensor, gate: ExpertWeights, up: ExpertWeights, activation: GatedActivation,
    by routing: ExpertRouting, into y: Tensor
  ) throws

  /// y[p] = x[p] * transpose(matrix of p's expert) + its bias. x: [positions, in] of the activations' type;
  /// y: [positions, out] of the same.
  func expertLinear(
    _ x: Tensor, weight: ExpertWeights, by routing: ExpertRouting, into y: Tensor) throws

  /// y[r] += the sum over j, in order, of weight (r, j) * x[place of (r, j)], added up in float32 or
  /// better and rounded once. x: [positions, width]; y: [rows, width].
  func addExperts(_ x: Tensor, by routing: ExpertRouting, to y: Tensor) throws

  /// Rows that each expert got. Waits.
  func expertCounts(_ routing: ExpertRouting) throws -> [Int]
}

extension ExpertOperations {
  /// Gated experts with silu.
  public func gatedExperts(
    _ x: Tensor, gate: ExpertWeights, up: ExpertWeights, by routing: ExpertRouting, into y: Tensor
  ) throws {
    try gatedExperts(x, gate: gate, up: up, activation: .silu, by: routing, into: y)
  }
}

extension ExpertRouting {
  /// The check that every ``ExpertOperations/route(_:bias:into:)`` begins with.
  package func require(logits: Tensor, bias: Weight?) throws {
    guard rule.isValid, logits.shape == [rows, rule.experts], logits.type == .float32,
      bias.map({ $0.count == rule.experts }) ?? true
    else {
      throw ComputeError.shapeMismatch(
        operation: "route",
        detail: "logits \(logits.type) \(logits.shape), bias \(bias?.shape ?? []), \(rows) rows, "
          + "\(rule)")
    }
  }

  /// The check that products with experts begin with.
  package func requireProduct(
    _ operation: String, _ x: Tensor, _ weights: [ExpertWeights], _ y: Tensor
  ) throws {
    guard x.rows == positions, y.rows == positions,
      weights.allSatisfy({
        $0.count == rule.experts && $0.inputs == x.rowCount && $0.outputs == y.rowCount
      })
    else {
      throw ComputeError.shapeMismatch(
        operation: operation,
        detail: "x \(x.shape), y \(y.shape), \(positions) positions, "
          + weights.map { "\($0.count) experts of \($0.outputs) x \($0.inputs)" }
          .joined(separator: ", "))
    }
  }

  /// The check that gathering (`wide` has the positions) and adding begin with.
  package func requireRows(_ operation: String, rows narrow: Tensor, positions wide: Tensor) throws
  {
    guard narrow.rows == rows, wide.rows == positions, narrow.rowCount == wide.rowCount else {
      throw ComputeError.shapeMismatch(
        operation: operation,
        detail: "\(narrow.shape) for \(rows) rows, \(wide.shape) for \(positions) positions")
    }
  }
}
