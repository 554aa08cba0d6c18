import Checkpoints
import Compute
import ComputeCPU
import Transformers

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A small random Llama checkpoint in a directory of its own, removed with this object.
final class TemporaryModel {
  let directory: String

  struct Failure: Error {}

  init(layers: Int = 3, seed: UInt64 = 1) throws {
    var template = Array("/tmp/minference-search-XXXXXX".utf8CString)
    guard let made = mkdtemp(&template) else { throw Failure() }
    directory = String(cString: made)
    let (hidden, intermediate, vocabulary, headDim) = (32, 48, 40, 16)
    let text = """
      {"model_type": "llama", "hidden_size": \(hidden), "intermediate_size": \(intermediate),
       "num_hidden_layers": \(layers), "num_attention_heads": 4, "num_key_value_heads": 2,
       "head_dim": \(headDim), "vocab_size": \(vocabulary), "max_position_embeddings": 4096,
       "tie_word_embeddings": true}
      """
    try SafetensorsWriter.write(bytes: Array(text.utf8), to: directory + "/config.json")
    var random = TestRandom(seed: seed)
    var tensors: [(name: String, shape: [Int], floats: [Float])] = []
    func add(_ name: String, _ shape: Int...) {
      let reach = shape.count == 1 ? Float(0.3) : 3 / Float(shape[1]).squareRoot()
      let center: Float = shape.count == 1 ? 1 : 0
      tensors.append(
        (
          name, shape,
          (0..<shape.reduce(1, *)).map { _ in
            center + Float.random(in: -reach...reach, using: &random)
          }
        ))
    }
    add("model.embed_tokens.weight", vocabulary, hidden)
    for layer in 0..<layers {
      let prefix = "model.layers.\(layer)."
      add(prefix + "input_layernorm.weight", hidden)
      add(prefix + "self_attn.q_proj.weight", 4 * headDim, hidden)
      add(prefix + "self_attn.k_proj.weight", 2 * headDim, hidden)
      add(prefix + "self_attn.v_proj.weight", 2 * headDim, hidden)
      add(prefix + "self_attn.o_proj.weight", hidden, 4 * headDim)
      add(prefix + "post_attention_layernorm.weight", hidden)
      add(prefix + "mlp.gate_proj.weight", intermediate, hidden)
      add(prefix + "mlp.up_proj.weight", intermediate, hidden)
      add(prefix + "mlp.down_proj.weight", hidden, intermediate)
    }
    add("model.norm.weight", hidden)
    try SafetensorsWriter.write(
      tensors.sorted { $0.name < $1.name }.map {
        .init(name: $0.name, shape: $0.shape, floats: $0.floats)
      }, to: directory + "/model.safetensors")
  }

  deinit {
    for name in ["config.json", "model.safetensors", "work.jsonl", "work.jsonl.hidden"] {
      unlink(directory + "/" + name)
    }
    rmdir(directory)
  }

  func load() throws -> Transformer {
    try Transformer(
      checkpoint: Checkpoint(directory: directory), backend: CPUBackend(threads: 1))
  }

  static func ids(_ count: Int, seed: UInt64 = 5) -> [Int32] {
    var random = TestRandom(seed: seed)
    return (0..<count).map { _ in Int32.random(in: 0..<40, using: &random) }
  }
}
