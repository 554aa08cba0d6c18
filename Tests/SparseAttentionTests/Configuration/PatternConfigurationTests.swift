import SparseAttention
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

@Suite struct PatternConfigurationTests {
  /// The published files, if they lie beside the checkout.
  static let published: URL? = {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent()
    let shared =
      ProcessInfo.processInfo.environment["MINFERENCE_SHARED"].map { URL(filePath: $0) }
      ?? root.deletingLastPathComponent().appending(path: "shared")
    let patterns = shared.appending(path: "patterns")
    return FileManager.default.fileExists(atPath: patterns.path) ? patterns : nil
  }()

  /// Reads a file with these contents.
  private func read(_ text: String) throws -> PatternConfiguration {
    try withFile { file in
      try Data(text.utf8).write(to: URL(filePath: file))
      return try PatternConfiguration(contentsOfFile: file)
    }
  }

  private func withFile<Result>(_ body: (String) throws -> Result) rethrows -> Result {
    let file = FileManager.default.temporaryDirectory
      .appending(path: "patterns-\(UUID().uuidString).json").path
    defer { try? FileManager.default.removeItem(atPath: file) }
    return try body(file)
  }

  /// The one line that a bad file gives.
  private func message(_ text: String) -> String {
    do {
      _ = try read(text)
      return "no error"
    } catch {
      return "\(error)"
    }
  }

  @Test(
    "every published file is read unchanged (skipped where ../shared is not there)",
    .enabled(if: published != nil))
  func publishedFiles() throws {
    let folder = try #require(Self.published)
    let shapes: [(String, Int, Int)] = [
      ("GLM_4_9B_1M_instruct_kv_out_v32_fit_o_best_pattern", 40, 32),
      ("Llama_3.1_70B_Instruct_128k_kv_out_v32_fit_o_best_pattern_v2", 80, 64),
      ("Llama_3.1_8B_Instruct_128k_kv_out_v32_fit_o_best_pattern", 32, 32),
      ("Llama_3.1_8B_Instruct_128k_kv_out_v32_fit_o_best_pattern_v2", 32, 32),
      ("Llama_3_70B_Instruct_262k_kv_out_v32_fit_o_best_pattern", 80, 64),
      ("Llama_3_8B_Instruct_262k_kv_out_v32_fit_o_best_pattern", 32, 32),
      ("Phi_3_mini_128k_instruct_kv_out_v32_fit_o_best_pattern", 32, 32),
      ("Qwen2.5_14B_Instruct_1M", 48, 40),
      ("Qwen2.5_32B_Instruct_128k_kv_out_v32_fit_o_best_pattern", 64, 40),
      ("Qwen2.5_72B_Instruct_128k_kv_out_v32_fit_o_best_pattern", 80, 64),
      ("Qwen2.5_7B_Instruct_128k_instruct_kv_out_v32_fit_o_best_pattern", 28, 28),
      ("Qwen2.5_7B_Instruct_1M", 28, 28),
      ("Qwen2_7B_Instruct_128k_instruct_kv_out_v32_fit_o_best_pattern", 28, 28),
      ("Yi_9B_200k_kv_out_v32_fit_o_best_pattern", 48, 32),
    ]
    for (name, layers, heads) in shapes {
      let file = folder.appending(path: name + ".json").path
      let configuration = try PatternConfiguration(contentsOfFile: file)
      let valid = try configuration.validated(layers: layers, heads: heads)
      #expect(valid.patterns.count == layers, "\(name)")
      #expect(valid.patterns.allSatisfy { $0.count == heads }, "\(name)")
      #expect(valid.measurements.joined().allSatisfy { $0?.recall != nil }, "\(name)")
    }
    // Known histograms of two of them.
    let phi = try PatternConfiguration(
      contentsOfFile: folder.appending(path: shapes[6].0 + ".json").path
    ).patterns.joined()
    #expect(phi.count { $0 == .aShape(sink: 100, local: 800) } == 43)
    #expect(phi.count { $0 == .verticalSlash(vertical: 3500, slash: 100) } == 378)
    let llama = try PatternConfiguration(
      contentsOfFile: folder.appending(path: shapes[3].0 + ".json").path
    ).patterns.joined()
    #expect(llama.count { $0 == .verticalSlash(vertical: 512, slash: 2048) } == 1024)
  }

