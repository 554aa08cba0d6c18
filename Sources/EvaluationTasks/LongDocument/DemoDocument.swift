/// The demo's long document with its hidden facts and questions.
///
/// Facts and questions have the forms that the built-in model was trained on; names, numbers and
/// depths were fixed before any answer was seen, and do not change with the length.
public struct DemoDocument: Sendable {
  /// The chronicle with the facts in it.
  public let text: String
  /// In the order in which they are asked.
  public let needles: [Needle]

  init(text: String, needles: [Needle]) {
    self.text = text
    self.needles = needles
  }

  /// A document of at most `tokens` tokens, as `countTokens` counts them.
  ///
  /// With little room there is no paragraph, and the facts alone may take more than `tokens`.
  /// Throws what `countTokens` throws.
  public init(
    tokens: Int, seed: UInt64 = 1, needles: [Needle] = DemoDocument.needles,
    countTokens: (String) throws -> Int
  ) throws {
    var chronicle = try TownChronicle(seed: seed)
    var remaining = tokens
    for needle in needles { remaining -= try countTokens(" " + needle.fact) }
    var paragraphs: [String] = []
    while remaining > 0 {
      let paragraph = chronicle.nextParagraph()
      remaining -= try countTokens(paragraph + "\n\n")
      if remaining >= 0 { paragraphs.append(paragraph) }
    }
    self.needles = needles
    var text = Needle.hide(needles, in: paragraphs.joined(separator: "\n\n"))
    // The parts were counted alone; the whole may have a few tokens more.
    while !paragraphs.isEmpty, try countTokens(text) > tokens {
      paragraphs.removeLast()
      text = Needle.hide(needles, in: paragraphs.joined(separator: "\n\n"))
    }
    self.text = text
  }

  /// The fixed facts: a number, a key, a name, words and hexadecimal digits, from early to late.
  public static let needles = [
    Needle(
      fact: "One of the special magic numbers for harbor-window is: 7340915.",
      question:
        "What is the special magic number for harbor-window mentioned in the provided text?",
      answer: "7340915", depth: 0.5),
    Needle(
      fact: "The pass key is 48213. Remember it. 48213 is the pass key.",
      question: "What is the pass key?", answer: "48213", depth: 0.12),
    Needle(
      fact: "Eleanor's favorite animal is tiger.",
      question: "What is Eleanor's favorite animal?", answer: "tiger", depth: 0.31),
    Needle(
      fact: "The phone extension of Arthur Bennett is 6027.",
      question: "What is the phone extension of Arthur Bennett?", answer: "6027", depth: 0.69),
    Needle(
      fact: "The value for 9c41e7d2 is 3b80fa56.",
      question: "What is the value for 9c41e7d2?", answer: "3b80fa56", depth: 0.88),
  ]
}
