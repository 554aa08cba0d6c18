extension GGUFConfigurationReader {
  /// The mixture of experts, nil in architectures without one.
  ///
  /// - Throws: `.invalidField` that names file and key.
  func experts(layers: Int) throws(CheckpointError) -> ExpertConfiguration? {
    guard [.qwen3moe, .glm4moe, .gptOSS].contains(architecture) else { return nil }
    func integer(_ name: String, in range: ClosedRange<Int>) throws(CheckpointError) -> Int? {
      try metadata.integer(key(name), in: range)
    }
    func required(_ name: String, in range: ClosedRange<Int>) throws(CheckpointError) -> Int {
      try metadata.required(key(name), integer(name, in: range))
    }
    let isSigmoid = architecture == .glm4moe
    // Of gpt-oss the softmax over the logits that were chosen.
    let known = isSigmoid ? 2 : architecture == .gptOSS ? 3 : 1
    let function = try integer("expert_gating_func", in: 0...255) ?? 0
    // 0: not said; the architecture's own is the only one that is known.
    guard function == 0 || function == known else {
      throw metadata.failure(
        key("expert_gating_func"),
        "is \(function): known for \(architecture.rawValue) is \(known)")
    }
    let count = try required("expert_count", in: 1...ExpertConfiguration.most)
    return ExpertConfiguration(
      count: count,
      perToken: try required(
        "expert_used_count", in: 1...min(count, ExpertConfiguration.mostPerToken)),
      intermediateSize: try required("expert_feed_forward_length", in: 1...1 << 20),
      // llama.cpp normalises where no key says otherwise, as both architectures do.
      normalizesWeights: try metadata.boolean(key("expert_weights_norm")) ?? true,
      scaling: try metadata.number(key("expert_weights_scale"), in: 0...1e6).flatMap {
        $0 == 0 ? nil : $0
      },
      sharedCount: isSigmoid ? try integer("expert_shared_count", in: 0...64) : nil,
      leadingDenseLayers: isSigmoid
        ? try integer("leading_dense_block_count", in: 0...layers) ?? 0 : nil,
      normalizesHeads: try tensor("model.layers.0.self_attn.q_norm.weight") != nil)
  }
}
