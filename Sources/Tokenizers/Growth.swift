/// How many times as long the stages of a file can make a text.
///
/// A file of a few lines can ask for stages that multiply one another without end; such a file is refused when
/// it is read, so that encoding and decoding need no limit.
enum Growth {
  /// NFKC alone is eleven, for U+FDFA; T5's stages together are four hundred in the worst case.
  private static let limit = 1000.0

  static func check(
    _ normalizer: Normalizer?, _ preTokenizer: PreTokenizer?, _ file: JSONNode
  ) throws(TokenizerError) {
    let growth = (normalizer?.growth ?? 1) * (preTokenizer?.growth ?? 1)
    guard growth <= limit else {
      throw file.unsupportedStage(
        "normalizer and pre_tokenizer can make a text \(text(growth)) times as long")
    }
  }

  static func check(_ decoder: Decoder, _ file: JSONNode) throws(TokenizerError) {
    let growth = decoder.stages.reduce(1) { $0 * $1.growth }
    guard growth <= limit else {
      throw file.unsupportedStage("decoder can make a text \(text(growth)) times as long")
    }
  }

  private static func text(_ growth: Double) -> String {
    growth < 1e9 ? String(Int(growth)) : "more than 1000000000"
  }

  /// By how much replacing texts of at least `length` bytes by `content` makes a text longer.
  static func ofReplacement(_ content: [UInt8], ofAtLeast length: Int) -> Double {
    length == 0 ? Double(1 + content.count) : max(1, Double(content.count) / Double(length))
  }
}

extension JSONNode {
  fileprivate func unsupportedStage(_ problem: String) -> TokenizerError {
    TokenizerError(.unsupported, file, problem + "; the limit is 1000")
  }
}

extension Normalizer {
  var growth: Double {
    switch self {
    case .unicode(let form): form.growth
    case .lowercase: 1.5
    case .stripAccents, .strip: 1
    case .prepend(let prefix): Double(1 + prefix.count)
    case .replace(let replacement): replacement.growth
    case .replaceMatches(let expression, let content):
      Growth.ofReplacement(content, ofAtLeast: expression.matchesNothing ? 0 : 1)
    case .precompiled(let map): map.growth
    case .sentencePiece(let normalizer): normalizer.growth
    case .sequence(let stages): stages.reduce(1) { $0 * $1.growth }
    }
  }
}

extension PreTokenizer {
  var growth: Double {
    switch self {
    case .split, .delimiter: 1
    case .byteLevel(let addsPrefixSpace, _): addsPrefixSpace ? 2 : 1
    case .metaspace(let stage): Double(stage.replacement.count + 1)
    case .sequence(let stages): stages.reduce(1) { $0 * $1.growth }
    }
  }
}

extension DecoderStage {
  var growth: Double {
    switch self {
    case .replace(let replacement): replacement.growth
    case .byteLevel, .byteFallback, .fuse, .strip, .metaspace: 1
    }
  }
}

extension LiteralReplacement {
  var growth: Double { Growth.ofReplacement(content, ofAtLeast: pattern.count) }
}
