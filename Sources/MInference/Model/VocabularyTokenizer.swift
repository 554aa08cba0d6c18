import Checkpoints
import JSON
public import Tokenizers

/// The tokenizer of the model at `path`, which needs no weights where it is a directory.
///
/// - Parameter path: As for ``LanguageModel/load(directory:device:threads:linear:attentionPrecision:patterns:chatTemplate:)``.
/// - Throws: `TokenizerError`, `CheckpointError`.
public func openTokenizer(at path: String) throws -> Tokenizer {
  let path = try HuggingFaceCache().path(ofModel: path)
  guard try holdsGGUF(path) else { return try Tokenizer(directory: path) }
  return try VocabularyTokenizer.make(try openWeightSource(at: path).tokenizerSource())
}

/// The tokenizer of a model: read from its directory, or made of a GGUF file's vocabulary.
///
/// A vocabulary states what `tokenizer.json` states, so it is written as one and read by the same code.
enum VocabularyTokenizer {
  static func make(_ source: TokenizerSource) throws -> Tokenizer {
    switch source {
    case .directory(let directory): try Tokenizer(directory: directory)
    case .vocabulary(let vocabulary): try make(vocabulary)
    }
  }

  /// - Throws: `CheckpointError.invalidField` that names file and key for a kind or a pre-tokenizer that is
  ///   not known; `TokenizerError`.
  static func make(_ vocabulary: StoredVocabulary) throws -> Tokenizer {
    let parts: Parts
    switch vocabulary.kind {
    case "gpt2": parts = try byteLevel(vocabulary)
    case "llama": parts = try scored(vocabulary)
    default:
      throw CheckpointError.invalidField(
        file: vocabulary.file, field: "tokenizer.ggml.model",
        problem: "is \"\(vocabulary.kind.prefix(40))\": known are gpt2 and llama")
    }
    let texts = try texts(of: vocabulary)
    var pieces: [JSONValue.Member] = []
    var addedTokens: [JSONValue] = []
    for (id, text) in texts.enumerated() {
      let type = vocabulary.types.isEmpty ? 1 : vocabulary.types[id]
      if isAdded(type) {
        addedTokens.append(
          .object([
            ("id", .integer(id)), ("content", .string(text)), ("single_word", .boolean(false)),
            ("lstrip", .boolean(false)), ("rstrip", .boolean(false)),
            ("normalized", .boolean(false)), ("special", .boolean(type != userDefinedType)),
          ]))
      }
      if !isAdded(type) || parts.hasAddedPieces {
        pieces.append(.init(key: text, value: .integer(id)))
      }
    }
    var model = parts.model
    model.append(("vocab", .object(pieces)))
    let file = JSONValue.object([
      ("added_tokens", .array(addedTokens)), ("normalizer", parts.normalizer),
      ("pre_tokenizer", parts.preTokenizer), ("post_processor", .null),
      ("decoder", parts.decoder), ("model", .object(model)),
    ])
    var writer = JSONWriter(.compact)
    writer.write(file)
    return try Tokenizer(
      contents: writer.bytes, path: vocabulary.file,
      configuration: configuration(vocabulary, texts, parts))
  }

  /// What a kind of vocabulary is beside its texts.
  private struct Parts {
    var normalizer: JSONValue
    var preTokenizer: JSONValue
    var decoder: JSONValue
    /// The members of `model`, but for the vocabulary.
    var model: [(String, JSONValue)]
    var addsBeginningOfText: Bool
    /// Whether control tokens are pieces of the model too, as the one for what is unknown has to be.
    var hasAddedPieces = false
  }

  private static let unknownType = 2
  private static let controlType = 3
  private static let userDefinedType = 4

  private static func isAdded(_ type: Int) -> Bool {
    (unknownType...userDefinedType).contains(type)
  }

  private static func texts(of vocabulary: StoredVocabulary) throws -> [String] {
    try vocabulary.tokens.enumerated().map { id, bytes in
      guard let text = String(validating: bytes, as: UTF8.self) else {
        throw CheckpointError.invalidField(
          file: vocabulary.file, field: "tokenizer.ggml.tokens",
          problem: "has a token that is not UTF-8, \(id): download or convert the model again")
      }
      // As llama.cpp names them: a tokenizer has each text once.
      return text.isEmpty ? "[EMPTY_\(id)]" : text
    }
  }

  private static func configuration(
    _ vocabulary: StoredVocabulary, _ texts: [String], _ parts: Parts
  ) -> TokenizerConfiguration {
    var configuration = TokenizerConfiguration()
    configuration.beginningOfTextToken = vocabulary.beginOfTextID.map { texts[$0] }
    configuration.endOfTextToken = vocabulary.endOfTextID.map { texts[$0] }
    configuration.paddingToken = vocabulary.paddingID.map { texts[$0] }
    configuration.unknownToken = vocabulary.unknownID.map { texts[$0] }
    configuration.addsBeginningOfText =
      vocabulary.addsBeginningOfText ?? parts.addsBeginningOfText
    configuration.addsEndOfText = vocabulary.addsEndOfText ?? false
    if configuration.beginningOfTextToken == nil { configuration.addsBeginningOfText = false }
    configuration.chatTemplate = vocabulary.chatTemplate
    configuration.namedChatTemplates = vocabulary.namedChatTemplates
    configuration.chatTemplateFile = vocabulary.file
    return configuration
  }

