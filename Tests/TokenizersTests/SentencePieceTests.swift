import Testing
import Tokenizers

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// `tokenizer.model` of SentencePiece, against Python's `sentencepiece`; see
/// `Goldens/make-sentencepiece-goldens.py`.
@Suite struct SentencePieceTests {
  private struct Goldens: Decodable {
    struct Case: Decodable {
      let ids: [Int32]
      let text: String

      init(from decoder: any Decoder) throws {
        var container = try decoder.unkeyedContainer()
        ids = try container.decode([Int32].self)
        text = try container.decode(String.self)
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

    let texts: [String]
    let models: [String: [Case]]
    let hashes: [String: [String: Hash]]
  }

  private func tokenizer(_ name: String) throws -> Tokenizer {
    try Tokenizer(directory: Files.goldens.appending(path: "sentencepiece/\(name)").path)
  }

  @Test(arguments: ["bpe", "bpe-symbols", "unigram", "unigram-bytes"])
  func `Texts become the ids of sentencepiece, and come back`(name: String) throws {
    let goldens = try Files.golden("sentencepiece-cases.json", as: Goldens.self)
    let tokenizer = try tokenizer(name)
    for (text, golden) in zip(goldens.texts, try #require(goldens.models[name])) {
      let ids = tokenizer.encode(text)
      #expect(ids == golden.ids, "\(text.debugDescription)")
      // sentencepiece writes unknown pieces as " ⁇ ".
      if !golden.ids.contains(0) {
        #expect(
          same(tokenizer.decode(golden.ids, skipSpecialTokens: false), golden.text),
          "\(text.debugDescription)")
      }
    }
    for (kind, golden) in try #require(goldens.hashes[name]) {
      let sample = SampleText.make(try #require(SampleText.Kind(rawValue: kind)), count: 20_000)
      // sentencepiece has no control tokens in a text.
      let ids = try tokenizer.encode(bytes: sample, specialTokens: .asText)
      #expect(ids.count == golden.count && hash(ids) == golden.hash, "\(kind)")
    }
  }

  @Test func `Control tokens count in a text, and the configuration adds them around it`() throws {
    let source = Files.goldens.appending(path: "sentencepiece/bpe/tokenizer.model")
    try withTemporaryDirectory { directory in
      try FileManager.default.copyItem(
        at: source, to: directory.appending(path: "tokenizer.model"))
      let configuration = #"{"bos_token":"<s>","eos_token":"</s>","add_bos_token":true}"#
      try Data(configuration.utf8).write(to: directory.appending(path: "tokenizer_config.json"))
      let tokenizer = try Tokenizer(directory: directory.path)
      let plain = try self.tokenizer("bpe").encode("hi")
      #expect(tokenizer.encode("hi") == [1] + plain)
      #expect(tokenizer.encode("hi</s>hi", addTemplate: false) == plain + [2] + plain)
      #expect(tokenizer.endOfTextID == 2)
    }
  }

  @Test func `A damaged model gives an error or a tokenizer, never a crash`() throws {
    var errors = 0
    for name in ["bpe", "unigram"] {
      let original = try Files.bytes(
        Files.goldens.appending(path: "sentencepiece/\(name)/tokenizer.model").path)
      var generator = Generator(state: 9)
      try withTemporaryDirectory { directory in
        let path = directory.appending(path: "tokenizer.model")
        for _ in 0..<150 {
          var bytes = original
          for _ in 0...generator.pick(3) {
            let place = generator.pick(bytes.count)
            switch generator.pick(4) {
            case 0: bytes[place] ^= UInt8(1 << generator.pick(8))
            case 1: bytes.removeSubrange(place...)
            case 2: bytes[place] = 0xFF
            default: bytes.insert(contentsOf: bytes[place...].prefix(20), at: place)
            }
            if bytes.isEmpty { bytes = [0x0A] }
          }
          try Data(bytes).write(to: path)
          do {
            let tokenizer = try Tokenizer(directory: directory.path)
            _ = tokenizer.decode(tokenizer.encode("the  \u{FB01} 日本 \u{3000}x<s>"))
          } catch {
            errors += 1
            #expect("\(error)".count < 600 && !"\(error)".contains("\n"))
          }
        }
      }
    }
    #expect(errors > 20, "most damage should be noticed")
  }
}
