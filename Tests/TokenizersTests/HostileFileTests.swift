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
      #""type":"BPE""#, #""type":"Unigram""#,
      #"model is a tokenizer of kind "Unigram"; only BPE is known"#
    ),
    (
      #""normalizer":null"#, #""normalizer":{"type":"NFKC"}"#,
      #"normalizer is a normalizer of kind "NFKC""#
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
}
