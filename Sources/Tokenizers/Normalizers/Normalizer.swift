/// The `normalizer` of tokenizer.json: what happens to a stretch of text before it is split.
enum Normalizer: Sendable {
  /// Unicode normalization form C.
  case nfc
  /// Puts a text in front of any stretch that is not empty.
  case prepend([UInt8])
  /// Replaces every occurrence of one literal text by another.
  case replace(LiteralReplacement)
  /// One after the other.
  case sequence([Normalizer])

  /// Reads the stage; nil for `null`.
  init?(_ node: JSONNode) throws(TokenizerError) {
    guard node.isPresent else { return nil }
    switch try node["type"].string() {
    case "NFC": self = .nfc
    case "Prepend": self = .prepend(try node["prepend"].text())
    case "Replace": self = .replace(try LiteralReplacement(node))
    case "Sequence":
      var stages: [Normalizer] = []
      for element in try node["normalizers"].elements() {
        if let stage = try Normalizer(element) { stages.append(stage) }
      }
      self = .sequence(stages)
    case let kind:
      throw node.unsupported(
        "is a normalizer of kind \"\(kind)\"; known are NFC, Prepend, Replace, Sequence")
    }
  }

  /// Normalizes well-formed UTF-8 in place.
  func apply(to text: inout [UInt8]) {
    switch self {
    case .nfc: CanonicalComposition.shared.normalize(&text)
    case .prepend(let prefix): if !text.isEmpty { text.insert(contentsOf: prefix, at: 0) }
    case .replace(let replacement): replacement.apply(to: &text)
    case .sequence(let stages): for stage in stages { stage.apply(to: &text) }
    }
  }
}
