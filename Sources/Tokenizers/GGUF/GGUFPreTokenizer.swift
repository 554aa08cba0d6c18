/// The pre-tokenizers that `tokenizer.ggml.pre` names: expressions to split by, one after the other, and settings.
///
/// The expressions are those of the models' own tokenizer.json.
/// Source: llama.cpp, `src/llama-vocab.cpp`.
struct GGUFPreTokenizer {
  private let expressions: [String]
  /// A piece that is in the vocabulary is taken whole.
  private(set) var ignoresMerges = false
  /// A beginning of text is added where the file says nothing.
  private(set) var addsBeginningOfText = false
  /// The text is brought to normalization form C first.
  private(set) var composes = false

  private init(
    _ expressions: [String], ignoresMerges: Bool = false, addsBeginningOfText: Bool = false,
    composes: Bool = false
  ) {
    self.expressions = expressions
    self.ignoresMerges = ignoresMerges
    self.addsBeginningOfText = addsBeginningOfText
    self.composes = composes
  }

  /// The pre-tokenizer of a name, or nil.
  init?(name: String) {
    guard let found = Self.all.first(where: { $0.names.contains(name) }) else { return nil }
    self = found.preTokenizer
  }

  static var knownNames: [String] { all.flatMap(\.names) }

  /// - Throws: `.unsupported`, which no expression of the table gives.
  func stages(file: String) throws(TokenizerError) -> PreTokenizer {
    let splits = try splits(file: file).map { PreTokenizer.split($0) }
    return .sequence(splits + [.byteLevel(addsPrefixSpace: false, splits: false)])
  }

  /// Whether a scanner is written for one of the expressions.
  var hasScanner: Bool { expressions.contains { SplitPattern(expression: $0) != nil } }

  /// - Parameter usingScanners: Whether known expressions are split by the scanners written for them, which
  ///   changes the time and nothing else.
  func splits(file: String, usingScanners: Bool = true) throws(TokenizerError) -> [SplitStage] {
    var stages: [SplitStage] = []
    for expression in expressions {
      if usingScanners, let known = SplitPattern(expression: expression) {
        stages.append(SplitStage(known))
        continue
      }
      do throws(SplitExpressionError) {
        stages.append(SplitStage(try SplitExpression(expression)))
      } catch {
        throw TokenizerError(.unsupported, file, error.problem)
      }
    }
    return stages
  }

  // MARK: The table

