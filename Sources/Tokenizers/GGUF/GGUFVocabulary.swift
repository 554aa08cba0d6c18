/// The vocabulary of a GGUF file as the arrays that its metadata hold (keys `tokenizer.ggml.*`).
///
/// Source: the GGUF specification; llama.cpp, `src/llama-vocab.cpp`.
public struct GGUFVocabulary: Sendable {
  /// `tokenizer.ggml.model`.
  public enum Kind: String, Sendable, CaseIterable {
    /// Byte-pair encoding over bytes, which `tokens` and `merges` spell in GPT-2's alphabet.
    case bytePairs = "gpt2"
    /// SentencePiece's byte-pair encoding, which merges by `scores`.
    case scoredPieces = "llama"
  }

  /// `model`.
  public var kind: Kind
  /// `tokens`: the text of every id, as bytes.
  public var tokens: [[UInt8]]
  /// `token_type`, a number from 1 to 6 for every id; without any, all are normal.
  public var types: [Int32] = []
  /// `merges`: two pieces with a blank between them. Of the kind `gpt2`.
  public var merges: [[UInt8]] = []
  /// `scores`. Of the kind `llama`.
  public var scores: [Float] = []
  /// `pre`: the name of the pre-tokenizer. Of the kind `gpt2`; without one it is `default`.
  public var preTokenizer: String?
  /// `bos_token_id`.
  public var beginningOfTextID: Int?
  /// `eos_token_id`.
  public var endOfTextID: Int?
  /// `unknown_token_id`.
  public var unknownID: Int?
  /// `padding_token_id`.
  public var paddingID: Int?
  /// `add_bos_token`; without it the kind and the pre-tokenizer decide.
  public var addsBeginningOfText: Bool?
  /// `add_eos_token`; without it none is added.
  public var addsEndOfText: Bool?
  /// `add_space_prefix`, of the kind `llama`; without it true.
  public var addsSpacePrefix: Bool?
  /// `tokenizer.chat_template`.
  public var chatTemplate: String?

  public init(kind: Kind, tokens: [[UInt8]]) {
    self.kind = kind
    self.tokens = tokens
  }
}

extension Tokenizer {
  /// A tokenizer from a vocabulary in memory.
  ///
  /// Control tokens (type 3) and the unknown token (type 2) are special; user-defined ones (type 4) are found in any
  /// text. Ids and texts come out as Hugging Face's tokenizer of the same model gives them.
  ///
  /// - Parameter file: the file that the vocabulary is from, for errors.
  /// - Throws: `TokenizerError`: `.unsupported` for an unknown pre-tokenizer, naming it and those that are known;
  ///   `.inconsistent` where the arrays contradict one another.
  public convenience init(
    _ vocabulary: GGUFVocabulary, file: String
  ) throws(TokenizerError) {
    var configuration = TokenizerConfiguration()
    func text(_ id: Int?, _ name: String) throws(TokenizerError) -> String? {
      guard let id else { return nil }
      guard vocabulary.tokens.indices.contains(id) else {
        throw TokenizerError(
          .inconsistent, file,
          "\(name) is \(id), but there are \(vocabulary.tokens.count) tokens")
      }
      return String(decoding: vocabulary.tokens[id], as: UTF8.self)
    }
    configuration.beginningOfTextToken = try text(vocabulary.beginningOfTextID, "bos_token_id")
    configuration.endOfTextToken = try text(vocabulary.endOfTextID, "eos_token_id")
    configuration.unknownToken = try text(vocabulary.unknownID, "unknown_token_id")
    configuration.paddingToken = try text(vocabulary.paddingID, "padding_token_id")
    configuration.chatTemplate = vocabulary.chatTemplate
    configuration.chatTemplateFile = vocabulary.chatTemplate == nil ? nil : file
    try self.init(TokenizerFile(vocabulary, path: file), configuration)
  }
}

extension TokenizerFile {
  init(_ vocabulary: GGUFVocabulary, path: String) throws(TokenizerError) {
    let count = vocabulary.tokens.count
    func inconsistent(_ problem: String) -> TokenizerError {
      TokenizerError(.inconsistent, path, problem)
    }
    guard count > 0, count <= Vocabulary.largestIdentifier else {
      throw TokenizerError(
        .unsupported, path, "has \(count) tokens; the limit is \(Vocabulary.largestIdentifier)")
    }
    guard vocabulary.types.isEmpty || vocabulary.types.count == count else {
      throw inconsistent("has \(count) tokens but \(vocabulary.types.count) token types")
    }
    for token in vocabulary.tokens {
      guard token.withUnsafeBufferPointer(UTF8Bytes.firstInvalidOffset) == nil else {
        throw TokenizerError(.malformed, path, "has a token that is not UTF-8")
      }
    }
    var pieces: [ScoredPiece] = []
    pieces.reserveCapacity(count)
    for (id, text) in vocabulary.tokens.enumerated() {
      let type = vocabulary.types.isEmpty ? 1 : vocabulary.types[id]
      guard let known = ScoredPiece.Kind(rawValue: type) else {
        throw inconsistent("has the token type \(type) for token \(id); known are 1 to 6")
      }
      pieces.append(ScoredPiece(text: text, score: 0, type: known))
    }
    switch vocabulary.kind {
    case .bytePairs: try self.init(bytePairs: vocabulary, pieces, path)
    case .scoredPieces: try self.init(scoredPieces: vocabulary, pieces, path)
    }
  }

