import Checkpoints
import Compute
import ComputeCPU
import Testing
import Transformers

/// A small checkpoint and what transformers computes with it; see `Goldens/make_goldens.py`.
struct Golden: Sendable, CustomTestStringConvertible {
  let name: String

  var testDescription: String { name }

  static let all = [
    "llama-1-head-a-group-64", "llama-2-heads-a-group-96", "llama-3-heads-a-group-64",
    "llama-4-heads-a-group-128", "llama-biases", "llama-derived-head-dim", "llama-float16",
    "llama-float32", "llama-shard-outside-index", "llama-sharded",
    "llama-tied", "llama-tied-float16", "mistral-no-window", "mistral-window", "qwen2",
    "qwen2-tied", "qwen2-window-off",
    "qwen2-window-on", "rope-dynamic-beyond", "rope-dynamic-within", "rope-linear",
    "rope-linear-older-layout", "rope-llama3", "rope-llama3-older-layout", "rope-yarn",
    "rope-yarn-attention-factor", "rope-yarn-betas", "rope-yarn-mscale", "rope-yarn-older-layout",
    "yi", "qwen3", "qwen3-biases-window", "qwen3-yarn", "phi3", "phi3-window", "phi3-partial",
    "phi3-longrope-within", "phi3-longrope-beyond", "phi3-longrope-older-layout",
    "phi3-longrope-head-dim-96", "phi3-longrope-generate", "glm", "glm4", "chatglm",
    "qwen2-dual-chunk-within", "qwen2-dual-chunk", "seed-oss", "seed-oss-all-biases",
    "wide-llama", "wide-mistral", "wide-qwen2", "wide-qwen2-window", "wide-qwen2-dual-chunk",
    "wide-qwen3", "wide-phi3", "wide-glm", "wide-glm4", "wide-chatglm", "wide-seed-oss",
    "qwen3-moe", "qwen3-moe-fused", "qwen3-moe-mixed", "glm4-moe", "glm4-moe-groups",
    "wide-qwen3-moe", "wide-glm4-moe", "gpt-oss", "gpt-oss-full",
  ].map(Golden.init)

  /// Those whose experts are in blocks, for which a processor rounds activations to eight bits.
  static let inBlocks = ["gpt-oss-mxfp4", "wide-gpt-oss"].map(Golden.init)

  static let folder = String(#filePath.dropLast("Golden.swift".count)) + "Goldens/"

  func checkpoint() throws -> Checkpoint { try Checkpoint(directory: Self.folder + name) }

  private func floats(_ tensor: String) throws -> [Float] {
    let file = try SafetensorsFile(path: Self.folder + name + ".golden.safetensors")
    return try #require(try file.tensor(named: tensor)).floats()
  }

  func ids() throws -> [Int32] { try floats("input_ids").map { Int32($0) } }
  /// [tokens * vocabulary]
  func logits() throws -> [Float] { try floats("logits") }
  func inverseFrequencies() throws -> [Float] { try floats("inverse_frequencies") }
  func generatedIDs() throws -> [Int32] { try floats("generated_ids").map { Int32($0) } }
  /// [tokens * vocabulary]
  func generatedLogits() throws -> [Float] { try floats("generated_logits") }
  func attentionScaling() throws -> Float { try #require(try floats("attention_scaling").first) }
}

/// The backends that every test of a model runs on.
enum TestBackend: String, CaseIterable, Sendable {
  case reference
  case cpu

  private static let referenceBackend = ReferenceBackend(tile: TileShape(rows: 16, columns: 8))
  private static let cpuBackend = Result { try CPUBackend(threads: 2) }

  func make() throws -> any Backend {
    switch self {
    case .reference: Self.referenceBackend
    case .cpu: try Self.cpuBackend.get()
    }
  }
}

/// The largest difference at any position, as a share of the largest logit there.
func distance(_ values: [Float], from expected: [Float], width: Int) -> Float {
  guard values.count == expected.count else { return .infinity }
  return stride(from: 0, to: values.count, by: width).map { start in
    let row = start..<start + width
    let largest = expected[row].map(abs).max() ?? 0
    let difference = row.map { abs(values[$0] - expected[$0]) }.max() ?? 0
    // A NaN must not pass for a small difference.
    return row.allSatisfy { values[$0].isFinite } ? difference / largest : .infinity
  }.max() ?? 0
}

/// The same of each position, in ascending order.
func rowDistances(_ values: [Float], from expected: [Float], width: Int) -> [Float] {
  guard values.count == expected.count else { return [.infinity] }
  return stride(from: 0, to: expected.count, by: width).map { start in
    distance(
      Array(values[start..<start + width]), from: Array(expected[start..<start + width]),
      width: width)
  }.sorted()
}

/// Logits of every position.
func score(
  _ model: Transformer, _ ids: [Int32], _ options: PrefillOptions = PrefillOptions(),
  cache: KeyValueCache? = nil
) throws -> [Float] {
  var all: [Float] = []
  var next = cache?.count ?? 0
  let cache = try cache ?? model.makeCache(capacity: ids.count)
  try model.score(ids, cache: cache, options: options) { position, logits in
    #expect(position == next)
    next += 1
    all += logits
  }
  return all
}
