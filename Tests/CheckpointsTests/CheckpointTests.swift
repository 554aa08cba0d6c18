import Checkpoints
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif
#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

@Suite struct CheckpointTests {
  private func tensor(_ name: String, _ value: Float) -> SafetensorsWriter.Tensor {
    .init(name: name, shape: [2], floats: [value, value])
  }

  private func directory() throws -> TemporaryDirectory {
    let directory = try TemporaryDirectory()
    try directory.write(configurationText(["eos_token_id": "[1, 2]"]), to: "config.json")
    return directory
  }

  /// What opening the directory and asking for a tensor fails with.
  private func asking(_ name: String, _ path: String) -> CheckpointError? {
    failure { () throws(CheckpointError) in
      try Checkpoint(directory: path).tensor(named: name)
    }
  }

  private func opening(_ path: String) -> CheckpointError? {
    failure { () throws(CheckpointError) in try Checkpoint(directory: path) }
  }

  @Test("Another file of the directory stands for config.json where it is named")
  func choosesConfiguration() throws {
    let directory = try directory()
    try directory.write([tensor("a", 1)], to: "model.safetensors")
    try directory.write(
      configurationText(["max_position_embeddings": "1010000"]), to: "config_1m.json")
    let named = try Checkpoint(directory: directory.path, configuration: "config_1m.json")
    #expect(named.configuration.maxPositionEmbeddings == 1_010_000)
    let path = directory.path + "/config_1m.json"
    #expect(
      try openWeightSource(at: directory.path, configuration: path).configuration
        == named.configuration)
    #expect(try longConfiguration(ofModelAt: directory.path) == "config_1m.json")
    let error = failure { () throws(CheckpointError) in
      try Checkpoint(directory: directory.path, configuration: "config_2m.json")
    }
    #expect("\(try #require(error))".contains("config_2m.json"))
  }

  @Test func `One file opens with its configuration, its tensors and their values`() throws {
    let directory = try directory()
    try directory.write([tensor("a", 1), tensor("b", 2)], to: "model.safetensors")
    let checkpoint = try Checkpoint(directory: directory.path)
    #expect(checkpoint.configuration.hiddenSize == 64)
    #expect(checkpoint.generation.endOfTextTokenIDs == [1, 2])
    #expect(checkpoint.tensorNames == ["a", "b"])
    #expect(try checkpoint.tensor(named: "b", shape: [2]).floats() == [2, 2])
    #expect(checkpoint.byteCount > 16)
    #expect(checkpoint.contains("a") && !checkpoint.contains("c"))
    try checkpoint.verifyUnchanged()
  }

  @Test func `A slash at the end of the directory's name changes nothing`() throws {
    let directory = try directory()
    try directory.write([tensor("a", 1)], to: "model.safetensors")
    #expect(try Checkpoint(directory: directory.path + "/").tensorNames == ["a"])
  }

  @Test func `Shards open with an index, without one, and when the index leaves one out`() throws {
    let directory = try directory()
    try directory.write([tensor("a", 1)], to: "model-00001-of-00002.safetensors")
    try directory.write([tensor("b", 2)], to: "model-00002-of-00002.safetensors")
    #expect(try Checkpoint(directory: directory.path).tensorNames == ["a", "b"])
    try directory.write(
      #"{"weight_map": {"a": "model-00001-of-00002.safetensors"}}"#,
      to: "model.safetensors.index.json")
    let checkpoint = try Checkpoint(directory: directory.path)
    #expect(checkpoint.tensorNames == ["a"])
    #expect(try checkpoint.tensor(named: "b").floats() == [2, 2])
    #expect(checkpoint.notices.count == 1)
    #expect(checkpoint.notices[0].contains("model-00002-of-00002.safetensors"))
  }

  @Test func `A tensor in two files is refused unless the index says which counts`() throws {
    let directory = try directory()
    try directory.write([tensor("a", 1)], to: "x.safetensors")
    try directory.write([tensor("a", 2)], to: "y.safetensors")
    #expect(
      isOneLine(asking("a", directory.path), naming: "x.safetensors", "y.safetensors", "\"a\""))
    for (file, value) in [("x.safetensors", Float(1)), ("y.safetensors", 2)] {
      try directory.write(
        "{\"weight_map\": {\"a\": \"\(file)\"}}", to: "model.safetensors.index.json")
      let checkpoint = try Checkpoint(directory: directory.path)
      #expect(try checkpoint.tensor(named: "a").floats() == [value, value])
    }
  }

  @Test func `A tensor that an index puts into an absent file is asked for with that name`() throws
  {
    let directory = try directory()
    try directory.write([tensor("b", 1)], to: "x.safetensors")
    for absent in ["y.safetensors", "../x.safetensors"] {
      try directory.write(
        "{\"weight_map\": {\"b\": \"x.safetensors\", \"a\": \"\(absent)\"}}",
        to: "model.safetensors.index.json")
      #expect(isOneLine(asking("a", directory.path), naming: "index.json", absent))
      #expect(asking("b", directory.path) == nil)
    }
  }

  @Test(arguments: ["{}", "[]", "{\"weight_map\": []}", "{\"weight_map\": {\"a\": 1}}", "{"])
  func `An index of another shape is refused`(text: String) throws {
    let directory = try directory()
    try directory.write([tensor("a", 1)], to: "x.safetensors")
    try directory.write(text, to: "model.safetensors.index.json")
    #expect(isOneLine(opening(directory.path), naming: "model.safetensors.index.json"))
  }

  @Test func `A path that is nothing, or a file, is refused as such`() throws {
    let directory = try directory()
    let absent = directory.path(of: "absent")
    #expect(opening(absent) == .notFound(path: absent))
    let file = directory.path(of: "config.json")
    #expect(opening(file) == .notADirectory(path: file))
    #expect(opening("") == .notFound(path: ""))
    #expect(opening(file + "/below") == .notFound(path: file + "/below"))
  }

  @Test func `A directory that lacks its parts is refused with what it has instead`() throws {
    let directory = try TemporaryDirectory()
    #expect(isOneLine(opening(directory.path), naming: "config.json", "nothing"))
    try directory.write("", to: "model.gguf")
    #expect(isOneLine(opening(directory.path), naming: "config.json", "model.gguf"))
    try directory.write(configurationText(), to: "config.json")
    try directory.write("", to: "pytorch_model.bin")
    #expect(
      isOneLine(opening(directory.path), naming: "*.safetensors", "model.gguf", "pytorch_model.bin")
    )
  }

  @Test func `A weight file that is no file, or a broken one, is refused by name`() throws {
    let directory = try directory()
    try FileManager.default.createDirectory(
      atPath: directory.path(of: "model.safetensors"), withIntermediateDirectories: false)
    #expect(isOneLine(opening(directory.path), naming: "model.safetensors", "regular"))
    try FileManager.default.removeItem(atPath: directory.path(of: "model.safetensors"))
    try FileManager.default.createSymbolicLink(
      atPath: directory.path(of: "model.safetensors"), withDestinationPath: "nowhere")
    #expect(isOneLine(opening(directory.path), naming: "model.safetensors", "no such file"))
    try FileManager.default.removeItem(atPath: directory.path(of: "model.safetensors"))
    try directory.write("", to: "model.safetensors")
    #expect(isOneLine(opening(directory.path), naming: "model.safetensors", "0 bytes"))
  }

  @Test func `A missing tensor is named with those it may have been`() throws {
    let directory = try directory()
    try directory.write([tensor("model.norm.weight", 1)], to: "model.safetensors")
    let checkpoint = try Checkpoint(directory: directory.path)
    let error = failure { () throws(CheckpointError) in
      try checkpoint.tensor(named: "norm.weight", shape: [2])
    }
    #expect(isOneLine(error, naming: "\"norm.weight\"", "\"model.norm.weight\"", directory.path))
  }

  @Test func `A misshapen tensor is named with both shapes and its file`() throws {
    let directory = try directory()
    try directory.write([tensor("a", 1)], to: "model.safetensors")
    let checkpoint = try Checkpoint(directory: directory.path)
    let error = failure { () throws(CheckpointError) in
      try checkpoint.tensor(named: "a", shape: [1, 2])
    }
    #expect(isOneLine(error, naming: "model.safetensors", "\"a\"", "[2]", "[1, 2]"))
  }

  @Test func `A file that became shorter in place is noticed`() throws {
    let directory = try directory()
    let path = directory.path(of: "model.safetensors")
    try directory.write([tensor("a", 1)], to: "model.safetensors")
    let checkpoint = try Checkpoint(directory: directory.path)
    // Cut in place, so it is the same file, one byte shorter.
    let size = checkpoint.byteCount
    try #require(truncate(path, off_t(size - 1)) == 0)
    let error = failure { () throws(CheckpointError) in try checkpoint.verifyUnchanged() }
    #expect(
      error == .changedWhileMapped(file: path, expectedBytes: size, foundBytes: size - 1))
    #expect(isOneLine(error, naming: path, "\(size)", "\(size - 1)"))
  }

  @Test func `A hidden file beside the shards is not one of them`() throws {
    let directory = try directory()
    try directory.write([tensor("a", 1)], to: "model.safetensors")
    try directory.write("junk", to: "._model.safetensors")
    #expect(try Checkpoint(directory: directory.path).files.count == 1)
  }
}

/// The checkpoint that lies beside the repository, where there is one; skipped without it.
@Suite struct SharedCheckpointTests {
  static let directory: String = {
    let package = #filePath.split(separator: "/", omittingEmptySubsequences: false)
      .dropLast(3).joined(separator: "/")
    let shared =
      ProcessInfo.processInfo.environment["MINFERENCE_SHARED"] ?? package + "/../shared"
    return shared + "/tiny-model"
  }()

  @Test(
    .enabled(
      if: FileManager.default.fileExists(atPath: directory + "/config.json"),
      "needs the shared tiny model"))
  func `A trained checkpoint opens and its weights are finite`() throws {
    let checkpoint = try Checkpoint(directory: Self.directory)
    let configuration = checkpoint.configuration
    #expect(configuration.modelType == "llama")
    let embedding = try checkpoint.tensor(
      named: "model.embed_tokens.weight",
      shape: [configuration.vocabularySize, configuration.hiddenSize])
    #expect(embedding.format == .dense(.bfloat16))
    for name in checkpoint.tensorNames {
      #expect(try checkpoint.tensor(named: name).firstNonFiniteIndex() == nil)
    }
    #expect(!checkpoint.generation.endOfTextTokenIDs.isEmpty)
  }
}
