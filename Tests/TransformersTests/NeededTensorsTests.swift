import Checkpoints
import Testing
import Transformers

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The tensors that a family's model is computed with.
@Suite struct NeededTensorsTests {
  private static let folder =
    #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast()
    .joined(separator: "/") + "/Goldens"

  private static let names =
    ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [])
    .filter { $0.hasSuffix(".golden.safetensors") }
    .map { String($0.dropLast(".golden.safetensors".count)) }
    .filter { !$0.contains("outside-index") }.sorted()

  @Test(arguments: names)
  func `Of a checkpoint that transformers wrote every tensor is needed`(name: String) throws {
    let checkpoint = try Checkpoint(directory: Self.folder + "/" + name)
    // Its own code keeps what rotary embeddings are computed from.
    let stored = checkpoint.tensorNames.filter { !$0.hasSuffix("inv_freq") }
    #expect(try checkpoint.neededTensorNames().sorted() == stored)
    #expect(try ModelDescription(checkpoint).notices == [])
  }
}
