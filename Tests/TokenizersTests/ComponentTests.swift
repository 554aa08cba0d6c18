import Testing
import Tokenizers

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Single components of tokenizer.json, against Python's `tokenizers`; see
/// `Goldens/make-component-goldens.py`.
@Suite struct ComponentTests {
  private struct Goldens: Decodable {
    struct Case: Decodable {
      let name: String
      let settings: String
      let ids: [[Int32]]

      init(from decoder: any Decoder) throws {
        var container = try decoder.unkeyedContainer()
        name = try container.decode(String.self)
        settings = try container.decode(String.self)
        ids = try container.decode([[Int32]].self)
      }
    }

    struct Whole: Decodable {
      let file: String
      let ids: [[Int32]]

      init(from decoder: any Decoder) throws {
        var container = try decoder.unkeyedContainer()
        file = try container.decode(String.self)
        ids = try container.decode([[Int32]].self)
      }
    }

    let texts: [String]
    let model: String
    let cases: [Case]
    let unigram: [Whole]
  }

  private func check(_ file: String, _ name: String, _ texts: [String], _ ids: [[Int32]]) throws {
    try withTemporaryDirectory { directory in
      let path = directory.appending(path: "tokenizer.json")
      try Data(file.utf8).write(to: path)
      let tokenizer = try Tokenizer(path: path.path)
      #expect(texts.count == ids.count)
      for (text, golden) in zip(texts, ids) {
        #expect(tokenizer.encode(text) == golden, "\(name) \(text.debugDescription)")
      }
    }
  }

  @Test func `Normalizers and pre-tokenizers make of a text what Python's make of it`() throws {
    let goldens = try Files.golden("component-cases.json", as: Goldens.self)
    #expect(goldens.cases.count > 30)
    for golden in goldens.cases {
      let file = golden.settings.dropLast() + ",\"model\":" + goldens.model + "}"
      try check(String(file), golden.name, goldens.texts, golden.ids)
    }
  }

  @Test func `Unigram models cut a text as Python's do`() throws {
    let goldens = try Files.golden("component-cases.json", as: Goldens.self)
    #expect(goldens.unigram.count == 2)
    for golden in goldens.unigram {
      try check(golden.file, "Unigram", goldens.texts, golden.ids)
    }
  }
}
