/// One projection of all experts of a layer.
public struct ExpertWeights: Sendable {
  /// [out, in] of each expert, all of one shape. Where they lie is the business of the backend that
  /// prepared them.
  public let matrices: [Weight]

  /// - Precondition: There is one at least, and all have one shape of two extents.
  public init(_ matrices: [Weight]) {
    precondition(
      matrices.first?.shape.count == 2 && matrices.allSatisfy { $0.shape == matrices[0].shape })
    self.matrices = matrices
  }

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

  public var count: Int { matrices.count }
  public var outputs: Int { matrices[0].rows }
  public var inputs: Int { matrices[0].rowCount }
  public var format: TensorFormat { matrices[0].format }
}
