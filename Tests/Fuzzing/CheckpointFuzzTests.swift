import Checkpoints
import JSON
import TemporaryCheckpoints
import Testing
import Transformers

/// Weights, indexes and configurations.
@Suite struct CheckpointFuzzTests {
  private func tiny() throws -> TemporaryDirectory {
    let directory = try TemporaryDirectory()
    try TinyCheckpoint.write(to: directory)
    return directory
  }

  private func bytes(_ name: String, _ directory: TemporaryDirectory) throws -> [UInt8] {
    try FuzzFiles.bytes(of: directory.path("model/" + name))
  }

  @Test func `Mutated safetensors files are read within their bounds or refused`() throws {
    let directory = try tiny()
    let seed = try bytes("model.safetensors", directory)
    let small = SafetensorsWriter.fileBytes([
      .init(name: "a", shape: [2, 3], floats: Array(repeating: 1, count: 6), as: .bfloat16),
      .init(name: "b", storedType: "I64", shape: [1], bytes: Array(repeating: 1, count: 8)),
      .init(name: "c", shape: [], floats: [2]),
    ])
    let mutation = Mutation(
      seeds: [seed, small, small],
      fragments: [
        "\"F32\"", "\"BF16\"", "\"I64\"", "\"F8_E4M3\"", "\"__metadata__\"", "\"data_offsets\"",
        "\"dtype\":", "\"shape\":[", "9999999999", " ",
      ], reach: 2600)
    var run = FuzzRun("safetensors", mutation, rounds: 600)
    let counts = try run.run { input in
      try directory.write(input, to: "model/model.safetensors")
      let checkpoint = try Checkpoint(directory: directory.path("model"))
      for name in checkpoint.tensorNames {
        guard let tensor = try? checkpoint.tensor(named: name) else { continue }
        guard tensor.floats().count == tensor.count, tensor.byteCount <= input.count else {
          throw FuzzFailure(what: "\(name) has bytes that the file does not have")
        }
        _ = tensor.firstNonFiniteIndex()
      }
      _ = try checkpoint.neededTensorNames()
    }
    #expect(counts.accepted > 0 && counts.refused > 0)
  }

  @Test func `Mutated indexes are read or refused`() throws {
    let directory = try TemporaryDirectory()
    try TinyCheckpoint.write(to: directory, withWeights: false)
    for name in ["one", "two"] {
      try directory.write(
        SafetensorsWriter.fileBytes([.init(name: name, shape: [1], floats: [1])]),
        to: "model/\(name).safetensors")
    }
    let mutation = Mutation(
      texts: [
        #"{"metadata": {"total_size": 8}, "weight_map": {"one": "one.safetensors", "#
          + #""two": "two.safetensors"}}"#
      ],
      fragments: [
        "../", "/etc/passwd", "one.safetensors", ".safetensors", "\"weight_map\"", "./",
      ])
    var run = FuzzRun("index", mutation, rounds: 500)
    _ = try run.run { input in
      try directory.write(input, to: "model/model.safetensors.index.json")
      let checkpoint = try Checkpoint(directory: directory.path("model"))
      guard checkpoint.files.allSatisfy({ $0.path.hasPrefix(directory.path("model")) }) else {
        throw FuzzFailure(what: "a file outside of the directory was opened")
      }
      for name in ["one", "two"] { _ = try checkpoint.tensor(named: name).floats() }
      _ = checkpoint.notices
    }
  }

  @Test func `Mutated configurations are read or refused`() throws {
    let directory = try tiny()
    let dresses = try FuzzFiles.lines(of: "TransformersTests/Goldens/configurations.jsonl")
      .enumerated().filter { $0.offset % 9 == 0 }.compactMap { line -> [UInt8]? in
        let value = try? JSONValue(parsing: line.element)
        return value?["config"].map { Array($0.serialized().utf8) }
      }
    let mutation = Mutation(
      seeds: try [bytes("config.json", directory)] + dresses,
      fragments: [
        "\"rope_scaling\":{\"rope_type\":\"yarn\"},", "\"rope_theta\":", "\"llama3\"",
        "\"sliding_window\":null,", "\"head_dim\":", "{\"__float__\":\"NaN\"}", "\"layer_types\":[",
        "\"quantization_config\":{\"quant_method\":\"fp8\"},", "\"model_type\":\"phi3\",",
      ])
    var run = FuzzRun("config", mutation, rounds: 1500)
    let counts = try run.run { input in
      let json = try JSONValue(parsing: input)
      let configuration = try ModelConfiguration(json: json, file: "config.json")
      _ = configuration.fingerprint
      for notice in configuration.notices where notice.contains("\n") || notice.utf8.count > 2000 {
        throw FuzzFailure(what: notice)
      }
      // Names of tensors are made for every layer.
      guard configuration.numHiddenLayers <= 64 else { return }
      let shape = try Checkpoint(shapeOf: configuration, named: "shape")
      _ = try shape.neededTensorNames()
    }
    #expect(counts.accepted > 0 && counts.refused > 100)
  }

  @Test func `Mutated sampling defaults are read or refused`() throws {
    let directory = try tiny()
    let shape = try ModelConfiguration(file: directory.path("model/config.json"))
    let mutation = Mutation(
      texts: [
        #"{"eos_token_id": [1, 2], "do_sample": true, "temperature": 0.6, "top_p": 0.95, "#
          + #""top_k": 20, "min_p": 0.0, "repetition_penalty": 1.05}"#
      ], fragments: ["\"top_k\":", "false"])
    var run = FuzzRun("generation_config", mutation, rounds: 300)
    _ = try run.run { input in
      try directory.write(input, to: "generation_config.json")
      _ = try GenerationConfiguration(
        file: directory.path("generation_config.json"), defaults: shape)
    }
  }

  @Test func `Mutated GGUF files are loaded or refused`() throws {
    let directory = try TemporaryDirectory()
    let golden = try FuzzFiles.bytes(
      of: FuzzFiles.tests + "/CheckpointsTests/Goldens/every-kind.gguf")
    let mutation = Mutation(
      seeds: [golden, GGUFWriter(metadata: [], tensors: []).fileBytes()],
      fragments: [
        "general.architecture", "llama", "\u{FF}\u{FF}\u{FF}\u{FF}", "\u{1}\u{0}\u{0}\u{0}",
        "tokenizer.ggml.tokens", "\u{9}\u{0}\u{0}\u{0}",
      ])
    var run = FuzzRun("gguf", mutation, rounds: 600)
    _ = try run.run { input in
      try directory.write(input, to: "m.gguf")
      let checkpoint = try GGUFCheckpoint(file: directory.path("m.gguf"))
      for name in checkpoint.tensorNames { _ = try checkpoint.tensor(named: name).floats() }
      _ = try checkpoint.tokenizerSource()
    }
  }
}
