import Checkpoints
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Names of models in Hugging Face's cache.
@Suite struct HuggingFaceCacheTests {
  private func cache(_ variables: [String: String]) -> HuggingFaceCache {
    HuggingFaceCache { variables[$0] }
  }

  @Test("The cache is where Hugging Face's variables say")
  func findsDirectory() {
    #expect(cache(["HOME": "/h"]).directory == "/h/.cache/huggingface/hub")
    #expect(cache(["HOME": "/h", "XDG_CACHE_HOME": "/x"]).directory == "/x/huggingface/hub")
    #expect(cache(["HOME": "/h", "HF_HOME": "/f"]).directory == "/f/hub")
    #expect(cache(["HF_HOME": "/f", "HF_HUB_CACHE": "/c"]).directory == "/c")
    #expect(cache(["HOME": "/h", "HF_HOME": ""]).directory == "/h/.cache/huggingface/hub")
  }

  @Test("A name is the snapshot that refs/main names; a path that exists is itself")
  func resolvesNames() throws {
    let directory = try TemporaryDirectory()
    let cache = cache(["HF_HUB_CACHE": directory.path])
    let folder = "models--org--Name-1.5B"
    for commit in ["aaa", "bbb"] {
      try FileManager.default.createDirectory(
        atPath: directory.path(of: "\(folder)/snapshots/\(commit)"),
        withIntermediateDirectories: true)
    }
    try FileManager.default.createDirectory(
      atPath: directory.path(of: "\(folder)/refs"), withIntermediateDirectories: true)
    try directory.write("bbb", to: "\(folder)/refs/main")
    #expect(
      try cache.path(ofModel: "org/Name-1.5B") == directory.path(of: "\(folder)/snapshots/bbb"))
    #expect(try cache.path(ofModel: directory.path) == directory.path)
    #expect(try cache.path(ofModel: "a/b/c") == "a/b/c")
    #expect(try cache.path(ofModel: "../x") == "../x")
  }

  @Test("A model that is not there is named with the command that downloads it")
  func namesCommand() throws {
    let directory = try TemporaryDirectory()
    let cache = cache(["HF_HUB_CACHE": directory.path])
    let error = failure { () throws(CheckpointError) in try cache.path(ofModel: "org/absent") }
    #expect(isOneLine(error, naming: directory.path, "hf download org/absent"))
    // Two snapshots and a reference that leads nowhere.
    for commit in ["aaa", "bbb"] {
      try FileManager.default.createDirectory(
        atPath: directory.path(of: "models--org--absent/snapshots/\(commit)"),
        withIntermediateDirectories: true)
    }
    try FileManager.default.createDirectory(
      atPath: directory.path(of: "models--org--absent/refs"), withIntermediateDirectories: true)
    try directory.write("../../../etc", to: "models--org--absent/refs/main")
    #expect(failure { () throws(CheckpointError) in try cache.path(ofModel: "org/absent") } != nil)
  }
}