  // MARK: Byte-level byte-pair encoding

  private static func byteLevel(_ vocabulary: StoredVocabulary) throws -> Parts {
    let key = "tokenizer.ggml.pre"
    guard let name = vocabulary.preTokenizer, name != "default" else {
      throw CheckpointError.invalidField(
        file: vocabulary.file, field: key,
        problem: "is missing, and texts would be split wrong: convert the model again")
    }
    guard let splitting = VocabularySplitting(preTokenizer: name) else {
      throw CheckpointError.invalidField(
        file: vocabulary.file, field: key,
        problem: "is \"\(name.prefix(40))\": known are "
          + VocabularySplitting.knownNames.joined(separator: ", "))
    }
    let merges = vocabulary.merges.map { JSONValue.string(String(decoding: $0, as: UTF8.self)) }
    return Parts(
      normalizer: splitting.composesCharacters ? .object([("type", .string("NFC"))]) : .null,
      preTokenizer: splitting.preTokenizer,
      decoder: .object([
        ("type", .string("ByteLevel")), ("add_prefix_space", .boolean(true)),
        ("trim_offsets", .boolean(true)), ("use_regex", .boolean(true)),
      ]),
      model: [
        ("type", .string("BPE")), ("dropout", .null), ("unk_token", .null),
        ("continuing_subword_prefix", .null), ("end_of_word_suffix", .null),
        ("fuse_unk", .boolean(false)), ("byte_fallback", .boolean(false)),
        ("ignore_merges", .boolean(splitting.takesWholePieces)), ("merges", .array(merges)),
      ],
      addsBeginningOfText: splitting.addsBeginningOfText)
  }

  // MARK: SentencePiece with scores

  /// Joins the pair of the highest score first. Scores become the ranks of merges, as Hugging Face's
  /// converter of SentencePiece models makes them: every division of a piece in two pieces is a merge,
  /// those of higher scores first.
  private static func scored(_ vocabulary: StoredVocabulary) throws -> Parts {
    guard vocabulary.scores.count == vocabulary.tokens.count else {
      throw CheckpointError.invalidField(
        file: vocabulary.file, field: "tokenizer.ggml.scores",
        problem: "is missing: download or convert the model again")
    }
    var ids: [ArraySlice<UInt8>: Int] = [:]
    for (id, text) in vocabulary.tokens.enumerated() { ids[text[...]] = id }
    let order = vocabulary.tokens.indices.sorted {
      (-vocabulary.scores[$0], $0) < (-vocabulary.scores[$1], $1)
    }
    var merges: [JSONValue] = []
    for id in order where vocabulary.types.isEmpty || vocabulary.types[id] == 1 {
      let text = vocabulary.tokens[id]
      // Texts are short; a longer one would take quadratic time.
      guard (2...256).contains(text.count) else { continue }
      let pairs = (1..<text.count).compactMap { cut -> (left: Int, right: Int)? in
        guard let left = ids[text[..<cut]], let right = ids[text[cut...]] else { return nil }
        return (left, right)
      }
      for pair in pairs.sorted(by: { ($0.left, $0.right) < ($1.left, $1.right) }) {
        merges.append(
          .array(
            [pair.left, pair.right].map { id in
              .string(String(decoding: vocabulary.tokens[id], as: UTF8.self))
            }))
      }
    }
    let prefixes = vocabulary.addsSpacePrefix ?? true
    func replacing(_ from: String, with to: String) -> JSONValue {
      .object([
        ("type", .string("Replace")), ("pattern", .object([("String", .string(from))])),
        ("content", .string(to)),
      ])
    }
    let space = "\u{2581}"
    let prepend = JSONValue.object([("type", .string("Prepend")), ("prepend", .string(space))])
    let strip = JSONValue.object([
      ("type", .string("Strip")), ("content", .string(" ")), ("start", .integer(1)),
      ("stop", .integer(0)),
    ])
    return Parts(
      normalizer: .object([
        ("type", .string("Sequence")),
        ("normalizers", .array((prefixes ? [prepend] : []) + [replacing(" ", with: space)])),
      ]),
      preTokenizer: .null,
      decoder: .object([
        ("type", .string("Sequence")),
        (
          "decoders",
          .array(
            [
              replacing(space, with: " "), .object([("type", .string("ByteFallback"))]),
              .object([("type", .string("Fuse"))]),
            ] + (prefixes ? [strip] : []))
        ),
      ]),
      model: [
        ("type", .string("BPE")), ("dropout", .null),
        (
          "unk_token",
          vocabulary.unknownID.map {
            .string(String(decoding: vocabulary.tokens[$0], as: UTF8.self))
          } ?? .null
        ),
        ("continuing_subword_prefix", .null), ("end_of_word_suffix", .null),
        ("fuse_unk", .boolean(true)), ("byte_fallback", .boolean(true)),
        ("ignore_merges", .boolean(false)), ("merges", .array(merges)),
      ],
      addsBeginningOfText: true, hasAddedPieces: true)
  }
}
