import JSON

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Makes the shape of a model from the metadata of a GGUF file.
///
/// Source of the keys and their defaults: the Python package `gguf`, `constants.py`; llama.cpp,
/// `src/llama-model.cpp`.
struct GGUFConfigurationReader {
  let metadata: GGUFMetadata
  let architecture: GGUFArchitecture
  /// The tensor of Hugging Face's name as it is stored, nil without one.
  let tensor: (String) throws(CheckpointError) -> TensorView?

  func key(_ name: String) -> String { architecture.rawValue + "." + name }

  private func size(
    _ name: String, atMost limit: Int
  ) throws(CheckpointError) -> Int {
    try metadata.required(key(name), try metadata.integer(key(name), in: 1...limit))
  }

  /// - Throws: `.invalidField` that names file and key; `.missingTensor`.
  func configuration() throws(CheckpointError) -> ModelConfiguration {
    // The limits of ModelConfiguration.
    let blocks = try size("block_count", atMost: 1 << 12)
    func layerSize(_ name: String, atMost limit: Int) throws(CheckpointError) -> Int? {
      try metadata.integer(key(name), in: 1...limit, layers: blocks)
    }
    // The last blocks may be there for predicting several tokens at once.
    let further = try metadata.integer(key("nextn_predict_layers"), in: 0...blocks - 1) ?? 0
    let layers = blocks - further
    let hiddenSize = try size("embedding_length", atMost: 1 << 18)
    let heads = try metadata.required(
      key("attention.head_count"), try layerSize("attention.head_count", atMost: 1 << 12))
    let keyValueHeads = try layerSize("attention.head_count_kv", atMost: 1 << 12) ?? heads
    guard heads % keyValueHeads == 0 else {
      throw metadata.failure(
        key("attention.head_count_kv"),
        "is \(keyValueHeads): it should divide the head count, \(heads)")
    }
    let headDimension = try headDimension(hiddenSize: hiddenSize, heads: heads)
    let length = try size("context_length", atMost: ModelConfiguration.maximumLength)
    let window = try metadata.integer(
      key("attention.sliding_window"), in: 0...ModelConfiguration.maximumLength)
    let epsilonKey = key("attention.layer_norm_rms_epsilon")
    return ModelConfiguration(
      modelType: modelType(hasWindow: window ?? 0 > 0),
      hiddenSize: hiddenSize,
      intermediateSize: try metadata.required(
        key("feed_forward_length"), try layerSize("feed_forward_length", atMost: 1 << 22)),
      numHiddenLayers: layers,
      numAttentionHeads: heads,
      numKeyValueHeads: keyValueHeads,
      headDimension: headDimension,
      vocabularySize: try vocabularySize(hiddenSize: hiddenSize),
      maxPositionEmbeddings: length,
      ropeTheta: try metadata.number(key("rope.freq_base"), in: 1...1e15) ?? 10_000,
      ropeScaling: try ropeScaling(contextLength: length),
      partialRotaryFactor: try partialRotaryFactor(headDimension: headDimension),
      rmsNormEpsilon: try metadata.required(epsilonKey, metadata.number(epsilonKey, in: 0...1)),
      tieWordEmbeddings: try tensor("lm_head.weight") == nil,
      attentionBias: try tensor("model.layers.0.self_attn.q_proj.bias") != nil,
      slidingWindow: window == 0 ? nil : window,
      beginOfTextTokenIDs: try metadata.tokenID("bos_token_id").map { [$0] } ?? [],
      endOfTextTokenIDs: try metadata.endOfTextTokenIDs(),
      experts: try experts(layers: layers))
  }

  /// As Hugging Face calls it.
  private func modelType(hasWindow: Bool) -> String {
    switch architecture {
    case .llama: hasWindow ? "mistral" : "llama"
    case .qwen2: "qwen2"
    case .qwen3: "qwen3"
    case .qwen3moe: "qwen3_moe"
    case .phi3: "phi3"
    case .glm4: "glm4"
    case .glm4moe: "glm4_moe"
    case .gptOSS: "gpt_oss"
    }
  }

  private func headDimension(hiddenSize: Int, heads: Int) throws(CheckpointError) -> Int {
    let keyLength = key("attention.key_length")
    let given = try metadata.integer(keyLength, in: 1...1 << 12)
    guard given != nil || hiddenSize % heads == 0 else {
      throw metadata.failure(
        keyLength,
        "is missing, and the head count, \(heads), does not divide the embedding length, "
          + "\(hiddenSize): convert the model again")
    }
    let dimension = given ?? hiddenSize / heads
    guard dimension % 2 == 0 else {
      throw metadata.failure(
        keyLength, "is \(dimension): it should be even, for rotary embeddings turn pairs")
    }
    let valueLength = key("attention.value_length")
    let values = try metadata.integer(valueLength, in: 1...1 << 12) ?? dimension
    guard values == dimension else {
      throw metadata.failure(
        valueLength,
        "is \(values): models whose values are as long as their keys, \(dimension), "
          + "are read")
    }
    return dimension
  }

