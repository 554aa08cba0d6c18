import JSON

/// How a byte-level tokenizer of a GGUF file splits a text: what `tokenizer.ggml.pre` stands for.
///
/// Source: llama.cpp, `src/llama-vocab.cpp`; the tokenizer.json of the models.
struct VocabularySplitting {
  /// As `pre_tokenizer` of tokenizer.json.
  let preTokenizer: JSONValue
  /// Whether the text is brought to normal form C first.
  var composesCharacters = false
  /// Whether a piece that is a token is taken whole, whatever merges would give.
  var takesWholePieces = false
  /// Where the file does not say.
  var addsBeginningOfText = false

  /// Nil for a name that is not known.
  init?(preTokenizer name: String) {
    switch name {
    case "llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "lfm2":
      self.init(Self.words(digits: #"\p{N}{1,3}"#))
      takesWholePieces = true
      addsBeginningOfText = true
    case "glm4", "chatglm-bpe", "dbrx", "smaug-bpe":
      self.init(Self.words(digits: #"\p{N}{1,3}"#))
    case "qwen2", "deepseek-r1-qwen", "megrez", "hunyuan", "stablelm2":
      self.init(Self.words(digits: #"\p{N}"#))
      composesCharacters = name != "stablelm2"
    case "gpt-2", "gpt2", "phi-2", "olmo", "jina-es", "jina-de", "mpt":
      self.init(nil)
    case "smollm", "starcoder", "refact", "command-r":
      self.init(nil, separatingDigits: true)
    case "gpt-4o", "llama4":
      self.init(Self.cased(digits: #"\p{N}{1,3}"#, contractions: true))
    case "tekken":
      self.init(Self.cased(digits: #"\p{N}"#, contractions: false))
      takesWholePieces = true
      addsBeginningOfText = true
    default: return nil
    }
  }

  static let knownNames = [
    "llama-bpe", "qwen2", "glm4", "gpt-2", "smollm", "gpt-4o", "tekken", "deepseek-r1-qwen",
  ]

  /// - Parameter expression: What splits the text; nil for GPT-2's own.
  private init(_ expression: String?, separatingDigits: Bool = false) {
    var stages: [JSONValue] = []
    if separatingDigits {
      stages.append(
        .object([("type", .string("Digits")), ("individual_digits", .boolean(true))]))
    }
    if let expression {
      stages.append(
        .object([
          ("type", .string("Split")), ("pattern", .object([("Regex", .string(expression))])),
          ("behavior", .string("Isolated")), ("invert", .boolean(false)),
        ]))
    }
    stages.append(
      .object([
        ("type", .string("ByteLevel")), ("add_prefix_space", .boolean(false)),
        ("trim_offsets", .boolean(false)), ("use_regex", .boolean(expression == nil)),
      ]))
    preTokenizer = .object([
      ("type", .string("Sequence")), ("pretokenizers", .array(stages)),
    ])
  }

  /// Llama 3's expression and those like it.
  private static func words(digits: String) -> String {
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"# + digits
      + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  }

  /// GPT-4o's, which also cuts where a capital letter follows a small one.
  private static func cased(digits: String, contractions: Bool) -> String {
    let suffix = contractions ? "(?i:'s|'t|'re|'ve|'m|'ll|'d)?" : ""
    return #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"#
      + suffix
      + #"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"#
      + suffix + "|" + digits
      + #"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  }
}
