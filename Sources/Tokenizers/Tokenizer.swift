/// A Hugging Face tokenizer: text to ids and back, exactly as Python's `tokenizers` does it.
///
/// Reads `tokenizer.json`: byte-pair encoding of the byte-level kind (GPT-2, Llama 3, Qwen 2) and of the
/// SentencePiece kind with byte fallback (Llama 2, Phi-3, Yi), and unigram models (T5, XLM-R); `tokenizer.model`
/// of tiktoken (Llama 3, GLM-4) and of SentencePiece; and the arrays of a GGUF file (`GGUFVocabulary`). Everything
/// works on UTF-8 bytes. A tokenizer is immutable; any number of threads may use it at once.
public final class Tokenizer: Sendable {
  /// What `tokenizer_config.json` says beside it.
  public let configuration: TokenizerConfiguration
  /// The file it was read from.
  public let path: String
  /// One more than the largest id.
  public let vocabularySize: Int

  let normalizer: Normalizer?
  let preTokenizer: PreTokenizer?
  let model: TokenModel
  /// That of the model, which copies all of its parts' references whenever it is asked.
  private let vocabulary: Vocabulary
  let postProcessor: PostProcessor
  let decoder: Decoder
  let addedTokens: [UInt32: AddedToken]
  /// What the added tokens decode to: those defined on normalized text, to their normalized text.
  let decodedAddedTokens: [UInt32: [UInt8]]
  let idsOfAddedTokens: [[UInt8]: UInt32]
  /// Looks for added tokens in the text as given.
  let matcher: AddedTokenMatcher
  /// Looks for those that are defined on normalized text.
  let normalizedMatcher: AddedTokenMatcher

  /// Reads `tokenizer.json` of a directory, or without one `tokenizer.model` of SentencePiece or tiktoken, and what
  /// `TokenizerConfiguration` reads where present.
  ///
  /// - Throws: `TokenizerError`, one line that names the file and the stage.
  public convenience init(directory: String) throws(TokenizerError) {
    let path = directory + "/tokenizer.json"
    if !FileContents.exists(path) {
      let ranks = directory + "/tokenizer.model"
      if FileContents.exists(ranks) {
        let configuration = try TokenizerConfiguration(directory: directory)
        try self.init(TokenizerFile(model: ranks, configuration), configuration)
        return
      }
      let problem =
        FileContents.isDirectory(directory)
        ? "there is no tokenizer.json or tokenizer.model in this directory"
        : "there is no such directory"
      throw TokenizerError(.unreadable, directory, problem)
    }
    try self.init(path: path, configuration: TokenizerConfiguration(directory: directory))
  }

  /// Reads one `tokenizer.json`.
  ///
  /// - Parameter configuration: what would stand beside it.
  /// - Throws: `TokenizerError`, one line that names the file and the stage.
  public convenience init(
    path: String, configuration: TokenizerConfiguration = TokenizerConfiguration()
  ) throws(TokenizerError) {
    try self.init(TokenizerFile(path: path), configuration)
  }

  init(_ file: TokenizerFile, _ configuration: TokenizerConfiguration) throws(TokenizerError) {
    self.configuration = configuration
    path = file.path
    normalizer = file.normalizer
    preTokenizer = file.preTokenizer
    model = file.model
    vocabulary = file.model.vocabulary
    decoder = file.decoder

    let tokens = try AddedTokenList(file, configuration)
    let (byID, byText) = (tokens.byID, tokens.idsByText)
    addedTokens = byID
    idsOfAddedTokens = byText
    matcher = AddedTokenMatcher(
      tokens.all.filter { !$0.normalized }.map { (token: $0, text: $0.content) })
    let normalizer = file.normalizer
    let normalized = tokens.all.filter(\.normalized).map { token in
      var text = token.content
      normalizer?.apply(to: &text)
      return (token: token, text: text)
    }
    normalizedMatcher = AddedTokenMatcher(normalized)
    decodedAddedTokens = byID.mapValues(\.content).merging(
      normalized.map { ($0.token.id, $0.text) }, uniquingKeysWith: { $1 })
    vocabularySize = max(
      file.leastVocabularySize, file.model.vocabulary.identifierLimit,
      (byID.keys.max().map { Int($0) + 1 }) ?? 0)

    var postProcessor = file.postProcessor
    func configured(_ name: String, _ token: String?) throws(TokenizerError) -> [Int32] {
      guard let token,
        let id = byText[Array(token.utf8)] ?? file.model.vocabulary.id(spelled: Array(token.utf8)),
        !tokens.invented.contains(id)
      else {
        throw TokenizerError(
          .inconsistent, file.path,
          "tokenizer_config.json asks for a \(name) token that is not in the vocabulary")
      }
      return [Int32(id)]
    }
    if postProcessor == PostProcessor() {
      if configuration.addsBeginningOfText == true {
        postProcessor.prefix = try configured(
          "beginning-of-text", configuration.beginningOfTextToken)
      }
      if configuration.addsEndOfText == true {
        postProcessor.suffix = try configured("end-of-text", configuration.endOfTextToken)
      }
    }
    self.postProcessor = postProcessor
  }

  /// The id of a token as `tokenizer.json` spells it (`<|im_end|>`, `Ġthe`), or nil.
  public func id(ofToken token: String) -> Int32? {
    let text = Array(token.utf8)
    return (idsOfAddedTokens[text] ?? vocabulary.id(spelled: text)).map { Int32($0) }
  }

  /// A token as `tokenizer.json` spells it, or nil if there is none of this id.
  public func token(ofID id: Int32) -> String? {
    let text = addedTokens[UInt32(bitPattern: id)]?.content
    return (text ?? vocabulary.text(of: UInt32(bitPattern: id))).map {
      String(decoding: $0, as: UTF8.self)
    }
  }

  /// Whether the id is a control token.
  public func isSpecial(_ id: Int32) -> Bool {
    addedTokens[UInt32(bitPattern: id)]?.special ?? false
  }

  /// The ids of all control tokens, ascending.
  public var specialTokenIDs: [Int32] {
    addedTokens.values.filter(\.special).map { Int32($0.id) }.sorted()
  }

  /// The id that `eos_token` of the configuration names.
  public var endOfTextID: Int32? { configuration.endOfTextToken.flatMap(id(ofToken:)) }

  /// The id that `bos_token` of the configuration names.
  public var beginningOfTextID: Int32? {
    configuration.beginningOfTextToken.flatMap(id(ofToken:))
  }

  /// What the decoder gets for an id; nil for unknown ids and for special ones that are to be skipped.
  func piece(of id: Int32, skipSpecialTokens: Bool) -> [UInt8]? {
    let id = UInt32(bitPattern: id)
    if let text = decodedAddedTokens[id] {
      return skipSpecialTokens && addedTokens[id]?.special == true ? nil : text
    }
    return vocabulary.text(of: id)
  }
}
