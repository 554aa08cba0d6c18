import Testing
import Tokenizers

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Files that are broken, by accident or on purpose.
@Suite struct HostileFileTests {
  /// What loading the file says, or nil if it loads.
  private func problem(_ contents: [UInt8], in directory: URL) throws -> TokenizerError? {
    let path = directory.appending(path: "tokenizer.json")
    try Data(contents).write(to: path)
    do {
      let tokenizer = try Tokenizer(directory: directory.path)
      // Whatever was loaded must at least not crash.
      let ids = tokenizer.encode("the <|im_end|> 日本 12345 \u{2581}x")
      _ = tokenizer.decode(ids)
      return nil
    } catch {
      return error
    }
  }

  @Test(arguments: smallTokenizers)
  func `A damaged tokenizer.json gives an error or a tokenizer, never a crash`(name: String) throws
  {
    let original = try Files.bytes(Files.small(name))
    var generator = Generator(state: 11)
    var errors = 0
    try withTemporaryDirectory { directory in
      for _ in 0..<120 {
        var bytes = original
        for _ in 0...generator.pick(3) {
          let place = generator.pick(bytes.count)
          let end = min(bytes.count, place + 1 + generator.pick(40))
          switch generator.pick(7) {
          case 0: bytes[place] ^= UInt8(1 << generator.pick(8))
          case 1: bytes.removeSubrange(place...)
          case 2: bytes.removeSubrange(place..<end)
          case 3: bytes.insert(contentsOf: bytes[place..<end], at: place)
          case 4: bytes.insert(contentsOf: "99999999999".utf8, at: place)
          case 5: bytes[place] = Array("{}[]\",:\\0-.eu".utf8)[generator.pick(13)]
          default:
            bytes.insert(contentsOf: Array(repeating: UInt8(ascii: "["), count: 100_000), at: place)
          }
          if bytes.isEmpty { bytes = [0] }
        }
        if let error = try problem(bytes, in: directory) {
          errors += 1
          #expect(!error.description.contains("\n"))
          #expect(error.description.hasPrefix(directory.path))
        }
      }
    }
    #expect(errors > 30, "most damage should be noticed")
  }

  @Test func `Every truncation of a small file is an error`() throws {
    let text = """
      {"added_tokens":[],"normalizer":null,"pre_tokenizer":null,"post_processor":null,"decoder":null,
      "model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]}}
      """
    try withTemporaryDirectory { directory in
      for count in 0..<text.utf8.count {
        let error = try problem(Array(text.utf8.prefix(count)), in: directory)
        #expect(error != nil, "\(count) bytes")
      }
      let error = try problem(Array(text.utf8), in: directory)
      #expect(error == nil)
    }
  }

