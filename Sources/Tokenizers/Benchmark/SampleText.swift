/// Deterministic texts of several kinds, for measuring and for tests against Python's `tokenizers`.
///
/// Tests/TokenizersTests/Goldens/sample_text.py makes the same bytes; change both together.
package struct SampleText {
  /// What the text is like.
  package enum Kind: String, CaseIterable, Sendable {
    case prose, code, json, chinese
    /// Characters from everywhere, combining marks, control tokens and odd white space.
    case unicode
    /// No white space or nothing else: what quadratic merging would choke on.
    case oneLetter, letters, mixedCase, words, han, digits, punctuation, spaces, newlines, marks
  }

  private var state: UInt64
  private var text: [UInt8] = []

  /// At least `count` bytes of text; the last unit is never cut.
  package static func make(_ kind: Kind, count: Int, seed: UInt64 = 1) -> [UInt8] {
    var generator = SampleText(state: seed)
    generator.text.reserveCapacity(count + 256)
    while generator.text.count < count { generator.appendUnit(kind) }
    return generator.text
  }

  private init(state: UInt64) { self.state = state }

  /// A number from 0 up to but not including `limit`, by a linear congruential generator.
  private mutating func pick(_ limit: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int(state >> 33) % limit
  }

  /// Like `pick`, with small numbers more likely.
  private mutating func pickSkewed(_ limit: Int) -> Int { pick(pick(limit) + 1) }

  private mutating func appendScalar(_ scalar: Int) {
    UTF8Bytes.append(UInt32(truncatingIfNeeded: scalar), to: &text)
  }

  private mutating func appendScalar(from first: Int, through last: Int) {
    appendScalar(first + pick(last - first + 1))
  }

  private mutating func append(_ string: String) { text += string.utf8 }

  private mutating func word() -> String { Self.words[pickSkewed(Self.words.count)] }

  private mutating func appendUnit(_ kind: Kind) {
    switch kind {
    case .prose: appendSentence()
    case .code: appendLineOfCode()
    case .json: appendJSONObject()
    case .chinese: appendChineseClause()
    case .unicode: appendOddity()
    case .oneLetter: append("a")
    case .letters: appendScalar(from: 0x61, through: 0x7A)
    case .mixedCase: appendScalar((pick(2) == 0 ? 0x41 : 0x61) + pick(26))
    case .words: append(word())
    case .han: appendScalar(0x4E00 + pickSkewed(20_000))
    case .digits: appendScalar(from: 0x30, through: 0x39)
    case .punctuation: append(Self.punctuation[pick(Self.punctuation.count)])
    case .spaces: append(" ")
    case .newlines: append("\n")
    case .marks: appendScalar(from: 0x300, through: 0x33F)
    }
  }

  private mutating func appendSentence() {
    let count = 4 + pick(16)
    for index in 0..<count {
      let next = word()
      if index == 0 {
        appendScalar(Int(next.utf8.first ?? 0) - 0x20)
        text += next.utf8.dropFirst()
      } else {
        append(next)
      }
      switch pick(40) {
      case 0: append("'s")
      case 1: append(" \(pick(3000))")
      case 2, 3, 4: append(",")
      case 5: append("n't")
      case 6: append(" \u{2014}")
      default: break
      }
      if index + 1 < count { append(" ") }
    }
    append([".", "?", "!", ".\""][pick(4)])
    append(pick(8) == 0 ? "\n\n" : " ")
  }

  private mutating func appendLineOfCode() {
    append(String(repeating: "    ", count: pick(4)))
    switch pick(5) {
    case 0: append("def \(word())_\(word())(self, \(word())=\(pick(100))):\n")
    case 1: append("if self.\(word()) >= 0x\(String(pick(4096), radix: 16)) and not \(word()):\n")
    case 2: append("\(word()) = [\(pick(10)), \"\(word())\\n\", None]  # \(word()) \(word())\n")
    case 3: append("return {'\(word())': \(word())[\(pick(9))], **\(word())}\n")
    default: append("\n")
    }
  }

  private mutating func appendJSONObject() {
    append("{\"id\": \(pick(1_000_000)), \"\(word())\": \"\(word()) \(word())\", ")
    append(
      "\"\(word())\": [\(pick(10)).\(pick(1000)), true, null],\n  \"\(word())\": -\(pick(50))},\n")
  }

  private mutating func appendChineseClause() {
    for _ in 0..<2 + pick(16) { appendScalar(0x4E00 + pickSkewed(4000)) }
    append(["\u{FF0C}", "\u{3002}", "\u{3001}", "\u{FF1A}", "\u{3002}\n"][pick(5)])
  }

  private mutating func appendOddity() {
    switch pick(12) {
    case 0: appendScalar(from: 0x20, through: 0x2FF)
    case 1: appendScalar(from: 0x300, through: 0x36F)
    case 2: appendScalar(from: 0x370, through: 0x1FFF)
    case 3: appendScalar(from: 0x2000, through: 0x33FF)
    case 4: appendScalar(from: 0x1100, through: 0x11FF)
    case 5: appendScalar(from: 0xAC00, through: 0xD7A3)
    case 6: appendScalar(from: 0xE000, through: 0x1FFFF)
    case 7: appendScalar(from: 0x20000, through: 0x10FFFF)
    case 8: append(Self.oddities[pick(Self.oddities.count)])
    case 9: append(word())
    case 10: append(["\u{E9}", "e\u{301}", "\u{5D0}\u{5B8}", "\u{212B}", "\u{390}"][pick(5)])
    default: append([" ", "  ", "\n", "\r\n", "\t", "\u{A0}", "\u{3000}"][pick(7)])
    }
  }

  private static let punctuation = "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~".map(String.init)

  private static let oddities = [
    "<|", "<|end|>", " <|user|> \n", "<|im_start|>", "x<|im_end|>", "</s>  ", "<s>", "<unk>",
    "<|begin_of_text|>", "<|endoftext|>", "<|end_of_text|", "<0x0A>", "\u{2581}",
    "\u{2581}\u{2581}",
    "'s", "'S", "'\u{17F}", "'lL", "'Re", "'", "1234567", "\u{1F1E9}\u{1F1EA}", "[MASK]", "a[MASK]",
    " [MASK] ", "<extra>", "<EXTRA>  ",
  ]

  private static let words = """
    the of and to a in that he was it his is with for as had you not be her on at by which have or from \
    this him but all she they were my are me one their so an said them we who would been will no when \
    there if more out up into do any your what has man could other than our some very time upon about \
    may its only now like little then can should made did us such great before must two these see know \
    over much down after first mister good men own never most old shall day where those came come himself \
    way work life without go make well through being long say might how am too under again many same \
    house against country thought wonderful extraordinary circumstances notwithstanding philosophy
    """.split(separator: " ").map(String.init)
}
