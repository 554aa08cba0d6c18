import Testing
import Tokenizers

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Vocabularies in memory, as GGUF files hold them, made of the tokenizers of the same models.
@Suite struct GGUFVocabularyTests {
  /// `model.merges` in either spelling.
  private enum Merge: Decodable {
    case text(String)

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if let pair = try? container.decode([String].self) {
        self = .text(pair.joined(separator: " "))
      } else {
        self = .text(try container.decode(String.self))
      }
    }

    var bytes: [UInt8] {
      switch self {
      case .text(let text): Array(text.utf8)
      }
    }
  }

  private struct File: Decodable {
    struct Model: Decodable { let merges: [Merge] }
    let model: Model
  }

  /// The arrays that a converter would write for a tokenizer.json.
  private func vocabulary(_ path: String, kind: GGUFVocabulary.Kind) throws -> GGUFVocabulary {
    let tokenizer = try Tokenizer(path: path)
    let merges = try JSONDecoder().decode(File.self, from: Data(Files.bytes(path))).model.merges
      .map(\.bytes)
    let specials = Set(tokenizer.specialTokenIDs)
    var tokens: [[UInt8]] = []
    var types: [Int32] = []
    for id in 0..<Int32(tokenizer.vocabularySize) {
      let text = tokenizer.token(ofID: id)
      tokens.append(Array((text ?? "[PAD\(id)]").utf8))
      let isByte = kind == .scoredPieces && text?.hasPrefix("<0x") == true
      types.append(text == nil ? 5 : isByte ? 6 : specials.contains(id) ? 3 : 1)
    }
    var vocabulary = GGUFVocabulary(kind: kind, tokens: tokens)
    vocabulary.types = types
    if kind == .bytePairs {
      vocabulary.merges = merges
    } else {
      // A piece's score is the better the earlier it is merged.
      var ids: [[UInt8]: Int] = [:]
      for (id, token) in tokens.enumerated() { ids[token] = id }
      vocabulary.scores = tokens.map { _ in -1e9 }
      for (rank, merge) in merges.enumerated().reversed() {
        let merged = merge.filter { $0 != 0x20 }
        if let id = ids[merged] { vocabulary.scores[id] = -Float(rank) }
      }
    }
    return vocabulary
  }

  @Test(
    .enabled(if: Files.shared != nil, "needs the shared data"),
    arguments: [("llama3", "llama-bpe"), ("qwen2", "qwen2"), ("phi3", nil)] as [(String, String?)])
  func `The 47 strings of each family get the listed ids`(
    family: String, preTokenizer: String?
  ) throws {
    let directory = try Files.shared("vectors/\(family)")
    var vocabulary = try vocabulary(
      directory + "/tokenizer.json", kind: preTokenizer == nil ? .scoredPieces : .bytePairs)
    vocabulary.preTokenizer = preTokenizer
    let tokenizer = try Tokenizer(vocabulary, file: "model.gguf")
    let json = try Tokenizer(path: directory + "/tokenizer.json")
    let text = String(decoding: try Files.bytes(directory + "/strings.txt"), as: UTF8.self)
    let separator = Array("\n__ggml_vocab_test__\n".unicodeScalars)
    let strings = text.unicodeScalars.split(separator: separator, omittingEmptySubsequences: false)
    let lines = String(decoding: try Files.bytes(directory + "/ids.txt"), as: UTF8.self)
      .split(separator: "\n", omittingEmptySubsequences: false)
    #expect(strings.count == 47)
    for (string, line) in zip(strings, lines) {
      let ids = line.split(separator: " ").compactMap { Int32($0) }
      let string = String(String.UnicodeScalarView(string))
      #expect(tokenizer.encode(string, addTemplate: false) == ids, "\(string.debugDescription)")
      #expect(same(tokenizer.decode(ids), json.decode(ids)), "\(string.debugDescription)")
    }
    // The unicode sample has control tokens, of which Phi-3's `</s>` is an ordinary added token in its file.
    let kinds: [SampleText.Kind] = [.prose, .code, .chinese]
    for kind in preTokenizer == nil ? kinds : kinds + [.unicode] {
      let sample = SampleText.make(kind, count: 30_000)
      // A GGUF file does not say which control tokens take white space along.
      let ids = try tokenizer.encode(bytes: sample, specialTokens: .asText, addTemplate: false)
      let golden = try json.encode(bytes: sample, specialTokens: .asText, addTemplate: false)
      #expect(ids == golden, "\(kind)")
    }
  }

  /// All bytes in GPT-2's alphabet, and a few words.
  private func small() throws -> GGUFVocabulary {
    let gpt2 = try vocabulary(Files.small("words-three-digits"), kind: .bytePairs)
    var vocabulary = gpt2
    vocabulary.preTokenizer = "llama-bpe"
    return vocabulary
  }

  @Test func `Beginnings and ends follow the flags, else the pre-tokenizer`() throws {
    var vocabulary = try small()
    let json = try Tokenizer(path: Files.small("words-three-digits"))
    let begin = try #require(json.id(ofToken: "<s>"))
    let end = try #require(json.id(ofToken: "</s>"))
    vocabulary.beginningOfTextID = Int(begin)
    vocabulary.endOfTextID = Int(end)
    func ids() throws -> [Int32] { try Tokenizer(vocabulary, file: "m").encode("") }
    #expect(try ids() == [begin])
    vocabulary.addsBeginningOfText = false
    vocabulary.addsEndOfText = true
    #expect(try ids() == [end])
    vocabulary.addsBeginningOfText = nil
    vocabulary.addsEndOfText = nil
    vocabulary.preTokenizer = "qwen2"
    #expect(try ids() == [])
    #expect(try Tokenizer(vocabulary, file: "m").endOfTextID == end)
    vocabulary.addsBeginningOfText = true
    vocabulary.beginningOfTextID = nil
    let error = #expect(throws: TokenizerError.self) { try Tokenizer(vocabulary, file: "m") }
    #expect(error?.description == "m: has add_bos_token but no bos_token_id")
  }

  @Test(arguments: [
    "llama-bpe", "qwen2", "qwen35", "smollm", "gpt-2", "gpt-4o", "o200k", "deepseek-llm",
    "deepseek-coder",
    "deepseek-v3", "tekken", "chatglm-bpe", "glm4", "phi-2", "falcon", "default",
  ])
  func `Every known pre-tokenizer leaves no text out`(name: String) throws {
    var vocabulary = try small()
    vocabulary.preTokenizer = name
    let tokenizer = try Tokenizer(vocabulary, file: "m")
    let text = "Hello, it's 12345 tests:\n\n  日本語 naïve\u{2028}x… <|im_end|>\t"
    let ids = tokenizer.encode(text, addTemplate: false)
    #expect(same(tokenizer.decode(ids, skipSpecialTokens: false), text))
  }

  @Test func `An unknown pre-tokenizer is named, with those that are known`() throws {
    var vocabulary = try small()
    vocabulary.preTokenizer = "nonsense"
    let error = #expect(throws: TokenizerError.self) { try Tokenizer(vocabulary, file: "m.gguf") }
    #expect(error?.kind == .unsupported)
    #expect(error?.problem.contains("pre-tokenizer \"nonsense\"") == true)
    #expect(error?.problem.contains("llama-bpe") == true)
    #expect(error?.problem.contains("tekken") == true)
  }

  @Test func `Pieces of equal score merge from the left`() throws {
    let texts = ["<unk>", "a", "aa", "aaa", "b", "ab", "ba"]
    var vocabulary = GGUFVocabulary(kind: .scoredPieces, tokens: texts.map { Array($0.utf8) })
    vocabulary.types = [2, 1, 1, 1, 1, 1, 1]
    vocabulary.scores = [0, -9, -1, -1, -9, -2, -2]
    vocabulary.addsSpacePrefix = false
    let tokenizer = try Tokenizer(vocabulary, file: "m")
    #expect(tokenizer.encode("aaaaa") == [3, 2])
    #expect(tokenizer.encode("aba") == [5, 1])
    #expect(tokenizer.encode("bab") == [6, 4])
    #expect(tokenizer.encode("xxa") == [0, 1])
  }

  @Test func `Arrays that contradict one another are refused`() throws {
    func problem(_ change: (inout GGUFVocabulary) -> Void) throws -> String? {
      var vocabulary = try small()
      change(&vocabulary)
      let error = #expect(throws: TokenizerError.self) { try Tokenizer(vocabulary, file: "m") }
      return error?.problem
    }
    #expect(try problem { $0.types.removeLast() }?.contains("token types") == true)
    #expect(try problem { $0.types[0] = 7 }?.contains("token type 7") == true)
    #expect(try problem { $0.merges.append([0x61]) }?.contains("not two pieces") == true)
    #expect(
      try problem { $0.merges.append(Array("qq zz".utf8)) }?.contains("not among") == true)
    #expect(try problem { $0.tokens[3] = [0xFF] }?.contains("not UTF-8") == true)
    #expect(try problem { $0.endOfTextID = 1 << 30 }?.contains("eos_token_id") == true)
    #expect(try problem { $0.kind = .scoredPieces }?.contains("0 scores") == true)
    #expect(try problem { $0.tokens = [] }?.contains("0 tokens") == true)
  }
}