  /// Changes to that file, and what the error must then say after the file's name.
  @Test(arguments: [
    (
      #""type":"BPE""#, #""type":"WordLevel""#,
      #"model is a tokenizer of kind "WordLevel"; known are BPE and Unigram"#
    ),
    (
      #""normalizer":null"#, #""normalizer":{"type":"Nmt"}"#,
      #"normalizer is a normalizer of kind "Nmt""#
    ),
    (
      #""pre_tokenizer":null"#,
      #""pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"(?>x)"},"behavior":"Isolated","invert":false}]}"#,
      #"pattern.Regex is the expression "(?>x)", which has an atomic group, which is not supported"#
    ),
    (
      #""decoder":null"#, #""decoder":{"type":"WordPiece"}"#,
      #"decoder is a decoder of kind "WordPiece""#
    ),
    (
      #""post_processor":null"#, #""post_processor":{"type":"BertProcessing"}"#,
      #"post_processor is a post-processor of kind "BertProcessing""#
    ),
    (
      #""merges":[["a","b"]]"#, #""merges":[["a","c"]]"#,
      #"model.merges[0] names "c", which is not in model.vocab"#
    ),
    (#""merges":[["a","b"]]"#, #""merges":["a  b"]"#, "model.merges[0] is not two pieces"),
    (#","merges":[["a","b"]]"#, "", "model.merges is missing"),
    (#""ab":2"#, #""ab":1048576"#, "model.vocab has the id 1048576, past the limit of 1048574"),
    (#""ab":2"#, #""ab":-2"#, "expected a whole number of at least 0"),
    (#""ab":2"#, #""ab":2.5"#, "expected a whole number of at least 0"),
    (#""ab":2"#, #""\ud800":2"#, "half a surrogate pair"),
    (#""type":"BPE""#, #""unk_token":"?""#, "model.unk_token is not in the vocabulary"),
    (#""added_tokens":[]"#, #""added_tokens":[{"id":3}]"#, "added_tokens[0].content is missing"),
  ])
  func `An error names the stage and what is wrong with it`(
    part: String, replacement: String, message: String
  ) throws {
    let text = """
      {"added_tokens":[],"normalizer":null,"pre_tokenizer":null,"post_processor":null,"decoder":null,
      "model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]}}
      """
    try withTemporaryDirectory { directory in
      let changed = text.replacing(part, with: replacement)
      #expect(changed != text)
      let error = try #require(try problem(Array(changed.utf8), in: directory))
      #expect(error.file == directory.path + "/tokenizer.json")
      #expect(error.problem.contains(message), "\(error)")
    }
  }

  @Test func `A directory that is missing or empty is told apart`() throws {
    try withTemporaryDirectory { directory in
      let empty = #expect(throws: TokenizerError.self) { try Tokenizer(directory: directory.path) }
      #expect(empty?.problem == "there is no tokenizer.json or tokenizer.model in this directory")
      let path = directory.path + "/none"
      let missing = #expect(throws: TokenizerError.self) { try Tokenizer(directory: path) }
      #expect(missing?.description == "\(path): there is no such directory")
    }
  }

  private static let base = """
    {"added_tokens":[],"normalizer":null,"pre_tokenizer":null,"post_processor":null,"decoder":null,
    "model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]}}
    """

  /// Stages that multiply the length of a text: the part of the file, its value and what the error says.
  @Test(arguments: [
    (
      "normalizer", #"{"type":"Replace","pattern":{"String":"h"},"content":"hhhhhhhhhh"}"#,
      "can make a text"
    ),
    (
      "pre_tokenizer", #"{"type":"Metaspace","replacement":"\u2581\u2581\u2581"}"#,
      "can make a text"
    ),
    (
      "decoder", #"{"type":"Replace","pattern":{"String":"h"},"content":"hhhhhhhhhh"}"#,
      "decoder can make a text"
    ),
  ])
  func `Stages that make a text longer and longer are refused when they are read`(
    part: String, stage: String, message: String
  ) throws {
    let list = ["normalizer": "normalizers", "pre_tokenizer": "pretokenizers"][part] ?? "decoders"
    try withTemporaryDirectory { directory in
      func load(_ count: Int) throws -> TokenizerError? {
        let stages = Array(repeating: stage, count: count).joined(separator: ",")
        return try problem(
          Array(
            Self.base.replacing(
              "\"\(part)\":null",
              with: "\"\(part)\":{\"type\":\"Sequence\",\"\(list)\":[\(stages)]}"
            ).utf8), in: directory)
      }
      let one = try load(1)
      #expect(one == nil)
      let error = try #require(try load(12))
      #expect(error.kind == .unsupported && error.problem.contains(message), "\(error)")
    }
  }

  @Test func `A long prefix is refused, since every stretch would get it`() throws {
    try withTemporaryDirectory { directory in
      let prefix = String(repeating: "x", count: 1_000_000)
      let text = Self.base.replacing(
        "\"normalizer\":null", with: #"{"type":"Prepend","prepend":""# + prefix + "\"}"
      )
      .replacing("[],{", with: "[],\"normalizer\":{")
      let error = try #require(try problem(Array(text.utf8), in: directory))
      #expect(error.problem.contains("1000001 times as long"), "\(error)")
    }
  }

  @Test func `A message stays short however long the text is that it is about`() throws {
    try withTemporaryDirectory { directory in
      let name = String(repeating: "x", count: 1_000_000)
      let text = Self.base.replacing("\"BPE\"", with: "\"\(name)\"")
      let error = try #require(try problem(Array(text.utf8), in: directory))
      #expect(error.problem.count < 500)
    }
  }

  /// Each token with its settings, and a text that imitates it.
  @Test(arguments: [
    (String(repeating: "a", count: 100_000) + "b", "", String(repeating: "a", count: 300_000)),
    (" ", #","lstrip":true"#, String(repeating: " ", count: 300_000)),
    (" ", #","rstrip":true"#, String(repeating: " ", count: 300_000)),
  ])
  func `A text that imitates an added token takes linear time`(
    token: String, settings: String, text: String
  ) throws {
    let file = Self.base.replacing(
      "\"added_tokens\":[]",
      with: #""added_tokens":[{"id":3,"normalized":false,"content":""# + token + "\"" + settings
        + "}]")
    try withTemporaryDirectory { directory in
      try Data(file.utf8).write(to: directory.appending(path: "tokenizer.json"))
      let tokenizer = try Tokenizer(directory: directory.path)
      let time = ContinuousClock().measure {
        #expect(tokenizer.encode(text).count == 300_000)
      }
      #expect(time < .seconds(60), "\(time)")
      #expect(tokenizer.encode(text.replacing("aa", with: "") + token).last == 3)
    }
  }

  @Test func `The search from the end finds what the search from the start finds`() throws {
    var generator = Generator(state: 3)
    for _ in 0..<200 {
      let tokens = (0..<1 + generator.pick(6)).map { _ in
        (0..<1 + generator.pick(5)).map { _ in UInt8(0x61 + generator.pick(2)) }
      }
      let text = (0..<generator.pick(60)).map { _ in UInt8(0x61 + generator.pick(3)) }
      let expected = text.indices.map { place in
        tokens.filter { text[place...].starts(with: $0) }.map(\.count).max() ?? 0
      }
      #expect(AddedTokenLengths.longest(of: tokens, in: text) == expected)
    }
  }

  @Test func `What is not a file is refused before it is read`() throws {
    try withTemporaryDirectory { directory in
      try FileManager.default.createSymbolicLink(
        atPath: directory.appending(path: "tokenizer.json").path, withDestinationPath: "/dev/zero")
      let error = #expect(throws: TokenizerError.self) { try Tokenizer(directory: directory.path) }
      #expect(error?.kind == .unreadable)
      #expect(error?.problem == "is not a file")
    }
  }

  @Test func `A rank of three megabytes is refused, since its cuts would take for ever`() throws {
    try withTemporaryDirectory { directory in
      let piece = Data(repeating: 0x61, count: 3_000_000).base64EncodedString()
      let bytes = (0..<256).map { Data([UInt8($0)]).base64EncodedString() + " \($0)" }
      try Data((bytes + ["\(piece) 256"]).joined(separator: "\n").utf8)
        .write(to: directory.appending(path: "tokenizer.model"))
      let error = #expect(throws: TokenizerError.self) { try Tokenizer(directory: directory.path) }
      #expect(error?.problem.contains("too long to merge") == true)
    }
  }
}
