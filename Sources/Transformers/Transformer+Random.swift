package import Checkpoints
package import Compute

extension Transformer {
  /// A model of a checkpoint's shape with made-up weights, for measuring speed: what it says means
  /// nothing.
  ///
  /// - Throws: ``TransformerError``, `ComputeError`.
  package convenience init(
    shapeOf checkpoint: any WeightSource, backend: any SyntheticBackend, seed: UInt64,
    part: DecoderPart? = nil
  ) throws {
    let family = try DecoderFamily.of(checkpoint)
    let decoder = try family.configure(checkpoint)
    self.init(
      configuration: checkpoint.configuration, backend: backend, decoder: decoder,
      weights: try DecoderWeights(
        random: decoder, names: family.weights, backend: backend, seed: seed,
        part: part ?? DecoderPart(allOf: decoder.layers)))
  }
}

extension DecoderWeights {
  /// Matrices of small about normal numbers, norms of ones; no biases but where the family has them.
  fileprivate init(
    random configuration: DecoderConfiguration, names: WeightTable,
    backend: any SyntheticBackend, seed: UInt64, part: DecoderPart
  ) throws {
    let hasHeadNorms = configuration.hasHeadNorms && names.headNorms != nil
    // Numbers of a layer do not depend on the part that it is made for.
    var number = seed
    func matrix(_ rows: Int, _ columns: Int, _ role: WeightRole) throws -> Weight {
      number &+= 1
      return try backend.prepare(
        backend.makeRandom(
          backend.activationType, [rows, columns], deviation: 0.02, seed: number,
          purpose: "random weights"), as: role)
    }
    func vector(_ count: Int, _ value: Float, _ role: WeightRole = .norm) throws -> Weight {
      let tensor = try backend.makeTensor(.float32, [count], purpose: "random weights")
      try backend.write(Array(repeating: value, count: count), to: tensor)
      return try backend.prepare(tensor, as: role)
    }
    func projection(_ outputs: Int, _ inputs: Int, biased: Bool) throws -> Projection {
      Projection(
        weight: try matrix(outputs, inputs, .matrix),
        bias: biased ? try vector(outputs, 0, .bias) : nil)
    }
    func gated(_ width: Int) throws -> GatedMLP {
      GatedMLP(
        gate: try projection(width, hidden, biased: biases.mlp),
        up: try projection(width, hidden, biased: biases.mlp),
        down: try projection(hidden, width, biased: biases.mlp))
    }
    func stack(_ count: Int, _ outputs: Int, _ inputs: Int) throws -> ExpertWeights {
      number &+= 1
      return try backend.prepareExperts(
        backend.makeRandom(
          backend.activationType, [count, outputs, inputs], deviation: 0.02, seed: number,
          purpose: "random weights"))
    }
    func feedForward(_ layer: Int, _ expertLayers: ExpertLayers?) throws -> FeedForward {
      guard let experts = expertLayers, experts.hasExperts[layer] else {
        return .gated(try gated(configuration.intermediateSize))
      }
      let (count, width) = (experts.rule.experts, experts.width)
      return .experts(
        ExpertMLP(
          router: Projection(
            weight: try matrix(count, hidden, .vocabulary),
            bias: try backend.prepare(
              popularity(of: count, seed: number, backend: backend), as: .bias)),
          choiceBias: names.experts.choiceBias == nil ? nil : try vector(count, 0),
          gate: try stack(count, width, hidden), up: try stack(count, width, hidden),
          down: try stack(count, hidden, width),
          shared: experts.sharedWidth > 0 ? try gated(experts.sharedWidth) : nil))
    }
    let hidden = configuration.hiddenSize
    let biases = configuration.biases
    let isOutputTied = configuration.isOutputTied
    let vocabulary =
      part.hasEmbedding || part.hasOutput && isOutputTied
      ? try matrix(configuration.vocabularySize, hidden, .vocabulary) : nil
    let layers = try part.layers.map { layer in
      number = seed &+ UInt64(layer + 1) << 32
      return DecoderLayer(
        inputNorm: try vector(hidden, 1),
        q: try projection(configuration.queryWidth, hidden, biased: biases.qkv),
        k: try projection(configuration.keyValueWidth, hidden, biased: biases.qkv),
        v: try projection(configuration.keyValueWidth, hidden, biased: biases.qkv),
        headNorms: hasHeadNorms
          ? (try vector(configuration.headDim, 1), try vector(configuration.headDim, 1)) : nil,
        o: try projection(hidden, configuration.queryWidth, biased: biases.o),
        attentionOutputNorm: nil, postAttentionNorm: try vector(hidden, 1),
        feedForward: try feedForward(layer, configuration.experts),
        feedForwardOutputNorm: nil)
    }
    number = seed &+ UInt64(configuration.layers + 1) << 32
    self.init(
      part: part, embedding: part.hasEmbedding ? vocabulary : nil, layers: layers,
      head: part.hasOutput
        ? OutputHead(
          norm: try vector(hidden, 1),
          output: Projection(
            weight: try (isOutputTied ? vocabulary : nil)
              ?? matrix(configuration.vocabularySize, hidden, .vocabulary), bias: nil)) : nil)
  }
}

/// Added to the logits of a made-up router: some experts are asked far more often than others, as in
/// trained models; a router of random numbers alone would make all groups about equal. With this
/// deviation the largest of 128 groups is several times the mean.
private func popularity(
  of experts: Int, seed: UInt64, backend: any SyntheticBackend
) throws -> Tensor {
  var random = SplitMix64(seed: seed)
  let values = (0..<experts).map { _ in
    // The sum of twelve uniform numbers less six is about normal.
    routerSpread
      * ((0..<12).reduce(Float(-6)) { sum, _ in sum + Float.random(in: 0..<1, using: &random) })
  }
  let tensor = try backend.makeTensor(.float32, [experts], purpose: "random weights")
  try backend.write(values, to: tensor)
  return tensor
}

private let routerSpread: Float = 0.4
