/// Text without answers, in which facts are hidden.
public enum Haystack: Sendable {
  /// The project's own endless chronicle; the seed chooses which.
  case chronicle(seed: UInt64)
  /// A given text, begun again where it ends.
  case text(String)

  /// At least `bytes` bytes of the text, as sentences with the blanks after them.
  func sentences(bytes: Int) throws -> [String] {
    switch self {
    case .chronicle(let seed):
      var chronicle = try TownChronicle(seed: seed)
      var sentences: [String] = []
      var length = 0
      while length < bytes {
        let paragraph = chronicle.nextParagraph() + "\n\n"
        sentences += Self.split(paragraph)
        length += paragraph.utf8.count
      }
      return sentences
    case .text(let text):
      let once = Self.split(text.last?.isWhitespace == true ? text : text + "\n")
      guard !text.isEmpty else { return [] }
      let length = once.reduce(0) { $0 + $1.utf8.count }
      return Array(repeatElement(once, count: max(1, (bytes + length - 1) / length)).joined())
    }
  }

  /// `text` cut after the blanks that follow each end of a sentence.
  package static func split(_ text: String) -> [String] {
    let bytes = Array(text.utf8)
    var sentences: [String] = []
    var start = 0
    for end in Needle.sentenceEnds(in: bytes) where end > start {
      var stop = end
      while stop < bytes.count, bytes[stop] == 0x20 || bytes[stop] == 0x0A || bytes[stop] == 0x0D {
        stop += 1
      }
      sentences.append(String(decoding: bytes[start..<stop], as: UTF8.self))
      start = stop
    }
    if start < bytes.count {
      sentences.append(String(decoding: bytes[start...], as: UTF8.self))
    }
    return sentences
  }

  /// Sentences with facts among them, each put after the last sentence that ends at or before its
  /// depth in bytes: the tests' rule, which goes back from the depth point to a full stop.
  ///
  /// Facts at one offset keep their order.
  package static func hide(
    _ facts: [(text: String, depth: Double)], in sentences: ArraySlice<String>
  )
    -> String
  {
    let total = sentences.reduce(0) { $0 + $1.utf8.count }
    let wanted = facts.enumerated().map { number, fact in
      (offset: Int(Double(total) * min(1, max(0, fact.depth))), number: number, text: fact.text)
    }.sorted { ($0.offset, $0.number) < ($1.offset, $1.number) }
    var text = ""
    text.reserveCapacity(total + facts.reduce(0) { $0 + $1.text.utf8.count + 2 })
    var next = 0
    var position = 0
    func insertFacts(before end: Int) {
      while next < wanted.count, wanted[next].offset < end {
        if text.last.map({ !$0.isWhitespace }) ?? false { text += " " }
        text += wanted[next].text + " "
        next += 1
      }
    }
    for sentence in sentences {
      insertFacts(before: position + sentence.utf8.count)
      text += sentence
      position += sentence.utf8.count
    }
    insertFacts(before: .max)
    while text.last?.isWhitespace == true { text.removeLast() }
    return text
  }

  /// Five short sentences on one line, the repeated noise of pass-key tests, in our own words.
  static let noise =
    "The hill is high. The river is wide. The road is long. On we walk. Home is near."
}
