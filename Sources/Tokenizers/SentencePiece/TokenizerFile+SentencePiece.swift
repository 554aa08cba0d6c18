/// The stages of a tokenizer that is a SentencePiece `tokenizer.model`.
extension TokenizerFile {
  /// Control tokens are found in a text as in transformers; user-defined ones as in SentencePiece.
  ///
  /// - Parameter configuration: `add_bos_token` and `add_eos_token`; where it does not say, Llama's and Gemma's classes
  ///   add a beginning of text, as transformers has it.
  init(
    _ model: SentencePieceModel, _ configuration: TokenizerConfiguration
  ) throws(TokenizerError) {
    let isUnigram = model.kind == .unigram
    let parts = try ScoredVocabulary(
      model.pieces, isUnigram: isUnigram, fallsBackToBytes: model.fallsBackToBytes,
      file: model.path)
    var postProcessor = PostProcessor()
    let addsBeginning =
      configuration.tokenizerClass?.hasPrefix("Llama") == true
      || configuration.tokenizerClass?.hasPrefix("Gemma") == true
    if configuration.addsBeginningOfText ?? addsBeginning,
      model.pieces.indices.contains(model.beginningID)
    {
      postProcessor.prefix = [Int32(model.beginningID)]
    }
    if configuration.addsEndOfText == true, model.pieces.indices.contains(model.endID) {
      postProcessor.suffix = [Int32(model.endID)]
    }
    self.init(
      path: model.path, normalizer: .sentencePiece(model.normalizer), preTokenizer: nil,
      model: parts.model, postProcessor: postProcessor,
      decoder: Self.sentencePieceDecoder(
        droppedBlanks: model.normalizer.removesExtraWhitespace
          ? 1 << 20 : model.normalizer.prefix == nil ? 0 : 1),
      addedTokens: parts.addedTokens, leastVocabularySize: model.pieces.count)
  }

  /// Visible blanks become blanks, `<0xNN>` bytes; a number of blanks at the beginning is removed.
  static func sentencePieceDecoder(droppedBlanks: Int) -> Decoder {
    var stages: [DecoderStage] = [
      .replace(LiteralReplacement("\u{2581}", " ")), .byteFallback, .fuse,
    ]
    if droppedBlanks > 0 {
      stages.append(.strip(character: [0x20], start: droppedBlanks, stop: 0))
    }
    return Decoder(stages)
  }
}

/// Pieces with scores as a model and added tokens.
struct ScoredVocabulary {
  let model: TokenModel
  let addedTokens: [AddedToken]

  /// - Throws: `.unsupported` where pieces are too long.
  init(
    _ pieces: [ScoredPiece], isUnigram: Bool, fallsBackToBytes: Bool, file: String
  ) throws(TokenizerError) {
    var vocabulary = Vocabulary(
      isByteLevel: false, expectedCount: pieces.count, expectedBytes: pieces.count * 8)
    var addedTokens: [AddedToken] = []
    var unknownID: UInt32?
    var normal: [(text: [UInt8], score: Float, id: UInt32)] = []
    for (index, piece) in pieces.enumerated() {
      let id = UInt32(index)
      switch piece.type {
      case .normal:
        vocabulary.insert(piece.text, id: id)
        normal.append((piece.text, piece.score, id))
      case .byte: vocabulary.insert(piece.text, id: id)
      case .unused: break
      case .unknown, .control:
        if piece.type == .unknown, unknownID == nil { unknownID = id }
        addedTokens.append(
          AddedToken(text: piece.text, id: id, special: true, normalized: false))
      case .userDefined:
        // It is looked for in the text as given, which has blanks.
        var text = piece.text
        LiteralReplacement("\u{2581}", " ").apply(to: &text)
        addedTokens.append(AddedToken(text: text, id: id, special: false, normalized: false))
      }
    }
    self.addedTokens = addedTokens
    if isUnigram {
      model = .unigram(
        try UnigramModel(
          normal.map { ($0.text, Double($0.score), $0.id) }, vocabulary: vocabulary,
          unknownID: unknownID, fallsBackToBytes: fallsBackToBytes, usesSinglePrecision: true,
          file: file))
    } else {
      model = .bytePairs(
        BytePairEncoding(
          vocabulary: vocabulary, merges: try MergeTable(scored: normal, vocabulary, file: file),
          ignoresMerges: false, unknownID: unknownID, fusesUnknown: true,
          fallsBackToBytes: fallsBackToBytes))
    }
  }
}