  /// The ids that go around a text.
  private static func postProcessor(
    _ vocabulary: GGUFVocabulary, addsBeginning: Bool, path: String
  ) throws(TokenizerError) -> PostProcessor {
    var result = PostProcessor()
    func id(_ id: Int?, _ flag: String, _ key: String) throws(TokenizerError) -> [Int32] {
      guard let id else {
        throw TokenizerError(.inconsistent, path, "has \(flag) but no \(key)")
      }
      return [Int32(truncatingIfNeeded: id)]
    }
    if vocabulary.addsBeginningOfText == true
      || vocabulary.addsBeginningOfText == nil && addsBeginning
        && vocabulary.beginningOfTextID != nil
    {
      result.prefix = try id(vocabulary.beginningOfTextID, "add_bos_token", "bos_token_id")
    }
    if vocabulary.addsEndOfText == true {
      result.suffix = try id(vocabulary.endOfTextID, "add_eos_token", "eos_token_id")
    }
    return result
  }

  private init(
    scoredPieces vocabulary: GGUFVocabulary, _ pieces: [ScoredPiece], _ path: String
  ) throws(TokenizerError) {
    guard vocabulary.scores.count == pieces.count else {
      throw TokenizerError(
        .inconsistent, path,
        "has \(pieces.count) tokens but \(vocabulary.scores.count) scores")
    }
    var pieces = pieces
    for id in pieces.indices { pieces[id].score = vocabulary.scores[id] }
    let parts = try ScoredVocabulary(
      pieces, isUnigram: false, fallsBackToBytes: true, file: path)
    let addsSpacePrefix = vocabulary.addsSpacePrefix ?? true
    let escape = Normalizer.replace(LiteralReplacement(" ", "\u{2581}"))
    let prefix = Normalizer.prepend(SentencePieceNormalizer.visibleBlank)
    self.init(
      path: path,
      // Every stretch between added tokens gets the prefix.
      normalizer: addsSpacePrefix ? .sequence([prefix, escape]) : escape, preTokenizer: nil,
      model: parts.model,
      postProcessor: try Self.postProcessor(vocabulary, addsBeginning: true, path: path),
      decoder: Self.sentencePieceDecoder(droppedBlanks: addsSpacePrefix ? 1 : 0),
      addedTokens: parts.addedTokens, leastVocabularySize: pieces.count)
  }

  private init(
    bytePairs vocabulary: GGUFVocabulary, _ pieces: [ScoredPiece], _ path: String
  ) throws(TokenizerError) {
    let name = vocabulary.preTokenizer ?? "default"
    guard let preTokenizer = GGUFPreTokenizer(name: name) else {
      throw TokenizerError(
        .unsupported, path,
        "asks for the pre-tokenizer \"\(name.prefix(40))\", which is not known; known are "
          + GGUFPreTokenizer.knownNames.joined(separator: ", "))
    }
    var table = Vocabulary(
      isByteLevel: true, expectedCount: pieces.count, expectedBytes: pieces.count * 8)
    var addedTokens: [AddedToken] = []
    for (id, piece) in pieces.enumerated() {
      switch piece.type {
      case .normal, .byte: table.insert(piece.text, id: UInt32(id))
      case .unused: break
      case .unknown, .control, .userDefined:
        addedTokens.append(
          AddedToken(
            text: piece.text, id: UInt32(id), special: piece.type != .userDefined,
            normalized: false))
      }
    }
    let model = BytePairEncoding(
      vocabulary: table, merges: try Self.merges(vocabulary.merges, table, path),
      ignoresMerges: preTokenizer.ignoresMerges, unknownID: nil, fusesUnknown: false,
      fallsBackToBytes: false)
    self.init(
      path: path, normalizer: preTokenizer.composes ? .unicode(.nfc) : nil,
      preTokenizer: try preTokenizer.stages(file: path), model: .bytePairs(model),
      postProcessor: try Self.postProcessor(
        vocabulary, addsBeginning: preTokenizer.addsBeginningOfText, path: path),
      decoder: Decoder([.byteLevel]), addedTokens: addedTokens,
      leastVocabularySize: pieces.count)
  }

  private static func merges(
    _ merges: [[UInt8]], _ vocabulary: Vocabulary, _ path: String
  ) throws(TokenizerError) -> MergeTable {
    guard merges.count < MergeTable.largestCount else {
      throw TokenizerError(
        .unsupported, path,
        "has \(merges.count) merges; the limit is \(MergeTable.largestCount)")
    }
    var table = MergeTable(expectedCount: merges.count)
    for (rank, merge) in merges.enumerated() {
      // The byte alphabet has no blank.
      guard let blank = merge.firstIndex(of: 0x20) else {
        throw TokenizerError(.inconsistent, path, "has a merge (\(rank)) that is not two pieces")
      }
      let left = Array(merge[..<blank])
      let right = Array(merge[(blank + 1)...])
      guard let leftID = vocabulary.id(spelled: left), let rightID = vocabulary.id(spelled: right),
        let merged = vocabulary.id(spelled: left + right)
      else {
        throw TokenizerError(
          .inconsistent, path, "has a merge (\(rank)) of pieces that are not among its tokens")
      }
      if vocabulary.isSpellable(left), vocabulary.isSpellable(right) {
        table.append(leftID, rightID, merged: merged)
      } else {
        table.skipRank()
      }
    }
    return table
  }
}
