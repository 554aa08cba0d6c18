/// The `normalizer` of tokenizer.json: what happens to a stretch of text before it is split.
enum Normalizer: Sendable {
  /// A form of Unicode normalization.
  case unicode(NormalizationForm)
  case lowercase
  /// Takes all marks out.
  case stripAccents
  /// Takes white space off the ends.
  case strip(left: Bool, right: Bool)
  /// Puts a text in front of any stretch that is not empty.
  case prepend([UInt8])
  /// Replaces every occurrence of one literal text by another.
  case replace(LiteralReplacement)
  /// Replaces every match of an expression.
  case replaceMatches(SplitExpression, by: [UInt8])
  /// SentencePiece's table of replacements.
  case precompiled(CharacterMap)
  /// All that SentencePiece does to a text.
  case sentencePiece(SentencePieceNormalizer)
  /// One after the other.
  case sequence([Normalizer])

  /// Reads the stage; nil for `null`.
  init?(_ node: JSONNode) throws(TokenizerError) {
    guard node.isPresent else { return nil }
    switch try node["type"].string() {
    case "NFC": self = .unicode(.nfc)
    case "NFD": self = .unicode(.nfd)
    case "NFKC": self = .unicode(.nfkc)
    case "NFKD": self = .unicode(.nfkd)
    case "Lowercase": self = .lowercase
    case "StripAccents": self = .stripAccents
    case "Strip":
      self = .strip(
        left: try node["strip_left"].bool(default: true),
        right: try node["strip_right"].bool(default: true))
    case "Prepend": self = .prepend(try node["prepend"].text())
    case "Replace":
      let pattern = node["pattern"]
      self =
        pattern["Regex"].isPresent
        ? .replaceMatches(
          try SplitExpression(pattern["Regex"]), by: try node["content"].text())
        : .replace(try LiteralReplacement(node))
    case "Precompiled":
      let text = try node["precompiled_charsmap"].text()
      guard let blob = TiktokenRanks.decodeBase64(text[...]) else {
        throw node["precompiled_charsmap"].malformed("is not base64")
      }
      self = .precompiled(try CharacterMap(blob, file: node.file))
    case "Sequence":
      var stages: [Normalizer] = []
      for element in try node["normalizers"].elements() {
        if let stage = try Normalizer(element) { stages.append(stage) }
      }
      self = .sequence(stages)
    case let kind:
      throw node.unsupported(
        "is a normalizer of kind \"\(kind)\"; known are NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, "
          + "Strip, Prepend, Replace, Precompiled, Sequence")
    }
  }

  /// Normalizes well-formed UTF-8 in place.
  ///
  /// - Parameter stretch: what lies around the text, which only SentencePiece's kind asks.
  func apply(to text: inout [UInt8], _ stretch: TextStretch = TextStretch()) {
    switch self {
    case .unicode(let form): form.normalize(&text)
    case .lowercase: text = Self.lowercased(text)
    case .stripAccents: text = Self.withoutMarks(text)
    case .strip(let left, let right): Self.strip(&text, left: left, right: right)
    case .prepend(let prefix): if !text.isEmpty { text.insert(contentsOf: prefix, at: 0) }
    case .replace(let replacement): replacement.apply(to: &text)
    case .replaceMatches(let expression, let content):
      text = expression.replacingMatches(in: text, by: content)
    case .precompiled(let map): text = map.applied(to: text)
    case .sentencePiece(let normalizer): text = normalizer.applied(to: text, stretch)
    case .sequence(let stages): for stage in stages { stage.apply(to: &text, stretch) }
    }
  }

  /// What SentencePiece puts before a text even if it begins with a user-defined piece.
  var leadingBlank: [UInt8]? {
    guard case .sentencePiece(let normalizer) = self else { return nil }
    return normalizer.prefix
  }

  private static func lowercased(_ text: [UInt8]) -> [UInt8] {
    var output: [UInt8] = []
    output.reserveCapacity(text.count)
    for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
      if scalar.isASCII {
        let byte = UInt8(truncatingIfNeeded: scalar.value)
        output.append((0x41...0x5A).contains(byte) ? byte | 0x20 : byte)
      } else {
        output += scalar.properties.lowercaseMapping.utf8
      }
    }
    return output
  }

  private static func withoutMarks(_ text: [UInt8]) -> [UInt8] {
    var output: [UInt8] = []
    output.reserveCapacity(text.count)
    let marks = ScalarProperties.marks
    text.withUnsafeBufferPointer { text in
      guard let bytes = text.baseAddress else { return }
      var position = 0
      while position < text.count {
        let (scalar, length) = UTF8Bytes.scalar(bytes, at: position)
        if scalar < 0x80 || !marks.contains(scalar) {
          output += text[position..<position + length]
        }
        position += length
      }
    }
    return output
  }

  private static func strip(_ text: inout [UInt8], left: Bool, right: Bool) {
    let kept = text.withUnsafeBufferPointer { text -> Range<Int> in
      guard let bytes = text.baseAddress else { return 0..<0 }
      func isSpace(_ position: Int) -> Bool {
        let scalar = UTF8Bytes.scalar(bytes, at: position).value
        return CharacterClasses.shared.bits(scalar) & CharacterClasses.whiteSpace != 0
      }
      var (start, end) = (0, text.count)
      while left, start < end, isSpace(start) { start += UTF8Bytes.length(lead: bytes[start]) }
      while right, end > start {
        let last = UTF8Bytes.start(ofScalarBefore: end, bytes)
        guard isSpace(last) else { break }
        end = last
      }
      return start..<end
    }
    text = Array(text[kept])
  }
}

/// What lies around a stretch of text between added tokens.
struct TextStretch: Sendable {
  /// Whether nothing lies before it, or a control token.
  var isFirst = true
  /// Whether nothing lies after it, or a control token.
  var isLast = true
}
