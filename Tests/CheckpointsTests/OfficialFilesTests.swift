import Checkpoints
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Checkpoints that transformers wrote: the goldens of the Transformers tests.
@Suite struct OfficialFilesTests {
  static let folder =
    #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(2)
    .joined(separator: "/") + "/TransformersTests/Goldens"

  static let names =
    ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [])
    .filter { $0.hasSuffix(".golden.safetensors") }
    .map { String($0.dropLast(".golden.safetensors".count)) }.sorted()

  @Test func `There are goldens`() { #expect(Self.names.count > 20) }

  @Test(arguments: names)
  func `Every checkpoint opens with the sizes that its golden has`(name: String) throws {
    let checkpoint = try Checkpoint(directory: Self.folder + "/" + name)
    let configuration = checkpoint.configuration
    let golden = try SafetensorsFile(path: Self.folder + "/" + name + ".golden.safetensors")
    let logits = try #require(try golden.tensor(named: "logits"))
    #expect(logits.shape.last == configuration.vocabularySize)
    let frequencies = try #require(try golden.tensor(named: "inverse_frequencies"))
    let isOwnLayout = configuration.modelType == "chatglm"
    let isGLM = isOwnLayout || configuration.modelType.hasPrefix("glm")
    let turned = configuration.partialRotaryFactor ?? (isGLM ? 0.5 : 1)
    #expect(frequencies.count == Int(Double(configuration.headDimension) * turned) / 2)
    _ = try checkpoint.tensor(
      named: isOwnLayout
        ? "transformer.embedding.word_embeddings.weight" : "model.embed_tokens.weight",
      shape: [configuration.vocabularySize, configuration.hiddenSize])
    let widths =
      (
        q: configuration.numAttentionHeads * configuration.headDimension,
        kv: configuration.numKeyValueHeads * configuration.headDimension
      )
    for layer in 0..<configuration.numHiddenLayers {
      let (projection, rows) =
        switch configuration.modelType {
        case "phi3": ("model.layers.\(layer).self_attn.qkv_proj", widths.q + 2 * widths.kv)
        case "chatglm":
          (
            "transformer.encoder.layers.\(layer).self_attention.query_key_value",
            widths.q + 2 * widths.kv
          )
        default: ("model.layers.\(layer).self_attn.k_proj", widths.kv)
        }
      _ = try checkpoint.tensor(
        named: projection + ".weight", shape: [rows, configuration.hiddenSize])
    }
    let output = isOwnLayout ? "transformer.output_layer.weight" : "lm_head.weight"
    #expect(checkpoint.contains(output) == !configuration.tieWordEmbeddings)
    for tensorName in checkpoint.tensorNames {
      #expect(try checkpoint.tensor(named: tensorName).firstNonFiniteIndex() == nil)
    }
  }

  @Test func `A shard that the index leaves out is read like the others`() throws {
    let whole = try Checkpoint(directory: Self.folder + "/llama-sharded")
    let short = try Checkpoint(directory: Self.folder + "/llama-shard-outside-index")
    #expect(whole.files.count > 2)
    for name in whole.tensorNames {
      let (left, right) = (try whole.tensor(named: name), try short.tensor(named: name))
      #expect(left.shape == right.shape && right.firstNonFiniteIndex() == nil)
    }
  }

  @Test func `The newer and the older layout of rotary settings are both read`() throws {
    let newer = try Checkpoint(directory: Self.folder + "/rope-linear").configuration
    #expect(newer.ropeScaling == .linear(factor: 4))
    #expect(newer.ropeTheta == 10_000)
    let older = try Checkpoint(directory: Self.folder + "/rope-linear-older-layout").configuration
    #expect(older.ropeScaling == .linear(factor: 2.5))
    #expect(older.ropeTheta == 500_000)
  }
}
