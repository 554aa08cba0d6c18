/// SentencePiece's `precompiled_charsmap`: texts and what replaces them, in a double-array trie.
///
/// The blob is the trie's size in bytes (32 bits), the trie (units of 32 bits), and the replacements, each ended
/// by a zero byte. At each place the longest text that the trie has is replaced. Hugging Face's `Precompiled`
/// looks at whole grapheme clusters first; the results differ only where a cluster of several scalars has a
/// replacement of its own.
/// Source: sentencepiece, `normalizer.cc` and `third_party/darts_clone/darts.h`.
struct CharacterMap: Sendable {
  private let units: [UInt32]
  private let replacements: [UInt8]
  /// The length of the longest replacement, which bounds how much longer a text becomes.
  let growth: Double

  /// - Throws: `.malformed` where the sizes contradict one another.
  init(_ blob: [UInt8], file: String) throws(TokenizerError) {
    func word(_ index: Int) -> UInt32 {
      (0..<4).reduce(0) { $0 | UInt32(blob[index * 4 + $1]) << UInt32(8 * $1) }
    }
    guard blob.count >= 4, word(0) % 4 == 0, Int(word(0)) + 4 <= blob.count, word(0) > 0 else {
      throw TokenizerError(.malformed, file, "precompiled_charsmap is cut off or damaged")
    }
    let count = Int(word(0)) / 4
    units = (0..<count).map { word($0 + 1) }
    replacements = Array(blob[(4 + count * 4)...])
    let longest = replacements.split(separator: 0).map(\.count).max() ?? 0
    growth = Double(max(1, longest))
  }

  /// The length of the longest known text at `position` and where its replacement begins.
  private func longestMatch(
    in text: UnsafeBufferPointer<UInt8>, at position: Int
  ) -> (length: Int, replacement: Int)? {
    func offset(_ unit: UInt32) -> Int { Int(unit >> 10) << Int((unit & 1 << 9) >> 6) }
    var node = offset(units[0])
    var found: (length: Int, replacement: Int)?
    var next = position
    while next < text.count {
      node ^= Int(text[next])
      guard node < units.count else { return found }
      let unit = units[node]
      guard unit & (1 << 31 | 0xFF) == UInt32(text[next]) else { return found }
      node ^= offset(unit)
      next += 1
      if unit >> 8 & 1 != 0, node < units.count {
        found = (next - position, Int(units[node] & 0x7FFF_FFFF))
      }
      guard node < units.count else { return found }
    }
    return found
  }

  /// What the text at `position` becomes and how many bytes it had: a replacement, or one scalar as it is.
  func replacement(
    in text: UnsafeBufferPointer<UInt8>, at position: Int
  ) -> (text: ArraySlice<UInt8>, length: Int) {
    if let match = longestMatch(in: text, at: position), match.replacement < replacements.count,
      isBoundary(text, position + match.length)
    {
      let rest = replacements[match.replacement...]
      return (rest[..<(rest.firstIndex(of: 0) ?? rest.endIndex)], match.length)
    }
    let length = UTF8Bytes.length(lead: text[position])
    return (Array(text[position..<position + length])[...], length)
  }

  /// A damaged trie may know half a scalar, which must not be cut off.
  private func isBoundary(_ text: UnsafeBufferPointer<UInt8>, _ position: Int) -> Bool {
    position == text.count || text[position] & 0xC0 != 0x80
  }

  /// A text with everything replaced; what would not be UTF-8 then becomes U+FFFD.
  func applied(to text: [UInt8]) -> [UInt8] {
    var output: [UInt8] = []
    output.reserveCapacity(text.count)
    text.withUnsafeBufferPointer { text in
      var position = 0
      while position < text.count {
        let (replacement, length) = replacement(in: text, at: position)
        output += replacement
        position += length
      }
    }
    return Self.wellFormed(output)
  }

  static func wellFormed(_ text: [UInt8]) -> [UInt8] {
    let offset = text.withUnsafeBufferPointer(UTF8Bytes.firstInvalidOffset)
    return offset == nil ? text : Array(String(decoding: text, as: UTF8.self).utf8)
  }
}
