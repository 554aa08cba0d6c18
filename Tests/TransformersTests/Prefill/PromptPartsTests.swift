import Compute
import ComputeCPU
import Testing
import Transformers

/// A prompt whose beginning is known already is read from there on, in a block of as many rows as are left.
@Suite struct PromptPartsTests {
  private static let backend = Result { try CPUBackend(threads: 2, usesBFloat16Products: true) }

  private static let goldens = [
    "wide-llama", "wide-qwen2-window", "mistral-window", "wide-glm4", "wide-qwen3-moe", "gpt-oss",
  ].map(Golden.init)

  /// What a prompt leaves: the logits behind it, and keys and values of all layers.
  private struct Reading: Equatable {
    var logits: [Float] = []
    var keysAndValues: [[Float]] = []
  }

  private func read(_ parts: [[Int32]], by model: Transformer) throws -> Reading {
    let count = parts.reduce(0) { $0 + $1.count }
    let cache = try model.makeCache(
      capacity: count, keyValues: KeyValueOptions(type: .float32), sequenceLength: count)
    var reading = Reading()
    for part in parts { reading.logits = try model.prefill(part, cache: cache).logits }
    for layer in cache.layers {
      let transfer = try model.makeTransfer(layer: layer, of: cache, count: count, for: .saving)
      let rows = try transfer.rows(at: 0..<count)
      reading.keysAndValues += [rows.keys, rows.values]
      try transfer.close()
    }
    return reading
  }

  @Test(.enabled(if: CPUBackend.hasBFloat16Products), arguments: goldens)
  func `a prompt of a model in bfloat16 leaves bit for bit the same, however much of it is known`(
    golden: Golden
  ) throws {
    let model = try Transformer(
      checkpoint: try golden.checkpoint(), backend: try Self.backend.get())
    let known = try golden.ids()
    let ids = (0..<300).map { known[($0 * $0 + $0 / known.count) % known.count] }
    let whole = try read([ids], by: model)
    let isFinite = whole.keysAndValues.allSatisfy { $0.allSatisfy { $0.isFinite } }
    #expect(isFinite)
    for rest in [1, 3, 7, 20, 100] {
      let parts = [Array(ids.dropLast(rest)), Array(ids.suffix(rest))]
      #expect(try read(parts, by: model) == whole, "\(rest) of \(ids.count) tokens are new")
    }
  }
}
