import Checkpoints
import Compute
import Transformers

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A random Llama checkpoint in a directory of its own, removed with this object.
final class TemporaryCheckpoint {
  let directory: String

  /// - Parameters:
  ///   - fields: Added to config.json; a later field wins over an earlier one of the same name.
  ///   - edit: Changes the tensors before they are written.
  init(
    fields: [String: String] = [:], layers: Int = 2, queryHeads: Int = 4, keyValueHeads: Int = 2,
    headDim: Int = 16, seed: UInt64 = 1,
    edit: (inout [String: (shape: [Int], floats: [Float])]) -> Void = { _ in }
  ) throws {
    var template = Array("\(Self.temporaryFolder)/minference-XXXXXX".utf8CString)
    guard let made = mkdtemp(&template) else { throw Failure(reason: "no temporary directory") }
    directory = String(cString: made)
    let (hidden, intermediate, vocabulary) = (32, 48, 40)
    var members = [
      "model_type": "\"llama\"", "hidden_size": "\(hidden)",
      "intermediate_size": "\(intermediate)", "num_hidden_layers": "\(layers)",
      "num_attention_heads": "\(queryHeads)", "num_key_value_heads": "\(keyValueHeads)",
      "head_dim": "\(headDim)", "vocab_size": "\(vocabulary)", "max_position_embeddings": "1024",
      "tie_word_embeddings": "true",
    ]
    members.merge(fields) { $1 }
    let text = "{" + members.map { "\"\($0.key)\": \($0.value)" }.joined(separator: ", ") + "}"
    try SafetensorsWriter.write(bytes: Array(text.utf8), to: directory + "/config.json")

    var generator = SplitMix64(seed: seed)
    var tensors: [String: (shape: [Int], floats: [Float])] = [:]
    func add(_ name: String, _ shape: Int...) {
      let count = shape.reduce(1, *)
      let reach = shape.count == 1 ? Float(0.3) : 2.6 / Float(shape[1]).squareRoot()
      let center: Float = shape.count == 1 ? 1 : 0
      tensors[name] = (
        shape,
        (0..<count).map { _ in center + Float.random(in: -reach...reach, using: &generator) }
      )
    }
    add("model.embed_tokens.weight", vocabulary, hidden)
    for layer in 0..<layers {
      let prefix = "model.layers.\(layer)."
      add(prefix + "input_layernorm.weight", hidden)
      add(prefix + "self_attn.q_proj.weight", queryHeads * headDim, hidden)
      add(prefix + "self_attn.k_proj.weight", keyValueHeads * headDim, hidden)
      add(prefix + "self_attn.v_proj.weight", keyValueHeads * headDim, hidden)
      add(prefix + "self_attn.o_proj.weight", hidden, queryHeads * headDim)
      add(prefix + "post_attention_layernorm.weight", hidden)
      add(prefix + "mlp.gate_proj.weight", intermediate, hidden)
      add(prefix + "mlp.up_proj.weight", intermediate, hidden)
      add(prefix + "mlp.down_proj.weight", hidden, intermediate)
    }
    add("model.norm.weight", hidden)
    edit(&tensors)
    try SafetensorsWriter.write(
      tensors.sorted { $0.key < $1.key }.map {
        .init(name: $0.key, shape: $0.value.shape, floats: $0.value.floats)
      }, to: directory + "/model.safetensors")
  }

  deinit {
    for name in ["config.json", "model.safetensors"] { unlink(directory + "/" + name) }
    rmdir(directory)
  }

  /// Qwen3 with four experts in its second layer, of which two are chosen.
  static func experts(
    fields: [String: String] = [:],
    edit: (inout [String: (shape: [Int], floats: [Float])]) -> Void = { _ in }
  ) throws -> TemporaryCheckpoint {
    let own = [
      "model_type": "\"qwen3_moe\"", "num_experts": "4", "num_experts_per_tok": "2",
      "moe_intermediate_size": "24", "mlp_only_layers": "[0]", "norm_topk_prob": "true",
    ]
    return try TemporaryCheckpoint(fields: own.merging(fields) { $1 }) { tensors in
      var generator = SplitMix64(seed: 5)
      func add(_ name: String, _ shape: Int...) {
        let reach = shape.count == 1 ? Float(0.3) : 2.6 / Float(shape[1]).squareRoot()
        tensors["model.layers." + name] = (
          shape,
          (0..<shape.reduce(1, *)).map { _ in
            (shape.count == 1 ? 1 : 0) + Float.random(in: -reach...reach, using: &generator)
          }
        )
      }
      for layer in 0..<2 {
        add("\(layer).self_attn.q_norm.weight", 16)
        add("\(layer).self_attn.k_norm.weight", 16)
      }
      add("1.mlp.gate.weight", 4, 32)
      for expert in 0..<4 {
        add("1.mlp.experts.\(expert).gate_proj.weight", 24, 32)
        add("1.mlp.experts.\(expert).up_proj.weight", 24, 32)
        add("1.mlp.experts.\(expert).down_proj.weight", 32, 24)
      }
      edit(&tensors)
    }
  }

  struct Failure: Error {
    let reason: String
  }

  func load(_ backend: TestBackend = .cpu) throws -> Transformer {
    try Transformer(
      checkpoint: try Checkpoint(directory: directory), backend: try backend.make())
  }

  private static var temporaryFolder: String {
    getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
  }

  /// `count` ids of the model's 40.
  static func ids(_ count: Int, seed: UInt64 = 7) -> [Int32] {
    var generator = SplitMix64(seed: seed)
    return (0..<count).map { _ in Int32.random(in: 0..<40, using: &generator) }
  }
}
