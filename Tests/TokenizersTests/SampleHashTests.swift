import Testing
import Tokenizers

/// Against hashes of what Python's `tokenizers` makes of long sample texts and of random ids.
@Suite struct SampleHashTests {
  private struct Golden: Decodable {
    let count: Int
    let hash: String

    init(from decoder: any Decoder) throws {
      var container = try decoder.unkeyedContainer()
      count = try container.decode(Int.self)
      hash = try container.decode(String.self)
    }
  }

  private func check(_ name: String, _ tokenizer: Tokenizer, _ size: (SampleText.Kind) -> Int)
    throws
  {
    let all = try Files.golden("hashes.json", as: [String: [String: Golden]].self)
    let goldens = try #require(all[name])
    for kind in SampleText.Kind.allCases {
      let golden = try #require(goldens[kind.rawValue])
      let ids = try tokenizer.encode(bytes: SampleText.make(kind, count: size(kind)))
      #expect(ids.count == golden.count, "\(kind)")
      #expect(hash(ids) == golden.hash, "\(kind)")
    }

    for (key, skips) in [("decoded", true), ("decoded with special tokens", false)] {
      let golden = try #require(goldens[key])
      #expect(tokenizer.vocabularySize == golden.count)
      var text: [UInt8] = []
      for seed in 0..<1000 as Range<UInt64> {
        var generator = Generator(state: seed)
        let ids = (0..<12).map { _ in Int32(generator.pick(golden.count)) }
        if seed > 0 { text.append(0) }
        text += tokenizer.decode(ids, skipSpecialTokens: skips).utf8
      }
      #expect(hash(text.lazy.map { UInt64($0) }) == golden.hash, "\(key)")
    }
  }

  @Test(arguments: smallTokenizers)
  func `Small tokenizers make of every kind of text what Python makes of it`(name: String) throws {
    try check(name, Tokenizer(path: Files.small(name))) { _ in 20_000 }
  }

  @Test(.enabled(if: Files.shared != nil, "needs the shared data"), arguments: sharedTokenizers)
  func `Real tokenizers make of a megabyte what Python makes of it`(name: String) throws {
    let path = try Files.shared(name) + "/tokenizer.json"
    try check(name, Tokenizer(path: path)) { kind in
      [.prose, .code, .json, .chinese].contains(kind) ? 1_000_000 : 200_000
    }
  }

  @Test(
    .enabled(if: Files.shared != nil, "needs the shared data"),
    arguments: ["llama3", "qwen2", "phi3"])
  func `The 47 strings of each family get the listed ids`(family: String) throws {
    let directory = try Files.shared("vectors/\(family)")
    let tokenizer = try Tokenizer(path: directory + "/tokenizer.json")
    let text = String(decoding: try Files.bytes(directory + "/strings.txt"), as: UTF8.self)
    let separator = Array("\n__ggml_vocab_test__\n".unicodeScalars)
    let strings = text.unicodeScalars.split(separator: separator, omittingEmptySubsequences: false)
    let lines = String(decoding: try Files.bytes(directory + "/ids.txt"), as: UTF8.self)
      .split(separator: "\n", omittingEmptySubsequences: false)
    #expect(strings.count == 47)
    #expect(lines.count >= 47)
    for (string, line) in zip(strings, lines) {
      let ids = line.split(separator: " ").compactMap { Int32($0) }
      #expect(
        tokenizer.encode(String(String.UnicodeScalarView(string)), addTemplate: false) == ids,
        "\(String(string).debugDescription)")
    }
  }
}
