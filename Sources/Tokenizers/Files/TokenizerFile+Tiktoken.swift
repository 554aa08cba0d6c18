/// The stages of a tokenizer that is a `tokenizer.model` in tiktoken's form.
extension TokenizerFile {
  /// A `tokenizer.model` of either form, which is told by its first byte.
  init(model path: String, _ configuration: TokenizerConfiguration) throws(TokenizerError) {
    let contents = try FileContents.bytes(of: path)
    // A SentencePiece model is a protocol buffer; it begins with the tag of its first piece, which is not empty.
    if contents.first == 0x0A, contents.dropFirst().first != 0x0A {
      try self.init(SentencePieceModel(contents, path: path), configuration)
    } else {
      try self.init(tiktoken: contents, path: path, configuration)
    }
  }

  /// - Parameter configuration: Its added tokens are the control tokens, which such a file does not
  ///   have; without any they are those of the model with so many ranks.
  init(
    tiktoken contents: [UInt8], path: String, _ configuration: TokenizerConfiguration
  ) throws(TokenizerError) {
    let ranks = try TiktokenRanks(contents, path: path)
    try MergeTable.checkWork(ranks.pieces.lazy.map(\.bytes.count), file: path)
    var vocabulary = Vocabulary(
      isByteLevel: true, expectedCount: ranks.pieces.count,
      expectedBytes: ranks.pieces.count * 8)
    for (bytes, rank) in ranks.pieces {
      vocabulary.insert(ByteAlphabet.encode(bytes), id: UInt32(rank))
    }
    let known = KnownTiktoken.all.first { $0.ranks == vocabulary.identifierLimit }
    let model = BytePairEncoding(
      vocabulary: vocabulary, merges: Self.merges(of: ranks, vocabulary), ignoresMerges: true,
      unknownID: nil, fusesUnknown: false, fallsBackToBytes: false)
    if let missing = model.byteIDs.firstIndex(of: BytePairEncoding.none) {
      throw TokenizerError(
        .inconsistent, path,
        "has no piece for the byte \(missing), so that not every text has ids: download it again")
    }
    var addedTokens = configuration.addedTokens
    if addedTokens.isEmpty, let known {
      addedTokens = known.controlTokens.enumerated().map { index, text in
        AddedToken(control: text, id: UInt32(known.ranks + index))
      }
    }
    var postProcessor = PostProcessor()
    for text in known?.prefix ?? [] {
      let token = addedTokens.first { $0.content.elementsEqual(text.utf8) }
      if let token { postProcessor.prefix.append(Int32(token.id)) }
    }
    if configuration.addsBeginningOfText == false { postProcessor = PostProcessor() }
    self.init(
      path: path, normalizer: nil,
      // Llama 3 and GLM-4 split alike, numbers in groups of three digits.
      preTokenizer: .sequence([
        .split(SplitStage(.words(maximumDigits: 3))),
        .byteLevel(addsPrefixSpace: false, splits: false),
      ]), model: .bytePairs(model), postProcessor: postProcessor, decoder: Decoder([.byteLevel]),
      addedTokens: addedTokens)
  }

  /// Every pair of pieces that together are a piece, in the order of what they become; of the pairs
  /// that become the same piece those with the earlier left part first, as in transformers'
  /// `TikTokenConverter`.
  private static func merges(of ranks: TiktokenRanks, _ vocabulary: Vocabulary) -> MergeTable {
    var merges = MergeTable(expectedCount: ranks.pieces.count * 2)
    for (bytes, rank) in ranks.pieces.sorted(by: { $0.rank < $1.rank }) where bytes.count > 1 {
      let pairs = MergeTable.pairs(of: bytes, vocabulary)
      for pair in pairs.sorted(by: { ($0.left, $0.right) < ($1.left, $1.right) }) {
        merges.append(pair.left, pair.right, merged: UInt32(rank))
      }
    }
    return merges
  }
}

/// What tiktoken files of published models leave to their models' code.
struct KnownTiktoken {
  /// Pieces in the file; the control tokens follow.
  let ranks: Int
  let controlTokens: [String]
  /// What goes before every text.
  let prefix: [String]

  static let all = [llama3, glm4]

  /// Source: llama-models, `models/llama3/tokenizer.py`.
  private static let llama3 = KnownTiktoken(
    ranks: 128_000,
    controlTokens: [
      "<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>",
      "<|reserved_special_token_1|>", "<|finetune_right_pad_id|>",
      "<|reserved_special_token_2|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>",
      "<|eot_id|>", "<|python_tag|>",
    ] + (3..<248).map { "<|reserved_special_token_\($0)|>" },
    prefix: ["<|begin_of_text|>"])

  /// Source: the `tokenizer_config.json` and `tokenization_chatglm.py` of GLM-4-9B.
  private static let glm4 = KnownTiktoken(
    ranks: 151_329,
    controlTokens: [
      "<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>", "<|system|>",
      "<|user|>", "<|assistant|>", "<|observation|>", "<|begin_of_image|>", "<|end_of_image|>",
      "<|begin_of_video|>", "<|end_of_video|>",
    ],
    prefix: ["[gMASK]", "<sop>"])
}
