import Checkpoints
import Compute
import Testing
import Transformers

/// Models from GGUF files are the models from Hugging Face's checkpoints of the same weights.
@Suite struct GGUFGoldenTests {
  private static let goldens = [
    "llama-1-head-a-group-64", "llama-3-heads-a-group-64", "llama-derived-head-dim",
    "llama-float16", "llama-float32", "llama-sharded", "llama-tied", "mistral-no-window",
    "mistral-window", "qwen2", "qwen2-tied", "qwen3", "qwen3-yarn", "rope-linear", "rope-llama3",
    "rope-yarn", "phi3", "phi3-window", "phi3-partial", "phi3-longrope-within",
    "phi3-longrope-beyond", "phi3-longrope-head-dim-96", "glm4", "yi", "wide-llama",
    "wide-mistral", "wide-qwen2", "wide-qwen3", "wide-phi3", "wide-glm4",
    "qwen3-moe", "wide-qwen3-moe", "glm4-moe", "gpt-oss",
  ].map(Golden.init)

  @Test("Tensors come back bit for bit, under their names and in their order", arguments: goldens)
  func keepsTensors(golden: Golden) throws {
    let directory = try golden.checkpoint()
    let file = try ConvertedGolden(golden).opened()
    // Of experts a file has one tensor where the directory has many.
    for name in directory.tensorNames where !name.contains(".mlp.experts.") {
      let expected = try directory.tensor(named: name)
      let found = try file.tensor(named: name, shape: expected.shape)
      #expect(found.format == expected.format)
      #expect(found.bytes.elementsEqual(expected.bytes), "\(name)")
    }
    #expect(file.configuration.tieWordEmbeddings == !directory.contains("lm_head.weight"))
  }

  @Test("Experts in blocks give about what their numbers give", arguments: TestBackend.allCases)
  func readsExpertBlocks(backend: TestBackend) throws {
    let golden = Golden(name: "wide-qwen3-moe")
    let file = try ConvertedGolden(golden, expertBlocks: true).opened()
    let gate = try file.tensor(named: "model.layers.0.mlp.experts.gate_proj.weight")
    guard case .blocks = gate.format else {
      Issue.record("gates are stored as \(gate.format)")
      return
    }
    let model = try Transformer(checkpoint: file, backend: try backend.make())
    let values = try score(model, try golden.ids())
    let expected = try golden.logits()
    let width = model.vocabularySize
    // Half a step of 128 in every weight, which makes a row change an expert here and there; and not
    // nothing, or the blocks were not read.
    let differences = stride(from: 0, to: expected.count, by: width).map { start in
      distance(
        Array(values[start..<start + width]), from: Array(expected[start..<start + width]),
        width: width)
    }.sorted()
    #expect(differences[differences.count * 8 / 10] < 0.05)
    #expect(differences[differences.count / 2] > 1e-4)
  }

  @Test("Logits are those of the checkpoint", arguments: goldens)
  func givesSameLogits(golden: Golden) throws {
    let backend = try TestBackend.cpu.make()
    let ids = try golden.ids()
    let model = try Transformer(checkpoint: try ConvertedGolden(golden).opened(), backend: backend)
    let values = try score(model, ids)
    #expect(distance(values, from: try golden.logits(), width: model.vocabularySize) < 1e-3)
    // The divisors of Llama 3 are rounded in the file; everything else is the same to the bit.
    if case .divisors = model.configuration.ropeScaling { return }
    let original = try Transformer(checkpoint: try golden.checkpoint(), backend: backend)
    #expect(try score(original, ids) == values)
  }
}
