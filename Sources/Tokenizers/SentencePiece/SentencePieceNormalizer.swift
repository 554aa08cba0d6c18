/// What SentencePiece does to a text before it is cut into pieces.
///
/// Source: sentencepiece, `Normalizer::Normalize` in `normalizer.cc`.
struct SentencePieceNormalizer: Sendable {
  /// `precompiled_charsmap`; nil for the rule `identity`.
  var map: CharacterMap?
  /// A blank before the text, so that its first word is as one within a text.
  var addsDummyPrefix = true
  /// Runs of blanks become one, those at the ends none.
  var removesExtraWhitespace = true
  /// Blanks become U+2581.
  var escapesWhitespace = true
  /// The dummy blank goes after the text.
  var treatsWhitespaceAsSuffix = false

  static let visibleBlank: [UInt8] = [0xE2, 0x96, 0x81]

  /// Every blank may have been one byte, and one more is added.
  var growth: Double { (map?.growth ?? 1) * (escapesWhitespace ? 3 : 1) + 3 }

  private var blank: [UInt8] { escapesWhitespace ? Self.visibleBlank : [0x20] }

  /// What goes before a text; nil for nothing.
  var prefix: [UInt8]? { addsDummyPrefix && !treatsWhitespaceAsSuffix ? blank : nil }

  func applied(to text: [UInt8], _ stretch: TextStretch) -> [UInt8] {
    guard !text.isEmpty else { return text }
    let blank = blank
    var output: [UInt8] = []
    output.reserveCapacity(text.count + text.count / 2)
    if stretch.isFirst, let prefix { output += prefix }
    var followsBlank = removesExtraWhitespace && stretch.isFirst
    text.withUnsafeBufferPointer { text in
      var position = 0
      while position < text.count {
        let length: Int
        var piece: ArraySlice<UInt8>
        if let map {
          (piece, length) = map.replacement(in: text, at: position)
        } else {
          length = UTF8Bytes.length(lead: text[position])
          piece = Array(text[position..<position + length])[...]
        }
        position += length
        while followsBlank, piece.first == 0x20 { piece = piece.dropFirst() }
        guard !piece.isEmpty else { continue }
        for byte in piece {
          if byte == 0x20 { output += blank } else { output.append(byte) }
        }
        followsBlank = removesExtraWhitespace && piece.last == 0x20
      }
    }
    if removesExtraWhitespace, stretch.isLast {
      while output.count >= blank.count, output.suffix(blank.count).elementsEqual(blank) {
        output.removeLast(blank.count)
      }
    }
    if output.isEmpty { return output }
    if addsDummyPrefix, treatsWhitespaceAsSuffix, stretch.isLast { output += blank }
    return CharacterMap.wellFormed(output)
  }
}
