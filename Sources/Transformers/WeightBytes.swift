import Compute

extension Transformer {
  /// Bytes that the weights of this part's layers take, in the formats in which the backend keeps them.
  package var layerByteCount: Int { weights.part.layers.reduce(0) { $0 + weights[$1].byteCount } }
}

extension Weight {
  fileprivate var byteCount: Int {
    rows * (format.rowByteCount(rowCount) ?? 0) + (scales?.byteCount ?? 0)
      + (blockScales?.values.byteCount ?? 0)
  }
}

extension Projection {
  fileprivate var byteCount: Int { weight.byteCount + (bias?.byteCount ?? 0) }
}

extension GatedMLP {
  fileprivate var byteCount: Int { gate.byteCount + up.byteCount + down.byteCount }
}

extension FeedForward {
  fileprivate var byteCount: Int {
    switch self {
    case .gated(let mlp): mlp.byteCount
    case .experts(let mlp):
      [mlp.gate, mlp.up, mlp.down].reduce(0) { sum, stack in
        sum + stack.matrices.reduce(0) { $0 + $1.byteCount }
      } + mlp.router.byteCount + (mlp.shared?.byteCount ?? 0)
    }
  }
}

extension DecoderLayer {
  fileprivate var byteCount: Int {
    inputNorm.byteCount + postAttentionNorm.byteCount + q.byteCount + k.byteCount + v.byteCount
      + o.byteCount + feedForward.byteCount
  }
}
