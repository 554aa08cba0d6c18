/// The `pre_tokenizer` of tokenizer.json: where a stretch of text is cut before the model sees it.
enum PreTokenizer: Sendable {
  /// Cuts at the matches of a known pattern or of a literal.
  case split(SplitStage)
  /// The bytes become the model's alphabet; may cut by GPT-2's pattern first.
  case byteLevel(addsPrefixSpace: Bool, splits: Bool)
  /// Cuts at matches: digits, punctuation, white space.
  case delimiter(DelimiterPattern, DelimiterBehavior, isInverted: Bool)
  /// SentencePiece's visible blank.
  case metaspace(MetaspaceStage)
  /// One after the other.
  case sequence([PreTokenizer])

  /// Reads the stage; nil for `null`.
  init?(_ node: JSONNode) throws(TokenizerError) {
    guard node.isPresent else { return nil }
    switch try node["type"].string() {
    case "Split": self = .split(try SplitStage(node))
    case "ByteLevel":
      self = .byteLevel(
        addsPrefixSpace: try node["add_prefix_space"].bool(default: true),
        splits: try node["use_regex"].bool(default: true))
    case "Digits":
      let individually = try node["individual_digits"].bool(default: false)
      self = .delimiter(
        .classBits(CharacterClasses.number), individually ? .isolated : .contiguous,
        isInverted: false)
    case "Punctuation":
      let behavior =
        node["behavior"].isPresent ? try DelimiterBehavior(node["behavior"]) : .isolated
      self = .delimiter(.scalars(Self.punctuation), behavior, isInverted: false)
    case "WhitespaceSplit": self = Self.whitespaceSplit
    case "Whitespace":
      // Runs of word characters, and runs of what is neither that nor white space.
      self = .delimiter(.wordsAndSymbols, .removed, isInverted: true)
    case "BertPreTokenizer":
      self = .sequence([
        Self.whitespaceSplit, .delimiter(.scalars(Self.punctuation), .isolated, isInverted: false),
      ])
    case "CharDelimiterSplit":
      let delimiter = try node["delimiter"].text()
      if delimiter.isEmpty || delimiter.count > 4 {
        throw node["delimiter"].malformed("is not a character")
      }
      self = .delimiter(.literal(delimiter), .removed, isInverted: false)
    case "Metaspace": self = .metaspace(try MetaspaceStage(node))
    case "Sequence":
      var stages: [PreTokenizer] = []
      for element in try node["pretokenizers"].elements() {
        if case .byteLevel = stages.last {
          throw element.unsupported("follows ByteLevel, which must be the last pre-tokenizer")
        }
        if let stage = try PreTokenizer(element) { stages.append(stage) }
      }
      self = .sequence(stages)
    case let kind:
      throw node.unsupported(
        "is a pre-tokenizer of kind \"\(kind)\"; known are Split, ByteLevel, Digits, Punctuation, "
          + "Whitespace, WhitespaceSplit, BertPreTokenizer, CharDelimiterSplit, Metaspace, Sequence"
      )
    }
  }

  private static let whitespaceSplit = PreTokenizer.delimiter(
    .classBits(CharacterClasses.whiteSpace), .removed, isInverted: false)

  /// Unicode's punctuation and ASCII's symbols.
  private static let punctuation = ScalarProperties.punctuation.union(
    ScalarSet([0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E]))

  /// Whether the model works on bytes, written in the byte alphabet.
  var isByteLevel: Bool {
    switch self {
    case .byteLevel: true
    case .sequence(let stages): stages.contains(where: \.isByteLevel)
    case .split, .delimiter, .metaspace: false
    }
  }

  /// Whether pieces end at the matches of one known pattern, and nothing else changes or cuts the text.
  var cutsByKnownPattern: Bool {
    switch self {
    case .split(let stage): stage.isKnownPattern
    case .byteLevel(let addsPrefixSpace, let splits): !addsPrefixSpace && splits
    case .sequence(let stages):
      switch stages.count {
      case 1: stages[0].cutsByKnownPattern
      case 2:
        if case .byteLevel(false, false) = stages[1] { stages[0].cutsByKnownPattern } else { false }
      default: false
      }
    case .delimiter, .metaspace: false
    }
  }

  /// Cuts the pieces further. Byte-level pieces stay plain bytes: the alphabet is only how vocabularies are
  /// written.
  func apply(to pieces: inout Pieces) {
    switch self {
    case .split(let stage): stage.apply(to: &pieces)
    case .byteLevel(let addsPrefixSpace, let splits):
      if addsPrefixSpace {
        pieces.rewrite { _, piece, output in
          if piece.first != 0x20 { output.append(0x20) }
          output += piece
        }
      }
      if splits { SplitPattern.gpt2.split(&pieces) }
    case .delimiter(let pattern, let behavior, let isInverted):
      pieces.split(at: pattern, behavior, isInverted: isInverted)
    case .metaspace(let stage): stage.apply(to: &pieces)
    case .sequence(let stages): for stage in stages { stage.apply(to: &pieces) }
    }
  }
}
