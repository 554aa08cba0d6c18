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

extension Transformer {
  /// A cache of made-up keys and values: what decoding behind a long prompt costs, without reading one.
  ///
  /// - Throws: As ``makeCache(capacity:keyValues:sequenceLength:chunk:planner:layers:)``.
  package func makeRandomCache(
    count: Int, capacity: Int, keyValues: KeyValueOptions, backend: any SyntheticBackend
  ) throws -> KeyValueCache {
    let cache = try makeCache(capacity: capacity, keyValues: keyValues, chunk: 4096)
    let numbers = try backend.makeRandom(
      .bfloat16, cache.extents, deviation: 1, seed: 5, purpose: "made-up keys and values")
    cache.beginRestoring(sequenceLength: count)
    for layer in cache.layers {
      try cache.withLayer(layer, count: count, for: .prefill) { keysAndValues in
        try backend.copy(numbers, to: keysAndValues.keys)
        try backend.copy(numbers, to: keysAndValues.values)
      }
    }
    cache.finishRestoring(count: count)
    return cache
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
    // Rows of unequal size: some experts are asked far more often than others, as in trained models; rows
    // alike would make all groups about equal. The largest of 128 groups is more than twice the mean so.
    func router(_ count: Int) throws -> Weight {
      let rows = try backend.makeRandom(
        backend.activationType, [count, hidden], deviation: 0.02, seed: number &+ 1,
        purpose: "random weights")
      number &+= 1
      var random = SplitMix64(seed: number)
      let sizes = (0..<count).map { _ in Float.random(in: 0.5..<1.5, using: &random) }
      let values = try backend.read(rows).enumerated().map { $1 * sizes[$0 / hidden] }
      try backend.write(values, to: rows)
      return try backend.prepare(rows, as: .vocabulary)
    }
    func feedForward(_ layer: Int, _ expertLayers: ExpertLayers?) throws -> FeedForward {
      guard let experts = expertLayers, experts.hasExperts[layer] else {
        return .gated(try gated(configuration.intermediateSize))
      }
      let (count, width) = (experts.rule.experts, experts.width)
      return .experts(
        ExpertMLP(
          router: Projection(weight: try router(count), bias: nil),
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
