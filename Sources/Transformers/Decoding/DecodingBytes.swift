package import Compute

/// The bytes of memory that a decoding step reads at least.
package struct DecodingBytes: Sendable, Equatable {
  /// Matrices, each once; of experts those that rows are sent to.
  package var weights: Int
  package var keysAndValues: Int

  package var total: Int { weights + keysAndValues }
}

extension Transformer {
  /// What a step of sequences of these lengths reads, in caches of this type.
  ///
  /// Of experts it counts those that would be asked if rows chose among all with equal chances.
  package func decodingBytes(lengths: [Int], type: DataType) throws -> DecodingBytes {
    var bytes = DecodingBytes(weights: 0, keysAndValues: 0)
    for layer in part.layers {
      let own = weights[layer]
      for projection in [own.q, own.k, own.v, own.o] { bytes.weights += projection.weight.bytes }
      switch own.feedForward {
      case .gated(let mlp): bytes.weights += mlp.bytes
      case .experts(let experts):
        let rule = decoder.experts?.rule
        let share = Double(rule?.perRow ?? 0) / Double(max(1, rule?.experts ?? 1))
        var missed = 1.0
        for _ in lengths { missed *= 1 - share }
        let all = [experts.gate, experts.up, experts.down]
          .reduce(0) { $0 + $1.count * $1.matrices[0].bytes }
        bytes.weights += Int(Double(all) * (1 - missed))
        bytes.weights += experts.router.weight.bytes + (experts.shared?.bytes ?? 0)
      }
      let shape = decoder.attention[layer]
      for length in lengths {
        bytes.keysAndValues +=
          2 * min(length, shape.slidingWindow ?? .max) * shape.keyValueHeads * shape.headDim
          * type.byteCount
      }
    }
    bytes.weights += try weights.requireHead().output.weight.bytes
    return bytes
  }
}

extension Weight {
  /// Of its elements and of what they are multiplied with.
  fileprivate var bytes: Int {
    rows * (format.rowByteCount(rowCount) ?? 0) + (scales?.byteCount ?? 0)
      + (blockScales?.values.byteCount ?? 0)
  }
}

extension GatedMLP {
  fileprivate var bytes: Int { [gate, up, down].reduce(0) { $0 + $1.weight.bytes } }
}