  private func vocabularySize(hiddenSize: Int) throws(CheckpointError) -> Int {
    let name = "model.embed_tokens.weight"
    guard let embedding = try tensor(name) else {
      throw .missingTensor(name: "token_embd.weight", directory: metadata.file, similar: [])
    }
    guard embedding.shape.count == 2, embedding.shape[1] == hiddenSize,
      embedding.shape[0] <= 1 << 24
    else {
      throw .malformedTensor(
        file: embedding.file, tensor: "token_embd.weight",
        problem: "has shape \(embedding.shape), not one row of \(hiddenSize) for each of at most "
          + "\(1 << 24) tokens")
    }
    return embedding.shape[0]
  }

  /// Nil where heads turn whole and the model type has no other default.
  private func partialRotaryFactor(headDimension: Int) throws(CheckpointError) -> Double? {
    let count = try metadata.integer(key("rope.dimension_count"), in: 1...headDimension)
    guard let count, count != headDimension || [.glm4, .glm4moe].contains(architecture) else {
      return nil
    }
    let share = Double(count) / Double(headDimension)
    // The share times the dimension is truncated to the count where it is used.
    return Int(Double(headDimension) * share) < count ? share.nextUp : share
  }
}

extension GGUFConfigurationReader {
  private func ropeScaling(contextLength: Int) throws(CheckpointError) -> RopeScaling {
    let lengths = 1...ModelConfiguration.maximumLength
    let factors = 1e-6...1e9
    let original = try metadata.integer(
      key("rope.scaling.original_context_length"), in: lengths)
    let factor = try metadata.number(key("rope.scaling.factor"), in: 0...1e9)
    let magnitude = try metadata.number(key("rope.scaling.attn_factor"), in: factors)
    if let long = try tensor("rope_factors_long.weight"),
      let short = try tensor("rope_factors_short.weight")
    {
      let originalLength = original ?? contextLength
      let lists = try (short: divisors(short), long: divisors(long))
      guard lists.short.count == lists.long.count else {
        throw .malformedTensor(
          file: long.file, tensor: long.name,
          problem: "has \(lists.long.count) numbers, rope_factors_short \(lists.short.count)")
      }
      return .longRope(
        .init(
          shortFactors: lists.short, longFactors: lists.long,
          originalMaxPositionEmbeddings: originalLength,
          factor: Double(contextLength) / Double(originalLength), attentionFactor: magnitude))
    }
    if let frequencies = try tensor("rope_freqs.weight") {
      return .divisors(try divisors(frequencies))
    }
    let typeKey = key("rope.scaling.type")
    let type = try metadata.string(typeKey)
    switch type {
    case nil where factor ?? 0 > 1, "linear"?:
      guard let factor, factor > 0 else { return .none }
      return .linear(factor: factor)
    case nil, "none"?: return .none
    case "yarn"?:
      let originalLength = original ?? contextLength
      let stretch = factor ?? Double(contextLength) / Double(originalLength)
      guard stretch > 0 else { return .none }
      let further = try metadata.number(key("rope.scaling.yarn_attn_factor"), in: factors)
      // There the factor multiplies what follows from the stretch.
      let share = stretch <= 1 ? 1 : 0.1 * log(stretch) + 1
      return .yarn(
        .init(
          factor: stretch, originalMaxPositionEmbeddings: originalLength,
          betaFast: try metadata.number(key("rope.scaling.yarn_beta_fast"), in: factors) ?? 32,
          betaSlow: try metadata.number(key("rope.scaling.yarn_beta_slow"), in: factors) ?? 1,
          attentionFactor: (further ?? magnitude).map { $0 * share },
          // gpt-oss was trained with a ramp whose ends are not rounded, for which files have no key.
          truncate: architecture != .gptOSS))
    case let unknown?:
      throw metadata.failure(
        typeKey,
        "is \(quoted(unknown)): known are none, linear, yarn, and longrope with its tensors")
    }
  }

  /// What the frequency of each pair is divided by.
  private func divisors(_ tensor: TensorView) throws(CheckpointError) -> [Double] {
    guard tensor.shape.count == 1, tensor.count <= 1 << 12 else {
      throw .malformedTensor(
        file: tensor.file, tensor: tensor.name,
        problem: "has shape \(tensor.shape), not one number for each pair that turns")
    }
    let divisors = tensor.floats().map { Double($0) }
    guard divisors.allSatisfy({ $0.isFinite && $0 >= 1e-6 && $0 <= 1e9 }) else {
      throw .malformedTensor(
        file: tensor.file, tensor: tensor.name, problem: "holds what no frequency is divided by")
    }
    return divisors
  }
}
