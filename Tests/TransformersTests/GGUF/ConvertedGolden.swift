import Checkpoints
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A golden as a GGUF file, written as llama.cpp's converter writes it: its names, its order of rows, its
/// keys.
struct ConvertedGolden {
  private let checkpoint: Checkpoint
  private let configuration: ModelConfiguration

  /// Whether gates and ups of experts are in blocks of eight bits.
  private let hasExpertBlocks: Bool

  init(_ golden: Golden, expertBlocks: Bool = false) throws {
    hasExpertBlocks = expertBlocks
    checkpoint = try golden.checkpoint()
    configuration = checkpoint.configuration
  }

  /// The file, which lives no longer than it is mapped.
  func opened() throws -> GGUFCheckpoint {
    var template = Array("/tmp/minference-XXXXXX".utf8CString)
    let folder = String(cString: try #require(mkdtemp(&template)))
    let path = folder + "/m.gguf"
    defer {
      unlink(path)
      rmdir(folder)
    }
    try SafetensorsWriter.write(bytes: try writer().fileBytes(), to: path)
    return try GGUFCheckpoint(file: path)
  }

  private func writer() throws -> GGUFWriter {
    let names = checkpoint.tensorNames.filter { !$0.contains(".mlp.experts.") }
    let tensors = try names.map(converted) + experts() + factors()
    return GGUFWriter(metadata: try metadata(), tensors: tensors)
  }

  private var architecture: String {
    switch configuration.modelType {
    case "mistral": "llama"
    case "qwen3_moe": "qwen3moe"
    case "glm4_moe": "glm4moe"
    case "gpt_oss": "gpt-oss"
    case let other: other
    }
  }

  private func metadata() throws -> [(key: String, value: GGUFWriter.Value)] {
    func integer(_ key: String, _ value: Int) -> (key: String, value: GGUFWriter.Value) {
      ("\(architecture).\(key)", .uint32(UInt32(value)))
    }
    func number(_ key: String, _ value: Double) -> (key: String, value: GGUFWriter.Value) {
      ("\(architecture).\(key)", .float32(Float(value)))
    }
    let share = configuration.partialRotaryFactor ?? (architecture.hasPrefix("glm4") ? 0.5 : 1)
    var pairs: [(key: String, value: GGUFWriter.Value)] = [
      ("general.architecture", .string(architecture)),
      integer("block_count", configuration.numHiddenLayers),
      integer("context_length", configuration.maxPositionEmbeddings),
      integer("embedding_length", configuration.hiddenSize),
      integer("feed_forward_length", configuration.intermediateSize),
      integer("attention.head_count", configuration.numAttentionHeads),
      integer("attention.head_count_kv", configuration.numKeyValueHeads),
      integer("attention.key_length", configuration.headDimension),
      integer("attention.value_length", configuration.headDimension),
      integer("rope.dimension_count", Int(Double(configuration.headDimension) * share)),
      number("attention.layer_norm_rms_epsilon", configuration.rmsNormEpsilon),
      number("rope.freq_base", configuration.ropeTheta),
    ]
    if let window = configuration.slidingWindow,
      ["mistral", "phi3", "gpt_oss"].contains(configuration.modelType)
    {
      pairs.append(integer("attention.sliding_window", window))
    }
    if let experts = configuration.experts {
      pairs += [
        integer("expert_count", experts.count), integer("expert_used_count", experts.perToken),
        integer("expert_feed_forward_length", experts.intermediateSize),
      ]
      if architecture == "glm4moe" {
        pairs += [
          integer("expert_shared_count", experts.sharedCount ?? 0),
          integer("leading_dense_block_count", experts.leadingDenseLayers ?? 0),
          integer("expert_gating_func", 2), number("expert_weights_scale", experts.scaling ?? 1),
          ("glm4moe.expert_weights_norm", .boolean(experts.normalizesWeights ?? true)),
        ]
      }
    }
    func scaling(_ type: String, _ factor: Double) {
      pairs.append(("\(architecture).rope.scaling.type", .string(type)))
      pairs.append(number("rope.scaling.factor", factor))
    }
    switch configuration.ropeScaling {
    case .none, .llama3: break
    case .linear(let factor): scaling("linear", factor)
    case .yarn(let yarn):
      scaling("yarn", yarn.factor)
      pairs.append(
        integer("rope.scaling.original_context_length", yarn.originalMaxPositionEmbeddings))
      pairs.append(number("rope.scaling.yarn_beta_fast", yarn.betaFast))
      pairs.append(number("rope.scaling.yarn_beta_slow", yarn.betaSlow))
    case .longRope(let longRope):
      pairs.append(
        integer("rope.scaling.original_context_length", longRope.originalMaxPositionEmbeddings))
    case .dynamic, .divisors: Issue.record("the converter has no such scaling")
    }
    return pairs
  }

  /// What stands in a tensor of its own beside the weights.
  private func factors() -> [GGUFWriter.Tensor] {
    func tensor(_ name: String, _ values: [Double]) -> GGUFWriter.Tensor {
      let bytes = values.flatMap { value in
        withUnsafeBytes(of: Float(value).bitPattern.littleEndian) { Array($0) }
      }
      return .init(name: name + ".weight", type: 0, shape: [values.count], bytes: bytes)
    }
    switch configuration.ropeScaling {
    case .longRope(let longRope):
      return [
        tensor("rope_factors_long", longRope.longFactors),
        tensor("rope_factors_short", longRope.shortFactors),
      ]
    case .llama3(let llama3):
      let original = Double(llama3.originalMaxPositionEmbeddings)
      let lowWavelength = original / llama3.lowFrequencyFactor
      let highWavelength = original / llama3.highFrequencyFactor
      let dimension = configuration.headDimension
      let divisors = stride(from: 0, to: dimension, by: 2).map { element in
        let frequency = pow(configuration.ropeTheta, -Double(element) / Double(dimension))
        let wavelength = 2 * Double.pi / frequency
        if wavelength < highWavelength { return 1.0 }
        if wavelength > lowWavelength { return llama3.factor }
        let smooth =
          (original / wavelength - llama3.lowFrequencyFactor)
          / (llama3.highFrequencyFactor - llama3.lowFrequencyFactor)
        return 1 / ((1 - smooth) / llama3.factor + smooth)
      }
      return [tensor("rope_freqs", divisors)]
    default: return []
    }
  }

  /// The matrices of each layer's experts, one behind the other in one tensor.
  private func experts() throws -> [GGUFWriter.Tensor] {
    guard let experts = configuration.experts else { return [] }
    var tensors: [GGUFWriter.Tensor] = []
    for layer in 0..<configuration.numHiddenLayers {
      for (kind, name) in [("gate", "gate_proj"), ("up", "up_proj"), ("down", "down_proj")] {
        let stem = "model.layers.\(layer).mlp.experts."
        if architecture == "gpt-oss" {
          for part in ["weight", "bias"] {
            let tensor = try checkpoint.tensor(named: stem + "\(name).\(part)")
            tensors.append(
              .init(
                name: "blk.\(layer).ffn_\(kind)_exps.\(part)", type: 30, shape: tensor.shape,
                bytes: Array(tensor.bytes)))
          }
          continue
        }
        guard checkpoint.contains(stem + "0.\(name).weight") else { continue }
        let matrices = try (0..<experts.count).map {
          try checkpoint.tensor(named: stem + "\($0).\(name).weight")
        }
        // Rows of down are no whole number of blocks in models this small.
        let isBlocks = hasExpertBlocks && kind != "down"
        tensors.append(
          .init(
            name: "blk.\(layer).ffn_\(kind)_exps.weight", type: isBlocks ? 8 : 30,
            shape: [experts.count] + matrices[0].shape,
            bytes: isBlocks
              ? matrices.flatMap { Self.blocks($0.floats()) } : matrices.flatMap(\.bytes)))
      }
    }
    return tensors
  }

  /// Q8_0: 32 elements, a scale in half precision and a byte each.
  private static func blocks(_ values: [Float]) -> [UInt8] {
    stride(from: 0, to: values.count, by: 32).flatMap { start -> [UInt8] in
      let block = values[start..<start + 32]
      // A power of two, which half precision holds exactly.
      let largest = block.map(abs).max() ?? 0
      let scale = Float(
        sign: .plus, exponent: Int(max(largest, 0x1p-10).exponent) - 6, significand: 1)
      let bits = UInt16(Int(scale.exponent) + 15) << 10
      return [UInt8(bits & 0xFF), UInt8(bits >> 8)]
        + block.map { UInt8(bitPattern: Int8(clamping: Int(($0 / scale).rounded()))) }
    }
  }

  private static let names = [
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "post_self_attn_layernorm": "post_attention_norm",
    "post_mlp_layernorm": "post_ffw_norm", "mlp.gate": "ffn_gate_inp",
    "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
    "mlp.shared_experts.up_proj": "ffn_up_shexp",
    "mlp.shared_experts.down_proj": "ffn_down_shexp", "mlp.router": "ffn_gate_inp",
  ]

  private func converted(_ name: String) throws -> GGUFWriter.Tensor {
    let tensor = try checkpoint.tensor(named: name)
    let types: [TensorView.Format: UInt32] = [
      .dense(.float32): 0, .dense(.float16): 1, .dense(.bfloat16): 30,
    ]
    var result = GGUFWriter.Tensor(
      name: name, type: try #require(types[tensor.format]), shape: tensor.shape,
      bytes: Array(tensor.bytes))
    switch name {
    case "model.embed_tokens.weight": result.name = "token_embd.weight"
    case "model.norm.weight": result.name = "output_norm.weight"
    case "lm_head.weight": result.name = "output.weight"
    default:
      let parts = name.split(separator: ".")
      let inner = parts[3..<parts.count - 1].joined(separator: ".")
      guard parts.last != "e_score_correction_bias" else {
        result.name = "blk.\(parts[2]).exp_probs_b.bias"
        return result
      }
      guard parts.last != "sinks" else {
        result.name = "blk.\(parts[2]).attn_sinks.weight"
        return result
      }
      var kind = try #require(Self.names[inner], "\(name)")
      if ["glm4moe", "gpt-oss"].contains(architecture), kind == "ffn_norm" {
        kind = "post_attention_norm"
      }
      result.name = "blk.\(parts[2]).\(kind).\(parts[parts.count - 1])"
      if architecture == "llama", kind == "attn_q" || kind == "attn_k" {
        result.bytes = permuted(result.bytes, rows: tensor.shape[0])
      }
    }
    return result
  }

  /// Rows with the two elements of each pair that turns side by side.
  private func permuted(_ bytes: [UInt8], rows: Int) -> [UInt8] {
    let half = configuration.headDimension / 2
    let rowBytes = bytes.count / rows
    var result: [UInt8] = []
    for head in 0..<rows / (2 * half) {
      for pair in 0..<half {
        for part in 0..<2 {
          let row = head * 2 * half + part * half + pair
          result += bytes[row * rowBytes..<(row + 1) * rowBytes]
        }
      }
    }
    return result
  }
}
