/// One projection of all experts of a layer.
public struct ExpertWeights: Sendable {
  /// [out, in] of each expert, all of one shape. Where they lie is the business of the backend that
  /// prepared them.
  public let matrices: [Weight]
  /// [experts, out], prepared as a norm is: what is added to the outputs of each; nil: nothing.
  public let bias: Weight?

  /// - Precondition: There is one at least, and all have one shape of two extents; a bias is of that shape.
  public init(_ matrices: [Weight], bias: Weight? = nil) {
    precondition(
      matrices.first?.shape.count == 2 && matrices.allSatisfy { $0.shape == matrices[0].shape })
    precondition(bias.map { $0.shape == [matrices.count, matrices[0].rows] } ?? true)
    self.matrices = matrices
    self.bias = bias
  }

  /// The same matrices with a bias of each.
  public func with(bias: Weight?) -> ExpertWeights { ExpertWeights(matrices, bias: bias) }

  /// Slices of a weight that holds all, [experts, out, in].
  public init(stacked whole: Weight) {
    precondition(whole.shape.count == 3)
    self.init(
      (0..<whole.rows).map { expert in
        let matrix = whole.slice(rows: expert..<expert + 1)
        return Weight(
          storage: matrix.storage, byteOffset: matrix.byteOffset, format: matrix.format,
          scales: matrix.scales.map { $0.reshaped([whole.shape[1]]) },
          shape: Array(whole.shape.dropFirst()))
      })
  }

  /// What is added to the outputs of one expert, [out]; nil: nothing.
  public func bias(ofExpert expert: Int) -> Weight? {
    guard let row = bias?.slice(rows: expert..<expert + 1) else { return nil }
    return Weight(
      storage: row.storage, byteOffset: row.byteOffset, format: row.format, shape: [outputs])
  }

  public var count: Int { matrices.count }
  public var outputs: Int { matrices[0].rows }
  public var inputs: Int { matrices[0].rowCount }
  public var format: TensorFormat { matrices[0].format }
}
