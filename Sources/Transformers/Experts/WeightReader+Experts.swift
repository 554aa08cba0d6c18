import Checkpoints
import Compute

extension WeightReader {
  /// The feed-forward of one layer: experts in the layers that have them, else a gated MLP of the
  /// configured intermediate size.
  ///
  /// - Parameters:
  ///   - prefix: Of the layer's tensors.
  ///   - intermediate: Of a gated MLP.
  func feedForward(
    _ table: WeightTable, _ prefix: String, _ intermediate: Int,
    _ configuration: DecoderConfiguration, layer: Int
  ) throws -> FeedForward {
    let hidden = configuration.hiddenSize
    guard let experts = configuration.experts, experts.hasExperts[layer] else {
      let biased = configuration.biases.mlp
      let gateUp = try projections(
        table.gateUp, prefix, outputs: [intermediate, intermediate], hidden, biased: biased)
      return .gated(
        GatedMLP(
          gate: gateUp[0], up: gateUp[1],
          down: try projection(prefix + table.down, hidden, intermediate, biased: biased)))
    }
    let names = table.experts
    let count = experts.rule.experts
    let stem = prefix + names.stem
    let (gate, up) = try gateAndUp(
      names, stem, count: count, outputs: experts.width, inputs: hidden)
    func biased(
      _ weights: ExpertWeights, _ name: String, _ outputs: Int
    ) throws -> ExpertWeights {
      guard experts.isBiased else { return weights }
      return weights.with(
        bias: try weight("\(stem).\(name).bias", [count, outputs], .norm))
    }
    return .experts(
      ExpertMLP(
        router: Projection(
          weight: try weight(prefix + names.router + ".weight", [count, hidden], .vocabulary),
          bias: nil),
        routingBias: try names.routingBias.map { try norm(prefix + $0, count) },
        gate: try biased(gate, names.gate, experts.width),
        up: try biased(up, names.up, experts.width),
        down: try biased(
          matrices(names.down, stem, count: count, outputs: hidden, inputs: experts.width),
          names.down, hidden),
        shared: try shared(names, prefix, hidden: hidden, width: experts.sharedWidth)))
  }

  private func shared(
    _ names: ExpertNames, _ prefix: String, hidden: Int, width: Int
  ) throws -> GatedMLP? {
    guard let shared = names.shared, width > 0 else { return nil }
    let stem = prefix + shared + "."
    return GatedMLP(
      gate: try projection(stem + names.gate, width, hidden, biased: false),
      up: try projection(stem + names.up, width, hidden, biased: false),
      down: try projection(stem + names.down, hidden, width, biased: false))
  }

  private func gateAndUp(
    _ names: ExpertNames, _ stem: String, count: Int, outputs: Int, inputs: Int
  ) throws -> (gate: ExpertWeights, up: ExpertWeights) {
    let fused = stem + "." + names.gateUp
    // gpt-oss fuses them in an order of its own, of which its checkpoints make two tensors.
    guard checkpoint.contains(fused), !checkpoint.contains("\(stem).\(names.gate).weight") else {
      return (
        try matrices(names.gate, stem, count: count, outputs: outputs, inputs: inputs),
        try matrices(names.up, stem, count: count, outputs: outputs, inputs: inputs)
      )
    }
    func half(_ first: Int, of tensors: [String]) throws -> ExpertWeights {
      try experts(count, shape: [outputs, inputs], of: tensors) {
        let whole = try finite(fused, [count, 2 * outputs, inputs])
        return try backend.prepareExperts(count) { expert in
          try whole.matrix(expert, rows: first..<first + outputs)
        }
      }
    }
    return (try half(0, of: []), try half(outputs, of: [fused]))
  }

  /// One projection of all experts, from whichever layout is there.
  private func matrices(
    _ name: String, _ stem: String, count: Int, outputs: Int, inputs: Int
  ) throws -> ExpertWeights {
    for stacked in ["\(stem).\(name).weight", "\(stem).\(name)"] where checkpoint.contains(stacked)
    {
      return try experts(count, shape: [outputs, inputs], of: [stacked]) {
        let whole = try finite(stacked, [count, outputs, inputs])
        return try backend.prepareExperts(count) { try whole.matrix($0, rows: 0..<outputs) }
      }
    }
    let single = (0..<count).map { "\(stem).\($0).\(name).weight" }
    return try experts(count, shape: [outputs, inputs], of: single) {
      try backend.prepareExperts(count) {
        try finite(single[$0], [outputs, inputs], keepsFloat8: keepsFloat8)
      }
    }
  }
}

extension StoredTensor {
  /// Rows of one of the matrices of a tensor of three extents.
  fileprivate func matrix(_ index: Int, rows: Range<Int>) throws -> StoredTensor {
    let rowBytes = bytes.count / (shape[0] * shape[1])
    let first = (index * shape[1] + rows.lowerBound) * rowBytes
    return try StoredTensor(
      name: name,
      bytes: UnsafeRawBufferPointer(rebasing: bytes[first..<first + rows.count * rowBytes]),
      format: format, shape: [rows.count, shape[2]], owner: owner)
  }
}
