/// A `tokenizer.model` in tiktoken's form: a line for each piece, its bytes in base64, a blank, its rank.
///
/// Pieces merge by rank: of two neighbours that together are a piece, those of the lowest rank first.
/// Source: tiktoken, `load.py`; Llama 3 and GLM-4 are published so.
struct TiktokenRanks {
  private(set) var pieces: [(bytes: [UInt8], rank: Int)] = []

  /// - Throws: `.malformed` naming the line.
  init(_ contents: [UInt8], path: String) throws(TokenizerError) {
    pieces.reserveCapacity(contents.count / 16)
    var start = 0
    var line = 0
    while start < contents.count {
      let end = contents[start...].firstIndex(of: 0x0A) ?? contents.count
      line += 1
      var text = contents[start..<end]
      if text.last == 0x0D { text.removeLast() }
      start = end + 1
      if text.isEmpty { continue }
      guard let blank = text.firstIndex(of: 0x20),
        let bytes = Self.decodeBase64(text[..<blank]), !bytes.isEmpty,
        let rank = Self.number(text[(blank + 1)...]), rank <= Vocabulary.largestIdentifier
      else {
        throw TokenizerError(
          .malformed, path,
          "line \(line) is not a piece in base64, a blank and a rank: download the file again")
      }
      pieces.append((bytes, rank))
    }
    guard !pieces.isEmpty else {
      throw TokenizerError(.malformed, path, "is empty: download the file again")
    }
  }

  /// The bytes, or nil for what is not base64.
  static func decodeBase64(_ text: ArraySlice<UInt8>) -> [UInt8]? {
    guard text.count % 4 == 0 else { return nil }
    let padding = text.reversed().prefix { $0 == UInt8(ascii: "=") }.count
    guard padding <= 2 else { return nil }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.count / 4 * 3)
    var bits: UInt32 = 0
    for (index, character) in text.dropLast(padding).enumerated() {
      guard let value = value(of: character) else { return nil }
      bits = bits << 6 | value
      // Every character but the first of four completes a byte.
      let place = index % 4
      if place > 0 { bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(6 - 2 * place))) }
    }
    return bytes
  }

  private static func value(of character: UInt8) -> UInt32? {
    switch character {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(character - UInt8(ascii: "A"))
    case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(character - UInt8(ascii: "a") + 26)
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(character - UInt8(ascii: "0") + 52)
    case UInt8(ascii: "+"): 62
    case UInt8(ascii: "/"): 63
    default: nil
    }
  }

  private static func number(_ text: ArraySlice<UInt8>) -> Int? {
    guard !text.isEmpty, text.count < 10,
      text.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
    else { return nil }
    return text.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
  }
}
