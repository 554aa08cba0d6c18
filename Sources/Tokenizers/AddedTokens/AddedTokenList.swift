/// The added tokens of a tokenizer: those of its file, and those that only the configuration declares.
///
/// Source: transformers, `PreTrainedTokenizerFast.__init__`.
struct AddedTokenList {
  /// The most bytes that the texts of all of them may have.
  private static let largestSize = 1 << 24

  /// In the order in which they are looked for: of equal texts the last counts.
  private(set) var all: [AddedToken] = []
  private(set) var byID: [UInt32: AddedToken] = [:]
  private(set) var idsByText: [[UInt8]: UInt32] = [:]
  /// The ids that no file gives: of control tokens that are only named.
  private(set) var invented: Set<UInt32> = []

  private let file: TokenizerFile
  /// One more than every id so far.
  private var nextID: UInt32 = 0

  /// - Throws: `.unsupported` where there is too much of them.
  init(_ file: TokenizerFile, _ configuration: TokenizerConfiguration) throws(TokenizerError) {
    self.file = file
    nextID = UInt32(max(file.model.vocabulary.identifierLimit, file.leastVocabularySize))
    let texts = [
      configuration.beginningOfTextToken, configuration.endOfTextToken,
      configuration.paddingToken, configuration.unknownToken,
    ].compactMap { $0.map { Array($0.utf8) } }
    let named = Set(configuration.namedControlTokens.map(\.content) + texts)
    let declared = configuration.addedTokens.sorted { $0.id < $1.id }
    // What is declared last of a text says how it is recognised, whatever the tokenizer's file says.
    let latest = Dictionary(declared.map { ($0.content, $0) }) { $1 }
    for token in file.addedTokens {
      add(
        latest[token.content] ?? token,
        id: file.model.vocabulary.id(spelled: token.content) ?? token.id, named)
    }
    for declaration in declared where idsByText[declaration.content] == nil {
      let token = latest[declaration.content] ?? declaration
      if let id = file.model.vocabulary.id(spelled: token.content) {
        add(token, id: id, named)
      } else {
        // A tokenizer.json has all its ids, and what it lacks follows them, whatever id is declared.
        let isFree =
          byID[declaration.id] == nil && file.model.vocabulary.text(of: declaration.id) == nil
          && !file.isSerialized
        add(token, id: isFree ? declaration.id : nextID, named)
      }
    }
    for token in configuration.namedControlTokens
    where idsByText[token.content] == nil && !token.content.isEmpty {
      if let id = file.model.vocabulary.id(spelled: token.content) {
        add(token, id: id, named)
      } else {
        invented.insert(nextID)
        add(token, id: nextID, named)
      }
    }
    let size = all.reduce(0) { $0 + $1.content.count }
    guard size <= Self.largestSize, nextID <= Vocabulary.largestIdentifier else {
      throw TokenizerError(
        .unsupported, file.path,
        "has added tokens of \(size) bytes and ids up to \(nextID); the limits are \(Self.largestSize) and \(Vocabulary.largestIdentifier)"
      )
    }
  }

  private mutating func add(_ token: AddedToken, id: UInt32, _ named: Set<[UInt8]>) {
    var token = token
    token.id = id
    // SentencePiece's normalizer is about whole texts.
    if case .sentencePiece = file.normalizer { token.normalized = false }
    if named.contains(token.content) { token.special = true }
    byID[id] = token
    idsByText[token.content] = id
    all.append(token)
    nextID = max(nextID, id + 1)
  }
}