  @Test func `a head missing from an upstream file is vertical-slash (1000, 6096)`() throws {
    let configuration = try read(
      """
      [{"0": ["stream_llm", 10, 20, 0.5], "2": ["block_sparse", 7, 7, 1]},
       {"1": ["vertical_and_slash", 30, 800, 12]}]
      """)
    let unlisted = HeadPattern.verticalSlash(vertical: 1000, slash: 6096)
    let valid = try configuration.validated(layers: 2, heads: 4)
    #expect(
      valid.patterns == [
        [.aShape(sink: 10, local: 20), unlisted, .blockSparse(topK: 100), unlisted],
        [unlisted, .verticalSlash(vertical: 30, slash: 800), unlisted, unlisted],
      ])
    #expect(valid.measurements[0][0]?.recall == 0.5)
    #expect(throws: PatternError.self) { try configuration.validated(layers: 2, heads: 2) }
  }

  @Test func `a file for another shape of model names both shapes in one line`() throws {
    let entry = #"["vertical_and_slash", 30, 800, 1]"#
    let file = try read(#"[{"0": \#(entry), "1": \#(entry)}, {"0": \#(entry), "1": \#(entry)}]"#)
    for (layers, heads) in [(2, 1), (2, 3), (3, 2), (1, 2)] {
      do {
        _ = try file.validated(layers: layers, heads: heads)
        Issue.record("\(layers) x \(heads) was taken")
      } catch {
        let text = "\(error)"
        #expect(text.contains("2 layers x 2 heads"))
        #expect(text.contains("\(layers) layers x \(heads) heads"))
        #expect(!text.contains("\n"))
      }
    }
  }

  @Test(arguments: ["0", "-5", "\"many\"", "1.5", "null", "1e99", "[]", "true", "NaN"])
  func `a bad budget is named with its file, layer and head`(budget: String) {
    for text in [
      #"[{}, {"3": ["vertical_and_slash", 30, \#(budget), 1]}]"#,
      #"[{}, {"3": ["stream_llm", \#(budget), 30, 1]}]"#,
      """
      {"format": "minference-patterns", "version": 1, "model": {"layers": 2, "query_heads": 4},
       "layers": [["dense", "dense", "dense", "dense"], ["dense", "dense", "dense",
        {"pattern": "a-shape", "sink": \(budget), "local": 7}]]}
      """,
    ] {
      let message = message(text)
      #expect(message.contains("layer 1, head 3: "), "\(message)")
      #expect(message.contains(".json"))
      #expect(!message.contains("\n"))
    }
  }

  @Test(arguments: [
    ("", "no valid JSON"), ("[", "no valid JSON"), ("7", "not a list or an object"),
    ("[]", "no layers"), ("[7]", "layer 0 is 7"), ("{}", "format"),
    (#"[{"x": ["vertical_and_slash", 1, 1, 1]}]"#, "head x"),
    (#"[{"0": ["sliding", 1, 1, 1]}]"#, "\"sliding\" is unknown"),
    (#"[{"0": ["vertical_and_slash", 1]}]"#, "a list of 2"),
    (#"{"format": "minference-patterns", "version": 2}"#, "version 2"),
    (#"{"format": "minference-patterns", "version": 1}"#, "query_heads"),
    (
      #"{"format": "minference-patterns", "version": 1, "model": {"layers": 2, "query_heads": 1}, "layers": [["dense"]]}"#,
      "2 layers, but 1 are listed"
    ),
    (
      #"{"format": "minference-patterns", "version": 1, "model": {"layers": 1, "query_heads": 1}, "layers": [["spiral"]]}"#,
      "\"spiral\" is unknown"
    ),
    (
      #"{"format": "minference-patterns", "version": 1, "model": {"layers": 1, "query_heads": 1}, "costs": {"dense_below": 4096, "tile_pair": 1, "column_pair": "2", "run": 3}, "layers": [["dense"]]}"#,
      "\"column_pair\""
    ),
    (
      #"{"format": "minference-patterns", "version": 1, "model": {"layers": 1, "query_heads": 1}, "costs": {"dense_below": 1e300, "tile_pair": 1, "column_pair": 2, "run": 3}, "layers": [["dense"]]}"#,
      "\"dense_below\""
    ),
    (
      #"{"format": "minference-patterns", "version": 1, "model": {"layers": 1, "query_heads": 1}, "costs": {"dense_below": 1, "tile_pair": 0, "column_pair": 2, "run": 3}, "layers": [["dense"]]}"#,
      "\"tile_pair\""
    ),
  ])
  func `what is wrong with a file is said in one line`(text: String, part: String) {
    let message = message(text)
    #expect(message.contains(part), "\(message)")
    #expect(!message.contains("\n"))
  }

  @Test func `costs are taken on the kind of device that they were measured on, or the defaults`()
    throws
  {
    let costs = SparseCostModel(denseBelow: 100, columnPair: 3, run: 7)
    var file = PatternConfiguration.uniform(.dense, layers: 1, heads: 1)
    #expect(file.costModel(onDevice: "cpu") == SparseCostModel())
    file.metadata.costs = costs
    #expect(file.costModel(onDevice: "cpu") == SparseCostModel())
    file.metadata.device = "cpu"
    #expect(file.costModel(onDevice: "cpu") == costs)
    #expect(file.costModel(onDevice: "cuda") == SparseCostModel())
    // A file from before there were costs.
    let old = try read(
      #"{"format": "minference-patterns", "version": 1, "device": "cpu", "model": {"layers": 1, "query_heads": 1}, "layers": [["dense"]]}"#
    )
    #expect(old.metadata.costs == nil && old.costModel(onDevice: "cpu") == SparseCostModel())
  }

  @Test func `a file that is not there or cannot be written is named`() {
    let missing = "no/such/folder/patterns.json"
    #expect(throws: PatternError.unreadable(file: missing, reason: "no such file")) {
      try PatternConfiguration(contentsOfFile: missing)
    }
    #expect(throws: PatternError.self) {
      try PatternConfiguration.uniform(.dense, layers: 1, heads: 1).write(toFile: missing)
    }
  }

  @Test func `what is written is read back the same`() throws {
    var written = PatternConfiguration(
      patterns: [
        [.dense, .aShape(sink: 1, local: 2), .triShape(sink: 1, local: 2, last: 3)],
        [
          .verticalSlash(vertical: 4, slash: 5), .staticVerticalSlash(vertical: 6, slash: 7),
          .blockSparse(topK: 8),
        ],
        [
          .dilated(sink: 9, window: 10, stride: 11),
          .strided(sink: 12, local: 13, window: 14, stride: 15), .dense,
        ],
      ],
      metadata: PatternMetadata(
        model: "a \"small\" model\n", device: "2 cores", samples: ["books", "söme"], tokens: 32768,
        outputError: 0.125,
        costs: SparseCostModel(denseBelow: 2048, tilePair: 1, columnPair: 1.75, run: 90.5)))
    written.measurements[1][0] = HeadMeasurement(
      recall: 0.97, milliseconds: 1.25, density: .infinity)
    try withFile { file in
      try written.write(toFile: file)
      let read = try PatternConfiguration(contentsOfFile: file)
      #expect(read.patterns == written.patterns)
      #expect(read.metadata == written.metadata)
      #expect(read.measurements[1][0] == HeadMeasurement(recall: 0.97, milliseconds: 1.25))
      #expect(read.measurements[0][0] == nil)
      #expect(try read.validated(layers: 3, heads: 3).patterns == written.patterns)
      #expect(throws: PatternError.self) { try read.validated(layers: 3, heads: 4) }
    }
  }
}
