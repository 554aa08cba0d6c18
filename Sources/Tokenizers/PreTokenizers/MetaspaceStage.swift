/// The `Metaspace` pre-tokenizer: blanks become a visible character, which also begins the text, and pieces
/// begin at it.
struct MetaspaceStage: Sendable {
  /// Where the visible blank is put in front.
  enum PrependScheme: String { case always, first, never }

  let replacement: [UInt8]
  let prependScheme: PrependScheme
  let splits: Bool

  init(_ node: JSONNode) throws(TokenizerError) {
    replacement = try node["replacement"].text()
    if replacement.isEmpty { throw node["replacement"].malformed("is empty") }
    splits = try node["split"].bool(default: true)
    prependScheme = try Self.prependScheme(node)
  }

  /// `prepend_scheme`, or the older `add_prefix_space`.
  static func prependScheme(_ node: JSONNode) throws(TokenizerError) -> PrependScheme {
    guard node["prepend_scheme"].isPresent else {
      return try node["add_prefix_space"].bool(default: true) ? .always : .never
    }
    let name = try node["prepend_scheme"].string()
    guard let scheme = PrependScheme(rawValue: name) else {
      throw node["prepend_scheme"].unsupported("is \"\(name)\"; known are always, first, never")
    }
    return scheme
  }

  func apply(to pieces: inout Pieces) {
    let beginsText = pieces.beginsText
    pieces.rewrite { index, piece, output in
      let prepends =
        switch prependScheme {
        case .always: true
        case .first: index == 0 && beginsText
        case .never: false
        }
      if prepends, piece.first != 0x20, !piece.starts(with: replacement) { output += replacement }
      for byte in piece {
        if byte == 0x20 { output += replacement } else { output.append(byte) }
      }
    }
    if splits { pieces.split(at: .literal(replacement), .mergedWithNext) }
  }
}
