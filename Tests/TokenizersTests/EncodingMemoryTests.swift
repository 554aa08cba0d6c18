import Testing
import Tokenizers

@Suite struct EncodingMemoryTests {
  /// What texts are put together from: all that scanners look ahead for, and what normalization puts together.
  private static let parts = [
    "The", " map", " is", "n't", " 'tis", "'", "'r", "'ll", "'l", " ", "  ", "\n", "\r\n", "\n\n ",
    "\t", "1",
    "23", " 4567", ",", "...", " (", "é", "e\u{301}", "\u{301}", "ſ", "'ſ", "日本", "ａ", "🙂",
    "\u{a0}", "\u{2003}",
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im_", "|>", "x", "Y", "_", "\u{0}", "한",
    "\u{1112}\u{1161}\u{11ab}",
  ]

  private func text(_ count: Int, _ random: inout Generator) -> String {
    (0..<count).map { _ in Self.parts[random.pick(Self.parts.count)] }.joined()
  }

  @Test(arguments: smallTokenizers)
  func `what begins like an earlier text gets the ids that it gets alone`(_ name: String) throws {
    let tokenizer = try Tokenizer(path: Files.small(name))
    var random = Generator(state: 17)
    for round in 0..<80 {
      let memory = EncodingMemory(leastBytes: 1, spacing: 1 + random.pick(4))
      var known = [text(200, &random)]
      for _ in 0..<25 {
        // Cut anywhere, also within a character or a token, which is then another one.
        let earlier = Array(known[random.pick(known.count)].unicodeScalars)
        var scalars = String.UnicodeScalarView()
        scalars.append(contentsOf: earlier.prefix(random.pick(earlier.count + 1)))
        let next = String(scalars) + text(random.pick(30), &random)
        known.append(next)
        let policy: SpecialTokenPolicy = random.pick(3) == 0 ? .asText : .recognise
        let addTemplate = random.pick(4) == 0
        let expected = tokenizer.encode(next, specialTokens: policy, addTemplate: addTemplate)
        let found = tokenizer.encode(
          next, specialTokens: policy, addTemplate: addTemplate, memory: memory)
        #expect(found == expected, "round \(round): \(next.debugDescription)")
        // Stretches that are text alone.
        let middle = next.unicodeScalars.count / 2
        let segments = [
          TextSegment(
            String(String.UnicodeScalarView(next.unicodeScalars.prefix(middle))),
            specialTokens: .recognise),
          TextSegment(
            String(String.UnicodeScalarView(next.unicodeScalars.dropFirst(middle))),
            specialTokens: .asText),
        ]
        #expect(tokenizer.encode(segments, memory: memory) == tokenizer.encode(segments))
      }
    }
  }

  @Test func `short texts are not remembered, and old ones go`() throws {
    let tokenizer = try Tokenizer(
      path: Files.small(
        try #require(
          smallTokenizers.first { name in
            let tokenizer = try? Tokenizer(path: Files.small(name))
            let memory = EncodingMemory(leastBytes: 1)
            _ = tokenizer?.encode("The map is here", memory: memory)
            return memory.count == 1
          })))
    var random = Generator(state: 19)
    let memory = EncodingMemory(mostBytes: 20_000, leastBytes: 1000, spacing: 100)
    _ = tokenizer.encode("The map", memory: memory)
    #expect(memory.count == 0)
    let document = text(1200, &random)
    for question in ["Where?", "Who is it?", "When?"] {
      let whole = document + question
      #expect(tokenizer.encode(whole, memory: memory) == tokenizer.encode(whole))
    }
    // Each took the place of the one before.
    #expect(memory.count == 1)
    for _ in 0..<20 { _ = tokenizer.encode(text(600, &random), memory: memory) }
    #expect(memory.count > 1 && memory.count < 10)
  }
}
