/// A tokenizer as the metadata of a GGUF file have it: plain arrays, which the tokenizer's own module
/// makes a tokenizer of.
///
/// Source of the keys: the Python package `gguf`, `constants.py`.
public struct StoredVocabulary: Sendable {
  /// The file, for messages.
  public var file: String
  /// `tokenizer.ggml.model`: `gpt2` is byte-level byte-pair encoding, `llama` SentencePiece's with
  /// scores.
  public var kind: String
  /// `tokenizer.ggml.pre`: which patterns split a text; nil in old files.
  public var preTokenizer: String?
  /// The text of each id as the file spells it, UTF-8: in the byte alphabet of GPT-2 for `gpt2`, with
  /// U+2581 for a space for `llama`.
  public var tokens: [[UInt8]]
  /// For each id: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 a byte. As many as tokens;
  /// empty where the file has none.
  public var types: [Int]
  /// For each id, of kind `llama`; empty where the file has none.
  public var scores: [Float]
  /// Pairs of texts with a blank between, in their order of rank, of kind `gpt2`.
  public var merges: [[UInt8]]
  public var beginOfTextID: Int?
  public var endOfTextID: Int?
  public var unknownID: Int?
  public var paddingID: Int?
  /// Nil where the file does not say, and the kind decides.
  public var addsBeginningOfText: Bool?
  public var addsEndOfText: Bool?
  public var addsSpacePrefix: Bool?
  /// Jinja.
  public var chatTemplate: String?
  /// Further templates by name.
  public var namedChatTemplates: [String: String]

  /// The type of control tokens.
  static let controlType = 3

  init(_ metadata: GGUFMetadata) throws(CheckpointError) {
    let prefix = "tokenizer.ggml."
    let tokensKey = prefix + "tokens"
    file = metadata.file
    kind = try metadata.required(prefix + "model", try metadata.string(prefix + "model"))
    preTokenizer = try metadata.string(prefix + "pre")
    let tokens = try metadata.required(tokensKey, try metadata.strings(tokensKey))
    guard !tokens.isEmpty, tokens.count <= 1 << 24 else {
      throw metadata.failure(tokensKey, "has \(tokens.count) entries: it should have 1 to 16777216")
    }
    self.tokens = tokens
    types = try metadata.integers(prefix + "token_type", in: 0...Int(Int32.max)) ?? []
    scores = try metadata.floats(prefix + "scores") ?? []
    merges = try metadata.strings(prefix + "merges") ?? []
    for (name, count) in [("token_type", types.count), ("scores", scores.count)]
    where count != 0 && count != tokens.count {
      throw metadata.failure(
        prefix + name, "has \(count) entries: it should have one for each of \(tokens.count) tokens"
      )
    }
    func id(_ name: String) throws(CheckpointError) -> Int? {
      guard let id = try metadata.tokenID(name) else { return nil }
      guard id < tokens.count else {
        throw metadata.failure(prefix + name, "is \(id): there are \(tokens.count) tokens")
      }
      return id
    }
    beginOfTextID = try id("bos_token_id")
    endOfTextID = try id("eos_token_id")
    unknownID = try id("unknown_token_id")
    paddingID = try id("padding_token_id")
    addsBeginningOfText = try metadata.boolean(prefix + "add_bos_token")
    addsEndOfText = try metadata.boolean(prefix + "add_eos_token")
    addsSpacePrefix = try metadata.boolean(prefix + "add_space_prefix")
    chatTemplate = try metadata.string("tokenizer.chat_template")
    namedChatTemplates = [:]
    // Hashing a long text of combining marks takes quadratic time, and no name is long.
    for name in try metadata.strings("tokenizer.chat_templates") ?? []
    where name.count <= FieldReader.longestName {
      let name = String(decoding: name, as: UTF8.self)
      if let template = try metadata.string("tokenizer.chat_template." + name) {
        namedChatTemplates[name] = template
      }
    }
  }
}
