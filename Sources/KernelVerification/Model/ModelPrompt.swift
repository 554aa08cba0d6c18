import EvaluationTasks
public import MInference

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What a model is verified on, and what transformers makes of it if that is known.
public struct ModelPrompt: Sendable {
  public var ids: [Int32]
  /// [tokens * vocabulary]; nil: not computed.
  public var golden: [Float]?
  /// For a person.
  public var source: String

  public init(ids: [Int32], golden: [Float]? = nil, source: String) {
    self.ids = ids
    self.golden = golden
    self.source = source
  }

  /// In this order: the text given; the prompt of `DIRECTORY.golden.safetensors`, with its logits; a
  /// long document in the checkpoint's own tokens; ids drawn at random where it has no tokenizer.
  ///
  /// - Parameters:
  ///   - text: A prompt of the user's.
  ///   - tokens: The most that is taken of it; nil: 512, or all of a golden.
  /// - Throws: `CheckpointError`, `TokenizerError`; ``LanguageModelError/emptyPrompt``.
  public static func find(
    directory: String, text: String?, tokens: Int?, configuration: ModelConfiguration
  ) throws -> ModelPrompt {
    var directory = directory
    while directory.count > 1, directory.hasSuffix("/") { directory.removeLast() }
    let golden = directory + ".golden.safetensors"
    if text == nil, access(golden, R_OK) == 0 {
      let file = try SafetensorsFile(path: golden)
      guard let ids = try file.tensor(named: "input_ids"),
        let logits = try file.tensor(named: "logits"), ids.shape.count == 1
      else { throw LanguageModelError.emptyPrompt }
      let count = min(tokens ?? ids.shape[0], ids.shape[0])
      // What comes later in a text changes no logits before, but its length may.
      let isWhole = count == ids.shape[0]
      return ModelPrompt(
        ids: ids.floats().prefix(count).map { Int32($0) },
        golden: isWhole ? logits.floats() : nil, source: golden)
    }
    let count = tokens ?? 512
    if text == nil, !directory.lowercased().hasSuffix(".gguf"),
      access(directory + "/tokenizer.json", F_OK) != 0
    {
      var random = SeededGenerator(seed: 1)
      return ModelPrompt(
        ids: (0..<count).map { _ in Int32(random.next(below: configuration.vocabularySize)) },
        source: "random ids")
    }
    let tokenizer = try openTokenizer(at: directory)
    let whole =
      try text
      ?? DemoDocument(tokens: count + 256, countTokens: { tokenizer.encode($0).count }).text
    let ids = Array(tokenizer.encode(whole).prefix(count))
    guard !ids.isEmpty else { throw LanguageModelError.emptyPrompt }
    return ModelPrompt(ids: ids, source: text == nil ? "a long document" : "the prompt")
  }
}
