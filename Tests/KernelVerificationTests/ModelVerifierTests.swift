import KernelVerification
import Checkpoints
import MInference
import Testing

@Suite struct ModelVerifierTests {
  private static let folder =
    #filePath.split(separator: "/").dropLast(2).reduce("") { "\($0)/\($1)" }
    + "/TransformersTests/Goldens/"

  private func verification(
    of name: String, on backend: any Backend, tokens: Int? = nil
  ) throws -> ModelVerification {
    let directory = Self.folder + name
    let checkpoint = try Checkpoint(directory: directory)
    let prompt = try ModelPrompt.find(
      directory: directory, text: nil, tokens: tokens, configuration: checkpoint.configuration)
    return try ModelVerifier.verify(
      checkpoint, on: backend, cpu: try Device.cpu.comparisonBackend(threads: 2), prompt: prompt,
      patterns: nil)
  }

  @Test(
    .enabled(
      if: KernelVerifierTests.isOptimised, "only in release: the reference is too slow otherwise"),
    arguments: [
      "wide-llama", "wide-mistral", "wide-qwen2-dual-chunk", "wide-glm", "phi3-longrope-generate",
    ])
  func `a checkpoint on the CPU agrees with the reference and with transformers`(
    name: String
  ) throws {
    let result = try verification(of: name, on: try Device.cpu.makeBackend(threads: 2))
    #expect(result.checks.contains { $0.name == "the logits of transformers" })
    #expect(result.checks.count >= 9)
    for check in result.checks { #expect(check.passed, "\(name): \(check)") }
  }

  /// Activations become eight bits for experts in blocks, with products of bfloat16 pairs and without.
  @Test(
    .enabled(
      if: KernelVerifierTests.isOptimised, "only in release: the reference is too slow otherwise"),
    arguments: ["gpt-oss-mxfp4", "wide-gpt-oss"])
  func `a checkpoint with experts in blocks on the CPU is within what eight bits cost`(
    name: String
  ) throws {
    let float32 = try #require(try Device.cpu.variants(threads: 2).last).backend
    for backend in [try Device.cpu.makeBackend(threads: 2), float32] {
      let result = try verification(of: name, on: backend)
      #expect(result.checks.contains { $0.name == "the logits of transformers" })
      for check in result.checks { #expect(check.passed, "\(name): \(check)") }
      #expect(result.checks.allSatisfy { $0.tolerance.typical < 0.05 }, "\(name)")
    }
  }

  /// What a GPU stores, computed by the reference: the tolerances are wide enough for rounding.
  @Test(
    .enabled(
      if: KernelVerifierTests.isOptimised, "only in release: the reference is too slow otherwise"),
    arguments: [
      "wide-llama", "wide-mistral", "wide-qwen2-dual-chunk", "wide-qwen3", "wide-phi3", "wide-glm",
      "wide-qwen3-moe", "wide-glm4-moe",
    ])
  func `a device that rounds to bfloat16 and keeps float8 passes`(name: String) throws {
    let device = ReferenceBackend(
      tile: TileShape(rows: 64, columns: 64), activationType: .bfloat16)
    let result = try verification(of: name, on: device)
    for passage in ["saved and restored", "by way of staging memory"] {
      #expect(result.checks.contains { $0.name.contains("float8, " + passage) })
    }
    for check in result.checks { #expect(check.passed, "\(name): \(check)") }
  }

  /// They are not so wide that a fault goes unseen.
  @Test(
    .enabled(
      if: KernelVerifierTests.isOptimised, "only in release: the reference is too slow otherwise"),
    arguments: [DataType.float32, .bfloat16])
  func `a fault in one operation is found`(type: DataType) throws {
    for fault in [FaultyBackend.Fault.attention, .rowAttention, .rmsNorm, .window] {
      let result = try verification(
        of: "wide-mistral", on: FaultyBackend(fault, activationType: type))
      #expect(!result.passed, "\(fault)")
    }
    #expect(
      try verification(
        of: "wide-mistral", on: ReferenceBackend(tile: TileShape(rows: 32, columns: 16))
      ).passed)
  }
}