  private static let all: [(names: [String], preTokenizer: GGUFPreTokenizer)] = [
    (
      ["llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "lfm2"],
      GGUFPreTokenizer(
        [words(numbers: #"\p{N}{1,3}"#)], ignoresMerges: true, addsBeginningOfText: true)
    ),
    (["dbrx", "smaug-bpe"], GGUFPreTokenizer([words(numbers: #"\p{N}{1,3}"#)])),
    (
      ["chatglm-bpe", "glm4"],
      GGUFPreTokenizer([words(numbers: #"\p{N}{1,3}"#)], ignoresMerges: true)
    ),
    (
      ["qwen2", "deepseek-r1-qwen", "megrez"],
      GGUFPreTokenizer([words(numbers: #"\p{N}"#)], composes: true)
    ),
    (["stablelm2", "hunyuan"], GGUFPreTokenizer([words(numbers: #"\p{N}"#)])),
    (["qwen35"], GGUFPreTokenizer([qwen35], composes: true)),
    (
      ["gpt-4o", "o200k", "llama4", "kanana2"],
      GGUFPreTokenizer([cased(numbers: #"\p{N}{1,3}"#, suffix: contractions + "?")])
    ),
    (
      ["tekken"],
      GGUFPreTokenizer(
        [cased(numbers: #"\p{N}"#, suffix: "")], ignoresMerges: true, addsBeginningOfText: true)
    ),
    (["deepseek-llm"], GGUFPreTokenizer(deepseekLLM)),
    (["deepseek-coder"], GGUFPreTokenizer(deepseekCoder)),
    (["deepseek-v3", "hunyuan-dense", "joyai-llm"], GGUFPreTokenizer(deepseekV3)),
    (
      [
        "gpt-2", "phi-2", "jina-es", "jina-de", "mpt", "olmo", "trillion", "exaone4", "roberta-bpe",
      ],
      GGUFPreTokenizer([gpt2])
    ),
    (
      [
        "smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "granite-docling",
        "minerva-7b",
      ], GGUFPreTokenizer([#"\p{N}"#, gpt2])
    ),
    (
      ["falcon"],
      GGUFPreTokenizer([#"[\p{P}\$\+<=>\^~\|`]+"#, gpt2, "[0-9][0-9][0-9]"])
    ),
    (
      ["default"],
      GGUFPreTokenizer([
        #"[\p{P}\$\+<=>\^~\|]+"#, gpt2, #"\p{N}+"#, "[0-9][0-9][0-9]",
      ])
    ),
  ]

  private static let contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
  private static let spaces = #"\s*[\r\n]+|\s+(?!\S)|\s+"#
  private static let gpt2 =
    #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

  private static func words(numbers: String) -> String {
    contractions + #"|[^\r\n\p{L}\p{N}]?\p{L}+|"# + numbers
      + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|"# + spaces
  }

  private static let qwen35 =
    contractions
    + #"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|"# + spaces

  private static func cased(numbers: String, suffix: String) -> String {
    let upper = #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"#
    let lower = #"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"#
    let lead = #"[^\r\n\p{L}\p{N}]?"#
    return lead + upper + "*" + lower + "+" + suffix + "|" + lead + upper + "+" + lower + "*"
      + suffix
      + "|" + numbers + #"| ?[^\s\p{L}\p{N}]+[\r\n/]*|"# + spaces
  }

  private static let deepseekV3 = [
    #"\p{N}{1,3}"#, "[\u{4E00}-\u{9FA5}\u{3040}-\u{309F}\u{30A0}-\u{30FF}]+",
    ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|"##
      + #"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"# + spaces,
  ]

  private static let ideographs =
    "[\u{4E00}-\u{9FA5}\u{800}-\u{4E00}\u{AC00}-\u{D7FF}]+"

  private static let deepseekCoder = [
    #"[\r\n]"#, #"\s?\p{L}+"#, #"\s?\p{P}+"#, ideographs, #"\p{N}"#,
  ]

  private static let deepseekLLM = [
    #"[\r\n]"#, #"\s?["# + lettersWithCase + "]+",
    #"\s?[!-/:-~"#
      + "\u{FF01}-\u{FF0F}\u{FF1A}-\u{FF5E}\u{2018}-\u{201F}\u{3000}-\u{3002}]+",
    #"\s+$"#, ideographs, #"\p{N}+"#,
  ]

  /// The letters of scripts that have two cases, as DeepSeek LLM's tokenizer lists them.
  private static let lettersWithCase = """
    A-Za-z\u{B5}\u{C0}-\u{D6}\u{D8}-\u{F6}\u{F8}-\u{1BA}\u{1BC}-\u{1BF}\u{1C4}-\u{293}\
    \u{295}-\u{2AF}\u{370}-\u{373}\u{376}-\u{377}\u{37B}-\u{37D}\u{37F}\u{386}\
    \u{388}-\u{38A}\u{38C}\u{38E}-\u{3A1}\u{3A3}-\u{3F5}\u{3F7}-\u{481}\u{48A}-\u{52F}\
    \u{531}-\u{556}\u{10A0}-\u{10C5}\u{13A0}-\u{13F5}\u{13F8}-\u{13FD}\u{1C90}-\u{1CBA}\
    \u{1CBD}-\u{1CBF}\u{1D00}-\u{1D2B}\u{1D6B}-\u{1D77}\u{1D79}-\u{1D9A}\
    \u{1E00}-\u{1F15}\u{1F18}-\u{1F1D}\u{1F20}-\u{1F45}\u{1F48}-\u{1F4D}\
    \u{1F50}-\u{1F57}\u{1F59}\u{1F5B}\u{1F5D}\u{1F5F}-\u{1F7D}\u{1F80}-\u{1FB4}\
    \u{1FB6}-\u{1FBC}\u{1FBE}\u{1FC2}-\u{1FC4}\u{1FC6}-\u{1FCC}\u{1FD0}-\u{1FD3}\
    \u{1FD6}-\u{1FDB}\u{1FE0}-\u{1FEC}\u{1FF2}-\u{1FF4}\u{1FF6}-\u{1FFC}\u{2102}\u{2107}\
    \u{210A}-\u{2113}\u{2115}\u{2119}-\u{211D}\u{2124}\u{2126}\u{2128}\u{212A}-\u{212D}\
    \u{212F}-\u{2134}\u{2139}\u{213C}-\u{213F}\u{2145}-\u{2149}\u{214E}\u{2183}-\u{2184}\
    \u{2C00}-\u{2C7B}\u{2C7E}-\u{2CE4}\u{2CEB}-\u{2CEE}\u{2CF2}-\u{2CF3}\
    \u{A640}-\u{A66D}\u{A680}-\u{A69B}\u{A722}-\u{A76F}\u{A771}-\u{A787}\
    \u{A78B}-\u{A78E}\u{AB70}-\u{ABBF}\u{FB00}-\u{FB06}\u{FB13}-\u{FB17}\
    \u{FF21}-\u{FF3A}\u{FF41}-\u{FF5A}\u{10400}-\u{1044F}\u{104B0}-\u{104D3}\
    \u{104D8}-\u{104FB}\u{10C80}-\u{10CB2}\u{10CC0}-\u{10CF2}\u{118A0}-\u{118DF}\
    \u{1E900}-\u{1E943}
    """
}
