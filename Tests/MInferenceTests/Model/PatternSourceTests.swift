import MInference
import TemporaryCheckpoints
import Testing

/// Where a model's patterns come from; the checkpoints have two layers of two heads.
struct PatternSourceTests {
  let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
  }

  private func patterns(layers: Int = 2, vertical: Int) -> String {
    let layer =
      #"{"0": ["vertical_and_slash", \#(vertical), 60, 1.0], "1": ["stream_llm", 1, 8, 1.0]}"#
    return "[\(Array(repeating: layer, count: layers).joined(separator: ", "))]"
  }

  private func source(
    of name: String, given: String? = nil
  ) throws -> (source: PatternSource, vertical: Int?) {
    let path = directory.path(name)
    let (source, patterns) = try PatternSource.find(
      given: given, directory: path, configuration: try Checkpoint(directory: path).configuration)
    return (source, (patterns?.patterns.first?.first?.selector as? VerticalSlash)?.vertical)
  }

  @Test func `a published file is found by the model's name, and patterns.json comes first`() throws
  {
    let name = "Qwen2.5-7B-Instruct-1M"
    try TinyCheckpoint.write(to: directory, name: name)
    #expect(try source(of: name).source == .none(published: "Qwen2.5_7B_Instruct_1M.json"))
    let file = "\(name)/Qwen2.5_7B_Instruct_1M.json"
    try directory.write(patterns(vertical: 31), to: file)
    #expect(try source(of: name) == (.file(path: directory.path(file)), 31))
    let own = "\(name)/patterns.json"
    try directory.write(patterns(vertical: 32), to: own)
    #expect(try source(of: name) == (.file(path: directory.path(own)), 32))
    try directory.write(patterns(vertical: 33), to: "given.json")
    let given = directory.path("given.json")
    #expect(try source(of: name, given: given) == (.file(path: given), 33))
  }

  @Test("Beside a GGUF file its own patterns come first, then those of its shape")
  func findsBesideFiles() throws {
    try TinyCheckpoint.write(to: directory)
    let configuration = try Checkpoint(directory: directory.path("model")).configuration
    func source(_ file: String) throws -> PatternSource {
      try PatternSource.find(
        given: nil, directory: directory.path(file), configuration: configuration
      ).source
    }
    let file = "Qwen2.5-7B-Instruct-1M-Q4_K_M.gguf"
    #expect(try source(file) == .none(published: "Qwen2.5_7B_Instruct_1M.json"))
    #expect(
      try source("qwen2.5-7b-instruct.Q8_0.gguf")
        == .none(published: "Qwen2.5_7B_Instruct_128k_instruct_kv_out_v32_fit_o_best_pattern.json"))
    #expect(try source("other.gguf") == .none(published: nil))
    // Of another shape, and so of another model that lies here.
    try directory.write(patterns(layers: 3, vertical: 51), to: "patterns.json")
    #expect(try source(file) == .none(published: "Qwen2.5_7B_Instruct_1M.json"))
    try directory.write(patterns(vertical: 52), to: "Qwen2.5_7B_Instruct_1M.json")
    #expect(try source(file) == .file(path: directory.path("Qwen2.5_7B_Instruct_1M.json")))
    try directory.write(patterns(vertical: 53), to: "patterns.json")
    #expect(try source(file) == .file(path: directory.path("patterns.json")))
    let own = "Qwen2.5-7B-Instruct-1M-Q4_K_M.patterns.json"
    try directory.write(patterns(vertical: 54), to: own)
    #expect(try source(file) == .file(path: directory.path(own)))
    try directory.write(patterns(layers: 3, vertical: 55), to: own)
    #expect(throws: (any Error).self) { try source(file) }
  }

  @Test func `of published files under another name the one of the model's shape is taken`() throws
  {
    try TinyCheckpoint.write(to: directory)
    #expect(try source(of: "model").source == .none(published: nil))
    try directory.write(
      patterns(layers: 3, vertical: 41),
      to: "model/Yi_9B_200k_kv_out_v32_fit_o_best_pattern.json")
    #expect(try source(of: "model").source == .none(published: nil))
    let file = "model/Qwen2.5_14B_Instruct_1M.json"
    try directory.write(patterns(vertical: 42), to: file)
    #expect(try source(of: "model") == (.file(path: directory.path(file)), 42))
  }

  @Test func `a file of the model's name but of another shape is an error`() throws {
    try TinyCheckpoint.write(to: directory, name: "yi-9b-200k")
    try directory.write(
      patterns(layers: 3, vertical: 41),
      to: "yi-9b-200k/Yi_9B_200k_kv_out_v32_fit_o_best_pattern.json")
    #expect(throws: PatternError.self) { try source(of: "yi-9b-200k") }
  }

  @Test func `budgets in config.json are taken where there is no file`() throws {
    let field = #"{"chunk_size": 1024, "local_size": 128, "sparse_attention_config": "#
    try TinyCheckpoint.write(
      to: directory,
      configuration: [
        "dual_chunk_attention_config": field
          + patterns(vertical: 51)
          .replacing("stream_llm", with: "vertical_and_slash") + "}"
      ])
    let found = try source(of: "model")
    #expect(found == (.configuration(path: directory.path("model/config.json")), 51))
    let model = try LanguageModel(
      LoadOptions(directory: directory.path("model"), device: .cpu, threads: 1))
    #expect(model.patterns?.patterns[1][1] == .verticalSlash(vertical: 1, slash: 8))
    let beside = "model/sparse_attention_config.json"
    try directory.write(patterns(vertical: 52), to: beside)
    #expect(try source(of: "model") == (.file(path: directory.path(beside)), 52))
  }

  @Test func `budgets of config.json count from the length on that it names`() throws {
    let field =
      #"{"chunk_size": 1024, "local_size": 128, "sparse_attention_threshold": 9000, "#
      + #""sparse_attention_config": "#
    try TinyCheckpoint.write(
      to: directory,
      configuration: [
        "dual_chunk_attention_config": field
          + patterns(vertical: 51)
          .replacing("stream_llm", with: "vertical_and_slash") + "}"
      ])
    let model = try LanguageModel(
      LoadOptions(directory: directory.path("model"), device: .cpu, threads: 1))
    let planner = try #require(try model.planner(for: AttentionOptions()))
    #expect(planner.costModel.denseBelow == 9001)
    let chosen = try #require(try model.planner(for: AttentionOptions(mode: .verticalSlash)))
    #expect(chosen.costModel.denseBelow < 9000)
  }

  @Test func `without patterns every head gets the same adaptive selection`() throws {
    try TinyCheckpoint.write(to: directory)
    let model = try LanguageModel(
      LoadOptions(directory: directory.path("model"), device: .cpu, threads: 1))
    let options = AttentionOptions()
    let planner = try #require(try model.planner(for: options))
    let standard = HeadPattern(
      PooledBlocks(
        rule: ShareRule(share: 0.85, floor: 0.1), poolSize: 128, columns: 512, last: 256))
    #expect(planner.configuration.patterns.joined().allSatisfy { $0 == standard })
    #expect(model.notices(for: options).contains { $0.contains("minference search") })
    for other in [AttentionOptions(mode: .dense), AttentionOptions(mode: .aShape)] {
      #expect(!model.notices(for: other).contains { $0.contains("minference search") })
    }
    try directory.write(patterns(vertical: 31), to: "model/patterns.json")
    let patterned = try LanguageModel(
      LoadOptions(directory: directory.path("model"), device: .cpu, threads: 1))
    #expect(!patterned.notices(for: options).contains { $0.contains("minference search") })
  }

  @Test(arguments: [
    ("/models/Qwen2.5-7B-Instruct-1M/", ["Qwen2.5_7B_Instruct_1M.json"]),
    (
      "/hub/models--microsoft--Phi-3-mini-128k-instruct/snapshots/0123abc",
      ["Phi_3_mini_128k_instruct_kv_out_v32_fit_o_best_pattern.json"]
    ),
    (
      "Llama-3.1-8B-Instruct",
      [
        "Llama_3.1_8B_Instruct_128k_kv_out_v32_fit_o_best_pattern_v2.json",
        "Llama_3.1_8B_Instruct_128k_kv_out_v32_fit_o_best_pattern.json",
      ]
    ),
    ("/models/my-Yi-9B-200K", []), ("/", []), ("", []),
  ])
  func `names of models are looked up whole, in any case`(directory: String, files: [String]) {
    #expect(PublishedPatterns.files(forModelIn: directory) == files)
  }
}
