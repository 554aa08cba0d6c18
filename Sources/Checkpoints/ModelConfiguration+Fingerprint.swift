import Files

extension ModelConfiguration {
  /// A fingerprint of the fields by name, so that saved states belong to a configuration and not to
  /// how this program writes one. A field that is not given adds nothing: one that a later version
  /// knows changes no fingerprint of a model without it.
  public var fingerprint: String {
    var fields = Fields()
    fields.add("model_type", modelType)
    fields.add("hidden_size", hiddenSize)
    fields.add("intermediate_size", intermediateSize)
    fields.add("num_hidden_layers", numHiddenLayers)
    fields.add("num_attention_heads", numAttentionHeads)
    fields.add("num_key_value_heads", numKeyValueHeads)
    fields.add("head_dim", headDimension)
    fields.add("vocab_size", vocabularySize)
    fields.add("max_position_embeddings", maxPositionEmbeddings)
    fields.add("rope_theta", ropeTheta)
    add(ropeScaling, to: &fields)
    fields.add("partial_rotary_factor", partialRotaryFactor)
    if let experts { add(experts, to: &fields) }
    if let dualChunkAttention { add(dualChunkAttention, to: &fields) }
    fields.add("rms_norm_eps", rmsNormEpsilon)
    fields.add("hidden_act", activation.rawValue)
    fields.add("tie_word_embeddings", tieWordEmbeddings)
    fields.add("attention_bias", attentionBias)
    fields.add("attention_out_bias", attentionOutputBias)
    fields.add("mlp_bias", mlpBias)
    fields.add("sliding_window", slidingWindow)
    fields.add("use_sliding_window", useSlidingWindow)
    fields.add("max_window_layers", maxWindowLayers)
    fields.add("layer_types", layerTypes?.joined(separator: ","))
    return fields.fingerprint.text
  }

  private func add(_ scaling: RopeScaling, to fields: inout Fields) {
    switch scaling {
    case .none: break
    case .linear(let factor):
      fields.add("rope_type", "linear")
      fields.add("factor", factor)
    case .divisors(let divisors):
      fields.add("rope_type", "divisors")
      fields.add("divisors", divisors.map(\.description).joined(separator: ","))
    case .dynamic(let factor):
      fields.add("rope_type", "dynamic")
      fields.add("factor", factor)
    case .llama3(let llama3):
      fields.add("rope_type", "llama3")
      fields.add("factor", llama3.factor)
      fields.add("low_freq_factor", llama3.lowFrequencyFactor)
      fields.add("high_freq_factor", llama3.highFrequencyFactor)
      fields.add("original_max_position_embeddings", llama3.originalMaxPositionEmbeddings)
    case .yarn(let yarn):
      fields.add("rope_type", "yarn")
      fields.add("factor", yarn.factor)
      fields.add("original_max_position_embeddings", yarn.originalMaxPositionEmbeddings)
      fields.add("beta_fast", yarn.betaFast)
      fields.add("beta_slow", yarn.betaSlow)
      fields.add("mscale", yarn.mscale)
      fields.add("mscale_all_dim", yarn.mscaleAllDimensions)
      fields.add("attention_factor", yarn.attentionFactor)
      fields.add("truncate", yarn.truncate)
    case .longRope(let longRope):
      fields.add("rope_type", "longrope")
      fields.add("factor", longRope.factor)
      fields.add("original_max_position_embeddings", longRope.originalMaxPositionEmbeddings)
      fields.add("attention_factor", longRope.attentionFactor)
      fields.add("short_factor", longRope.shortFactors.map(\.description).joined(separator: ","))
      fields.add("long_factor", longRope.longFactors.map(\.description).joined(separator: ","))
    }
  }

  private func add(_ experts: ExpertConfiguration, to fields: inout Fields) {
    fields.add("num_experts", experts.count)
    fields.add("num_experts_per_tok", experts.perToken)
    fields.add("moe_intermediate_size", experts.intermediateSize)
    fields.add("norm_topk_prob", experts.normalizesWeights)
    fields.add("routed_scaling_factor", experts.scaling)
    fields.add("n_group", experts.groups)
    fields.add("topk_group", experts.chosenGroups)
    fields.add("n_shared_experts", experts.sharedCount)
    fields.add("first_k_dense_replace", experts.leadingDenseLayers)
    fields.add("mlp_only_layers", experts.denseLayers.map(\.description).joined(separator: ","))
    fields.add("decoder_sparse_step", experts.layerStep)
    fields.add("use_qk_norm", experts.normalizesHeads)
    fields.add("swiglu_alpha", experts.activationAlpha)
    fields.add("swiglu_limit", experts.activationLimit)
  }

  private func add(_ dualChunk: DualChunkConfiguration, to fields: inout Fields) {
    fields.add("chunk_size", dualChunk.chunkSize)
    fields.add("local_size", dualChunk.localSize)
    fields.add("dual_chunk_original_length", dualChunk.originalMaxPositionEmbeddings)
  }

  private struct Fields {
    var fingerprint = Fingerprint()

    mutating func add(_ name: String, _ value: (some LosslessStringConvertible)?) {
      guard let value else { return }
      fingerprint.add(name)
      fingerprint.add(value.description)
    }
  }
}
