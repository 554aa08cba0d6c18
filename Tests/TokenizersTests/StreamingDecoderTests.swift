import Testing
import Tokenizers

@Suite struct StreamingDecoderTests {
  @Test(arguments: smallTokenizers)
  func `Text that is streamed is the text that is decoded at once`(name: String) throws {
    let tokenizer = try Tokenizer(path: Files.small(name))
    for seed in 1...40 as ClosedRange<UInt64> {
      let text = String(decoding: SampleText.make(.unicode, count: 200, seed: seed), as: UTF8.self)
      let ids = tokenizer.encode(text)
      for skips in [true, false] {
        var decoder = tokenizer.makeStreamingDecoder(skipSpecialTokens: skips)
        let streamed = ids.map { decoder.push($0) }.joined() + decoder.finish()
        #expect(same(streamed, tokenizer.decode(ids, skipSpecialTokens: skips)))
      }
    }
  }

  @Test(arguments: ["gpt2", "sentencepiece-byte-fallback"])
  func `Half a character is never shown`(name: String) throws {
    let tokenizer = try Tokenizer(path: Files.small(name))
    let text = "a🦙b日本é"
    var decoder = tokenizer.makeStreamingDecoder()
    var shown = ""
    for id in tokenizer.encode(text, addTemplate: false) {
      let part = decoder.push(id)
      #expect(!part.unicodeScalars.contains("\u{FFFD}"))
      shown += part
    }
    #expect(shown.hasSuffix("é"), "a whole character is not held back either")
    #expect(decoder.finish() == "")
  }

  @Test func `What stays incomplete is shown at the end as a replacement character`() throws {
    let tokenizer = try Tokenizer(path: Files.small("gpt2"))
    var decoder = tokenizer.makeStreamingDecoder()
    let ids = tokenizer.encode("a🦙", addTemplate: false)
    let shown = ids.dropLast().map { decoder.push($0) }.joined()
    #expect(shown == " a")
    #expect(decoder.finish() == "\u{FFFD}")
  }
}
