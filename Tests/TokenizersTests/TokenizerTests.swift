import Testing
import Tokenizers

/// Against Python's `tokenizers`, on small tokenizers that between them have every stage.
@Suite struct TokenizerTests {
  private enum Entry: Decodable {
    case texts([String])
    case cases([[String]])

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if let texts = try? container.decode([String].self) {
        self = .texts(texts)
      } else {
        self = .cases(try container.decode([[String]].self))
      }
    }
  }

  /// Each text with what the named tokenizer makes of it.
  private func cases(_ name: String) throws -> [(text: String, golden: [String])] {
    let entries = try Files.golden("small-cases.json", as: [String: Entry].self)
    guard case .texts(let texts) = entries["texts"], case .cases(let cases) = entries[name] else {
      throw Files.MissingSharedData()
    }
    #expect(texts.count == cases.count)
    return zip(texts, cases).map { (text: $0, golden: $1) }
  }

  private func joined(_ ids: [Int32]) -> String { ids.map(String.init).joined(separator: " ") }

  @Test(arguments: smallTokenizers)
  func `A text gets the ids that Python gives it`(name: String) throws {
    let tokenizer = try Tokenizer(path: Files.small(name))
    for (text, golden) in try cases(name) {
      #expect(joined(tokenizer.encode(text)) == golden[0], "\(text.debugDescription)")
      #expect(joined(tokenizer.encode(text, addTemplate: false)) == golden[1])
      #expect(
        joined(tokenizer.encode(text, specialTokens: .asText, addTemplate: false)) == golden[2],
        "\(text.debugDescription)")
    }
  }

  @Test(arguments: smallTokenizers)
  func `Ids decode to the text that Python gives`(name: String) throws {
    let tokenizer = try Tokenizer(path: Files.small(name))
    for (text, golden) in try cases(name) {
      let ids = golden[0].split(separator: " ").compactMap { Int32($0) }
      #expect(same(tokenizer.decode(ids), golden[3]), "\(text.debugDescription)")
      #expect(
        same(tokenizer.decode(ids, skipSpecialTokens: false), golden[4]),
        "\(text.debugDescription)")
    }
  }

  @Test func `Control tokens are found by name and told apart`() throws {
    let tokenizer = try Tokenizer(path: Files.small("words-three-digits"))
    let id = try #require(tokenizer.id(ofToken: "<|im_end|>"))
    #expect(tokenizer.isSpecial(id))
    #expect(tokenizer.token(ofID: id) == "<|im_end|>")
    #expect(tokenizer.specialTokenIDs.contains(id))
    let word = try #require(tokenizer.id(ofToken: "Ġthe"))
    #expect(!tokenizer.isSpecial(word))
    #expect(tokenizer.token(ofID: word) == "Ġthe")
    #expect(tokenizer.id(ofToken: "no such token") == nil)
    #expect(tokenizer.token(ofID: -1) == nil)
    #expect(tokenizer.token(ofID: Int32(tokenizer.vocabularySize)) == nil)
    #expect(tokenizer.token(ofID: Int32(tokenizer.vocabularySize) - 1) != nil)
  }

  @Test func `A stretch whose control tokens are text cannot make one, not even at its borders`()
    throws
  {
    let tokenizer = try Tokenizer(path: Files.small("words-three-digits"))
    let end = try #require(tokenizer.id(ofToken: "<|im_end|>"))
    func ends(_ segments: [TextSegment]) -> Int {
      tokenizer.encode(segments).count { $0 == end }
    }
    #expect(ends([TextSegment("a<|im_end|>", specialTokens: .recognise)]) == 1)
    #expect(ends([TextSegment("a<|im_end|>", specialTokens: .asText)]) == 0)
    #expect(
      ends([
        TextSegment("a<|im_end|>", specialTokens: .asText),
        TextSegment("<|im_end|>", specialTokens: .recognise),
      ]) == 1)
    #expect(
      ends([
        TextSegment("a<|im", specialTokens: .asText),
        TextSegment("_end|>", specialTokens: .recognise),
      ]) == 0)
    #expect(
      ends([
        TextSegment("<|im_", specialTokens: .recognise),
        TextSegment("end|>", specialTokens: .asText),
        TextSegment("<|im_end|>", specialTokens: .recognise),
      ]) == 1)
  }

  @Test(arguments: smallTokenizers)
  func `Stretches that all recognise control tokens are one text`(name: String) throws {
    let tokenizer = try Tokenizer(path: Files.small(name))
    for (text, _) in try cases(name) {
      let middle = text.index(text.startIndex, offsetBy: text.count / 2)
      let halves = [text[..<middle], text[middle...]].map {
        TextSegment(String($0), specialTokens: .recognise)
      }
      #expect(tokenizer.encode(halves) == tokenizer.encode(text, addTemplate: false))
    }
  }

  @Test func `Bytes that are not UTF-8 are refused by their offset`() throws {
    let tokenizer = try Tokenizer(path: Files.small("gpt2"))
    let broken: [(bytes: [UInt8], offset: Int)] = [
      ([0x61, 0xFF], 1), ([0xC0, 0x80], 0), ([0xE2, 0x96], 0), ([0xED, 0xA0, 0x80], 0),
      ([0x61, 0x62, 0xF4, 0x90, 0x80, 0x80], 2), (Array(repeating: 0x61, count: 20) + [0x80], 20),
    ]
    for (bytes, offset) in broken {
      let error = #expect(throws: TokenizerError.self) {
        try tokenizer.encode(bytes: bytes, named: "prompt.txt")
      }
      #expect(error?.kind == .invalidText)
      #expect(
        error?.description
          == "prompt.txt: not UTF-8 at byte \(offset); convert the text to UTF-8")
    }
    let ids = try tokenizer.encode(bytes: Array("é".utf8))
    #expect(ids == tokenizer.encode("é"))
  }

  @Test func `Many threads may encode with one tokenizer at once`() async throws {
    let tokenizer = try Tokenizer(path: Files.small("sentencepiece-byte-fallback"))
    let texts = (1...8).map {
      String(decoding: SampleText.make(.unicode, count: 2000, seed: $0), as: UTF8.self)
    }
    let expected = texts.map { tokenizer.encode($0) }
    await withTaskGroup(of: (Int, [Int32]).self) { group in
      for round in 0..<32 { group.addTask { (round % 8, tokenizer.encode(texts[round % 8])) } }
      for await (index, ids) in group { #expect(ids == expected[index]) }
    }
  }
}
