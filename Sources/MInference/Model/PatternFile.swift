import Checkpoints
import Files
package import SparseAttention

/// Where the patterns of a model's heads come from.
package enum PatternSource: Sendable, Equatable {
  /// A file, of our own format or of upstream's.
  case file(path: String)
  /// Budgets inside config.json (`dual_chunk_attention_config`).
  case configuration(path: String)
  /// There are none. If the authors of MInference published a file for a model of this name, it is
  /// named: it may be put into the directory.
  case none(published: String?)
}

/// The pattern files that the authors of MInference published, by the models they are for.
///
/// Source: https://github.com/microsoft/MInference, `minference/configs/model2path.py`.
package enum PublishedPatterns {
  /// The last parts of model names, in lower case, and the file's name.
  package static let files: [(names: [String], file: String)] = [
    (
      [
        "llama-3-8b-instruct-262k", "llama-3-8b-instruct-gradient-1048k",
        "llama-3-8b-instruct-gradient-4194k",
      ], "Llama_3_8B_Instruct_262k_kv_out_v32_fit_o_best_pattern.json"
    ),
    (
      ["llama-3.1-8b-instruct", "meta-llama-3.1-8b-instruct", "meta-llama-3.1-8b"],
      "Llama_3.1_8B_Instruct_128k_kv_out_v32_fit_o_best_pattern_v2.json"
    ),
    (
      ["llama-3.1-8b-instruct", "meta-llama-3.1-8b-instruct", "meta-llama-3.1-8b"],
      "Llama_3.1_8B_Instruct_128k_kv_out_v32_fit_o_best_pattern.json"
    ),
    (
      ["llama-3.1-70b-instruct", "meta-llama-3.1-70b-instruct", "meta-llama-3.1-70b"],
      "Llama_3.1_70B_Instruct_128k_kv_out_v32_fit_o_best_pattern_v2.json"
    ),
    (
      ["llama-3-70b-instruct-gradient-262k", "llama-3-70b-instruct-gradient-1048k"],
      "Llama_3_70B_Instruct_262k_kv_out_v32_fit_o_best_pattern.json"
    ),
    (["yi-9b-200k"], "Yi_9B_200k_kv_out_v32_fit_o_best_pattern.json"),
    (
      ["phi-3-mini-128k-instruct"],
      "Phi_3_mini_128k_instruct_kv_out_v32_fit_o_best_pattern.json"
    ),
    (["qwen2-7b-instruct"], "Qwen2_7B_Instruct_128k_instruct_kv_out_v32_fit_o_best_pattern.json"),
    (
      ["qwen2.5-7b-instruct"],
      "Qwen2.5_7B_Instruct_128k_instruct_kv_out_v32_fit_o_best_pattern.json"
    ),
    (
      ["qwen2.5-32b-instruct"], "Qwen2.5_32B_Instruct_128k_kv_out_v32_fit_o_best_pattern.json"
    ),
    (
      ["qwen2.5-72b-instruct"], "Qwen2.5_72B_Instruct_128k_kv_out_v32_fit_o_best_pattern.json"
    ),
    (["qwen2.5-7b-instruct-1m"], "Qwen2.5_7B_Instruct_1M.json"),
    (["qwen2.5-14b-instruct-1m"], "Qwen2.5_14B_Instruct_1M.json"),
    (
      ["glm-4-9b-chat-1m", "glm-4-9b-chat-1m-hf"],
      "GLM_4_9B_1M_instruct_kv_out_v32_fit_o_best_pattern.json"
    ),
  ]

  /// The files for the model that lies in `directory`, by its name: the last part of the path, or,
  /// in a cache of Hugging Face (`models--OWNER--NAME/snapshots/...`), the name there.
  package static func files(forModelIn directory: String) -> [String] {
    let parts = directory.split(separator: "/").map { $0.lowercased() }
    guard let part = parts.last(where: { $0.hasPrefix("models--") }) ?? parts.last else {
      return []
    }
    return files.filter { entry in
      entry.names.contains { part == $0 || part.hasPrefix("models--") && part.hasSuffix("--" + $0) }
    }.map(\.file)
  }
}

