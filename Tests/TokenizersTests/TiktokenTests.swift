import Testing
import Tokenizers

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// `tokenizer.model` in tiktoken's form, against Python's `tiktoken`; see
/// `Goldens/make-tiktoken-goldens.py`.
@Suite struct TiktokenTests {
  private struct Goldens: Decodable {
    struct Case: Decodable {
      let text: String
      let ids: [Int32]

      init(from decoder: any Decoder) throws {
        var container = try decoder.unkeyedContainer()
        text = try container.decode(String.self)
        ids = try container.decode([Int32].self)
      }
    }

    struct Hash: Decodable {
      let count: Int
      let hash: String

      init(from decoder: any Decoder) throws {
        var container = try decoder.unkeyedContainer()
        count = try container.decode(Int.self)
        hash = try container.decode(String.self)
      }
    }

    let cases: [Case]
    let hashes: [String: Hash]
  }

  private static let directory = Files.goldens.appending(path: "tiktoken").path

  @Test func `Texts become the ids of tiktoken, and come back`() throws {
    let goldens = try Files.golden("tiktoken-cases.json", as: Goldens.self)
    let tokenizer = try Tokenizer(directory: Self.directory)
    for golden in goldens.cases {
      let ids = tokenizer.encode(golden.text)
      #expect(ids == golden.ids, "\(golden.text.debugDescription)")
      #expect(same(tokenizer.decode(ids, skipSpecialTokens: false), golden.text))
    }
    for (kind, golden) in goldens.hashes {
      let sample = SampleText.make(
        try #require(SampleText.Kind(rawValue: kind)), count: 20_000)
      let ids = try tokenizer.encode(bytes: sample)
      #expect(ids.count == golden.count && hash(ids) == golden.hash, "\(kind)")
    }
  }

  @Test func `Control tokens come from the configuration beside the ranks`() throws {
    let tokenizer = try Tokenizer(directory: Self.directory)
    let end = try #require(tokenizer.id(ofToken: "<|endoftext|>"))
    #expect(tokenizer.endOfTextID == end)
    #expect(tokenizer.specialTokenIDs == [end, end + 1, end + 2])
    #expect(tokenizer.vocabularySize == Int(end) + 3)
  }

  @Test(.enabled(if: Files.shared != nil, "needs the shared data"))
  func `Llama 3's ranks give what its tokenizer.json gives`() throws {
    let shared = try Files.shared("vectors/llama3")
    try withTemporaryDirectory { directory in
      try FileManager.default.copyItem(
        atPath: shared + "/tokenizer.model",
        toPath: directory.appending(path: "tokenizer.model").path)
      let ranks = try Tokenizer(directory: directory.path)
      let json = try Tokenizer(path: shared + "/tokenizer.json")
      for kind in SampleText.Kind.allCases {
        let sample = SampleText.make(kind, count: 300_000)
        // The published tokenizer.json of these vectors adds no beginning of text; the ranks do.
        #expect(
          try ranks.encode(bytes: sample) == [128000] + json.encode(bytes: sample), "\(kind)")
      }
      let turn = "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
      #expect(ranks.encode(turn) == [128000, 128006, 882, 128007, 271, 6151, 128009])
      #expect(ranks.vocabularySize == 128_256)
    }
  }

  /// Ranks of the right number, the pieces beyond single bytes made up.
  @Test func `GLM-4's ranks get its control tokens and its prefix`() throws {
    try withTemporaryDirectory { directory in
      let lines = (0..<151_329).map { rank in
        let bytes =
          rank < 256
          ? [UInt8(rank)]
          : [0xFF, UInt8(rank >> 16 & 0xFF), UInt8(rank >> 8 & 0xFF), UInt8(rank & 0xFF)]
        return Data(bytes).base64EncodedString() + " \(rank)"
      }
      try Data((lines.joined(separator: "\n") + "\n").utf8)
        .write(to: directory.appending(path: "tokenizer.model"))
      let tokenizer = try Tokenizer(directory: directory.path)
      #expect(tokenizer.encode("hi<|user|>") == [151331, 151333, 104, 105, 151336])
      #expect(tokenizer.encode("hi", addTemplate: false) == [104, 105])
      #expect(tokenizer.vocabularySize == 151_343)
    }
  }

  static let refused: [(contents: String, kind: TokenizerError.Kind, problem: String)] = [
    ("", .malformed, "empty"),
    ("YQ== 0\nYg==\n", .malformed, "line 2"),
    ("YQ== 0\n\nY*== 1\n", .malformed, "line 3"),
    ("YQ== x\n", .malformed, "line 1"),
    ("YQ= 0\n", .malformed, "line 1"),
    (" 0\n", .malformed, "line 1"),
    ("YQ== 99999999\n", .malformed, "line 1"),
    ("YQ== 0\n", .inconsistent, "byte 0"),
    ("\n\u{0E}\n\u{05}<unk>", .malformed, "neither a SentencePiece model nor"),
  ]

  @Test(arguments: refused.indices)
  func `A file that is no list of ranks is refused with its line`(index: Int) throws {
    let example = Self.refused[index]
    try withTemporaryDirectory { directory in
      let path = directory.appending(path: "tokenizer.model")
      try Data(example.contents.utf8).write(to: path)
      let error = #expect(throws: TokenizerError.self) {
        try Tokenizer(directory: directory.path)
      }
      #expect(error?.kind == example.kind && error?.file == path.path)
      #expect(error?.problem.contains(example.problem) == true)
    }
  }

  @Test func `Names of tokens come from special_tokens_map.json where no token is declared`() throws
  {
    try withTemporaryDirectory { directory in
      func write(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: directory.appending(path: name))
      }
      try write(
        "tokenizer.json",
        """
        {"added_tokens":[{"id":1,"content":"<b>","special":false},
        {"id":2,"content":"<x>","special":false},{"id":3,"content":"<y>","special":false}],
        "model":{"type":"BPE","vocab":{"a":0},"merges":[]}}
        """)
      try write("tokenizer_config.json", #"{"eos_token": "<b>"}"#)
      try write(
        "special_tokens_map.json",
        #"{"eos_token": "a", "bos_token": {"content": "a"}, "additional_special_tokens": ["<x>"]}"#)
      let tokenizer = try Tokenizer(directory: directory.path)
      #expect(tokenizer.configuration.endOfTextToken == "a")
      #expect(tokenizer.configuration.beginningOfTextToken == "a")
      #expect(tokenizer.specialTokenIDs == [0, 2])
    }
  }
}
