import Checkpoints
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// How many mutations a test makes: `MINFERENCE_FUZZ_ROUNDS`, or a number that takes a second.
func fuzzRounds(default rounds: Int) -> Int {
  ProcessInfo.processInfo.environment["MINFERENCE_FUZZ_ROUNDS"].flatMap { Int($0) } ?? rounds
}

/// The elements as the bytes of float32.
func floatBytes(_ values: [Float]) -> [UInt8] {
  values.flatMap { value in
    (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * UInt32($0))) }
  }
}

/// A Llama of one layer: 2 query heads and 1 key head of 4, hidden size 8. Element i of a tensor is
/// i plus a number of the tensor's own.
func tinyLlama(
  architecture: String = "llama", adding further: [(key: String, value: GGUFWriter.Value)] = []
) -> GGUFWriter {
  func tensor(_ name: String, _ shape: [Int], _ base: Float) -> GGUFWriter.Tensor {
    let count = shape.reduce(1, *)
    return .init(
      name: name, type: 0, shape: shape, bytes: floatBytes((0..<count).map { base + Float($0) }))
  }
  let a = architecture + "."
  return GGUFWriter(
    metadata: [
      ("general.architecture", .string(architecture)),
      (a + "block_count", .uint32(1)), (a + "context_length", .uint32(256)),
      (a + "embedding_length", .uint32(8)), (a + "feed_forward_length", .uint32(16)),
      (a + "attention.head_count", .uint32(2)), (a + "attention.head_count_kv", .uint32(1)),
      (a + "attention.layer_norm_rms_epsilon", .float32(1e-5)),
      (a + "rope.freq_base", .float32(500_000)), (a + "rope.dimension_count", .uint32(4)),
      ("tokenizer.ggml.model", .string("gpt2")), ("tokenizer.ggml.pre", .string("llama-bpe")),
      ("tokenizer.ggml.tokens", .strings(["a", "b", "ab", "<|end|>", "<|stop|>"])),
      ("tokenizer.ggml.token_type", .int32s([1, 1, 1, 3, 3])),
      ("tokenizer.ggml.merges", .strings(["a b"])),
      ("tokenizer.ggml.eos_token_id", .uint32(4)),
      ("tokenizer.chat_template", .string("{{ messages }}")),
    ] + further,
    tensors: [
      tensor("token_embd.weight", [5, 8], 0), tensor("output_norm.weight", [8], 100),
      tensor("blk.0.attn_norm.weight", [8], 200), tensor("blk.0.attn_q.weight", [8, 8], 300),
      tensor("blk.0.attn_k.weight", [4, 8], 400), tensor("blk.0.attn_v.weight", [4, 8], 500),
      tensor("blk.0.attn_output.weight", [8, 8], 600), tensor("blk.0.ffn_norm.weight", [8], 700),
      tensor("blk.0.ffn_gate.weight", [16, 8], 800), tensor("blk.0.ffn_up.weight", [16, 8], 900),
      tensor("blk.0.ffn_down.weight", [8, 16], 1000),
    ])
}