extension PublishedPatterns {
  /// The files for the model in a GGUF file, by its name: NAME of NAME-Q4_K_M.gguf. Of the names that it
  /// begins with the longest counts.
  package static func files(forModelInFile path: String) -> [String] {
    guard let name = path.split(separator: "/").last?.lowercased() else { return [] }
    func isNamed(_ model: String) -> Bool {
      guard name.hasPrefix(model) else { return false }
      return name.dropFirst(model.count).first.map { $0 == "-" || $0 == "." } ?? false
    }
    let longest = files.flatMap(\.names).filter(isNamed).max { $0.count < $1.count }
    return files.filter { $0.names.contains { $0 == longest } }.map(\.file)
  }
}

extension PatternSource {
  /// Looks beside a GGUF file NAME.gguf for NAME.patterns.json, then for patterns.json and the published
  /// files, of which those of another shape are another model's.
  ///
  /// - Throws: `PatternError` for NAME.patterns.json where it cannot be read.
  private static func find(
    besideFile file: String, read: (String) throws -> (PatternSource, PatternConfiguration?)
  ) throws -> (source: PatternSource, patterns: PatternConfiguration?) {
    let own = file.dropLast(".gguf".count) + ".patterns.json"
    if WholeFile.exists(String(own)) { return try read(String(own)) }
    let folder = file.lastIndex(of: "/").map { String(file[...$0]) } ?? ""
    let named = PublishedPatterns.files(forModelInFile: file)
    for name in ["patterns.json"] + named + PublishedPatterns.files.map(\.file)
    where WholeFile.exists(folder + name) {
      if let found = try? read(folder + name) { return found }
    }
    return (.none(published: named.first), nil)
  }

  /// Looks in the directory of a model for `patterns.json`, for a published file of the model's name,
  /// for any published file of the model's shape, for `sparse_attention_config.json`, and in
  /// config.json, in this order. `directory` may also be a GGUF file, beside which files are looked for.
  ///
  /// - Throws: `PatternError` for a file that is given or found by name and cannot be read.
  package static func find(
    given: String?, directory: String, configuration: ModelConfiguration
  ) throws -> (source: PatternSource, patterns: PatternConfiguration?) {
    let (layers, heads) = (configuration.numHiddenLayers, configuration.numAttentionHeads)
    func read(_ path: String) throws -> (PatternSource, PatternConfiguration?) {
      let patterns = try PatternConfiguration(contentsOfFile: path)
      return (.file(path: path), try patterns.validated(layers: layers, heads: heads))
    }
    if let given { return try read(given) }
    if directory.lowercased().hasSuffix(".gguf") {
      return try find(besideFile: directory, read: read)
    }
    let named = PublishedPatterns.files(forModelIn: directory)
    for name in ["patterns.json"] + named {
      let path = directory + "/" + name
      if WholeFile.exists(path) { return try read(path) }
    }
    for file in PublishedPatterns.files.map(\.file) {
      let path = directory + "/" + file
      // Of several that lie here the one of this shape is meant.
      if WholeFile.exists(path), let found = try? read(path) { return found }
    }
    let beside = directory + "/sparse_attention_config.json"
    if WholeFile.exists(beside) { return try read(beside) }
    if let budgets = configuration.dualChunkAttention?.sparseAttention {
      let patterns = PatternConfiguration(
        patterns: budgets.map { layer in
          layer.map { .verticalSlash(vertical: $0.vertical, slash: $0.slash) }
        })
      return (
        .configuration(path: directory + "/config.json"),
        try patterns.validated(layers: layers, heads: heads)
      )
    }
    return (.none(published: named.first), nil)
  }

  /// Whether these are the budgets that Qwen's models bring for dual chunk attention, which are given
  /// for the length of training.
  var growsWithLength: Bool {
    switch self {
    case .configuration: true
    case .file(let path): path.hasSuffix("/sparse_attention_config.json")
    case .none: false
    }
  }

  /// For a person: where the patterns are, or that there are none and what to do.
  package var text: String {
    switch self {
    case .file(let path): path
    case .configuration(let path): "\(path) (dual_chunk_attention_config)"
    case .none(let published):
      "none: every head gets the same adaptive selection; "
        + (published.map { "put \($0) of MInference into the directory, or " } ?? "")
        + "find them with `minference search`"
    }
  }
}
