/// A fact hidden in a long text, the question about it, and the answer that counts.
public struct Needle: Sendable, Hashable {
  /// One sentence that stands nowhere else in the text.
  public var fact: String
  public var question: String
  /// What an answer must contain, exactly.
  public var answer: String
  /// Where the fact is put: 0 is the beginning of the text, 1 its end.
  public var depth: Double

  public init(fact: String, question: String, answer: String, depth: Double) {
    self.fact = fact
    self.question = question
    self.answer = answer
    self.depth = depth
  }

  /// Whether `text` gives the answer: it contains ``answer`` with no letter or digit directly
  /// before or after it, so that 4821 is not found in 14821.
  public func isAnswered(by text: String) -> Bool {
    let text = Array(text.utf8)
    let answer = Array(answer.utf8)
    guard !answer.isEmpty, text.count >= answer.count else { return false }
    return (0...(text.count - answer.count)).contains { start in
      let end = start + answer.count
      return text[start..<end].elementsEqual(answer)
        && (start == 0 || !Self.belongsToWord(text[start - 1]))
        && (end == text.count || !Self.belongsToWord(text[end]))
    }
  }

  private static func belongsToWord(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
      UInt8(ascii: "A")...UInt8(ascii: "Z"), 0x80...:
      true
    default:
      false
    }
  }
}

extension Needle {
  /// `text` with every needle's fact put after the end of a sentence, at its depth in bytes.
  ///
  /// The insertion point is the first end of a sentence (a full stop, question or exclamation mark, an
  /// optional closing quote, then a blank or a line end) at or after the depth point, and the last
  /// one of the text if there is none after it. A text without sentences gets the facts at its end.
  public static func hide(_ needles: [Needle], in text: String) -> String {
    let bytes = Array(text.utf8)
    let ends = sentenceEnds(in: bytes)
    let insertions = needles.map { needle in
      let wanted = Int(Double(bytes.count) * min(1, max(0, needle.depth)))
      return (offset: ends.first { $0 >= wanted } ?? ends.last ?? bytes.count, fact: needle.fact)
    }
    var result: [UInt8] = []
    var copied = 0
    // Needles of one depth keep their order: sorting by offset breaks ties.
    for (offset, fact) in insertions.enumerated().sorted(by: {
      ($0.element.offset, $0.offset) < ($1.element.offset, $1.offset)
    }).map(\.element) {
      result += bytes[copied..<offset]
      result += Array((result.isEmpty ? fact : " " + fact).utf8)
      copied = offset
    }
    result += bytes[copied...]
    return String(decoding: result, as: UTF8.self)
  }

  /// Offsets just after the last character of each sentence.
  static func sentenceEnds(in bytes: [UInt8]) -> [Int] {
    let marks = Set(".!?".utf8)
    let quotes = Set("\"')".utf8)
    let blanks = Set(" \n\r".utf8)
    var ends: [Int] = []
    for (offset, byte) in bytes.enumerated() where marks.contains(byte) {
      var end = offset + 1
      if end < bytes.count, quotes.contains(bytes[end]) { end += 1 }
      let endsTitle =
        byte == UInt8(ascii: ".") && offset >= 2 && bytes[offset - 1] == UInt8(ascii: "r")
        && bytes[offset - 2] == UInt8(ascii: "M")
        || offset >= 3 && bytes[(offset - 3)..<offset].elementsEqual("Mrs".utf8)
      if !endsTitle, end == bytes.count || blanks.contains(bytes[end]) { ends.append(end) }
    }
    return ends
  }
}
