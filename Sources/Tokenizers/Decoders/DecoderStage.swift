/// One stage of the `decoder` of tokenizer.json.
enum DecoderStage: Sendable {
  /// Pieces are spelled in the byte alphabet.
  case byteLevel
  /// Replaces a literal in every piece.
  case replace(LiteralReplacement)
  /// Runs of pieces `<0xNN>` become their bytes.
  case byteFallback
  /// Everything becomes one piece.
  case fuse
  /// Takes up to a number of one character off the ends of every piece.
  case strip(character: [UInt8], start: Int, stop: Int)
  /// The visible blank becomes a blank, or nothing in the first piece.
  case metaspace(replacement: [UInt8], dropsFirst: Bool)

  /// Reads a decoder as its stages; nil for `null`.
  static func stages(_ node: JSONNode) throws(TokenizerError) -> [DecoderStage]? {
    guard node.isPresent else { return nil }
    switch try node["type"].string() {
    case "ByteLevel": return [.byteLevel]
    case "Replace": return [.replace(try LiteralReplacement(node))]
    case "ByteFallback": return [.byteFallback]
    case "Fuse": return [.fuse]
    case "Strip":
      let character = try node["content"].text()
      guard let lead = character.first, UTF8Bytes.length(lead: lead) == character.count else {
        throw node["content"].malformed("is not one character")
      }
      return [
        .strip(
          character: character, start: try node["start"].index(limit: 1 << 20),
          stop: try node["stop"].index(limit: 1 << 20))
      ]
    case "Metaspace":
      let replacement = try node["replacement"].text()
      if replacement.isEmpty { throw node["replacement"].malformed("is empty") }
      let scheme = try MetaspaceStage.prependScheme(node)
      return [.metaspace(replacement: replacement, dropsFirst: scheme != .never)]
    case "Sequence":
      var stages: [DecoderStage] = []
      for element in try node["decoders"].elements() {
        stages += try Self.stages(element) ?? []
      }
      return stages
    case let kind:
      throw node.unsupported(
        "is a decoder of kind \"\(kind)\"; known are ByteLevel, Replace, ByteFallback, Fuse, Strip, "
          + "Metaspace, Sequence")
    }
  }
}

/// A decoder: stages in an order that can also be followed piece by piece.
struct Decoder: Sendable {
  let stages: [DecoderStage]
  /// Put between pieces: a blank when tokenizer.json has no decoder, as Hugging Face does.
  let separator: [UInt8]

  /// Stages that follow one another without a separator.
  init(_ stages: [DecoderStage]) {
    self.stages = stages
    separator = []
  }

  init(_ node: JSONNode) throws(TokenizerError) {
    let stages = try DecoderStage.stages(node)
    self.stages = stages ?? []
    separator = stages == nil ? [0x20] : []

    var isFused = false
    for stage in self.stages {
      switch stage {
      case .strip: break
      case .fuse: isFused = true
      case .byteLevel, .replace, .byteFallback, .metaspace:
        if isFused { throw node.unsupported("has a stage other than Strip after Fuse") }
      }
    }
  }
}
