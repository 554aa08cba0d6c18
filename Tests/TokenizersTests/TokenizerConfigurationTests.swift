import Testing
import Tokenizers

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

@Suite struct TokenizerConfigurationTests {
  /// A directory with the small tokenizer of the name and the given configuration.
  private func withTokenizer(
    _ name: String, configuration: String, template: String? = nil, _ body: (URL) throws -> Void
  ) throws {
    try withTemporaryDirectory { directory in
      try Data(Files.bytes(Files.small(name))).write(
        to: directory.appending(path: "tokenizer.json"))
      try Data(configuration.utf8).write(to: directory.appending(path: "tokenizer_config.json"))
      if let template {
        try Data(template.utf8).write(to: directory.appending(path: "chat_template.jinja"))
      }
      try body(directory)
    }
  }

  @Test func `Names of tokens are strings or objects`() throws {
    let json =
      #"{"bos_token":{"content":"<s>","lstrip":false},"eos_token":"</s>","pad_token":null}"#
    try withTokenizer("words-nfc", configuration: json) { directory in
      let tokenizer = try Tokenizer(directory: directory.path)
      #expect(tokenizer.configuration.beginningOfTextToken == "<s>")
      #expect(tokenizer.configuration.endOfTextToken == "</s>")
      #expect(tokenizer.configuration.paddingToken == nil)
      #expect(tokenizer.beginningOfTextID == tokenizer.id(ofToken: "<s>"))
      #expect(tokenizer.endOfTextID == tokenizer.id(ofToken: "</s>"))
    }
  }

  @Test func `add_bos_token counts where tokenizer.json itself adds nothing`() throws {
    let json = #"{"bos_token":"<s>","add_bos_token":true,"eos_token":"</s>","add_eos_token":false}"#
    try withTokenizer("words-nfc", configuration: json) { directory in
      let tokenizer = try Tokenizer(directory: directory.path)
      let begin = try #require(tokenizer.beginningOfTextID)
      #expect(tokenizer.encode("") == [begin])
      #expect(tokenizer.encode("", addTemplate: false) == [])
    }
    try withTokenizer("words-three-digits", configuration: json) { directory in
      let tokenizer = try Tokenizer(directory: directory.path)
      #expect(tokenizer.encode("") == [tokenizer.beginningOfTextID, tokenizer.endOfTextID])
    }
    let without = #"{"bos_token":"<s>","add_bos_token":false}"#
    try withTokenizer("words-nfc", configuration: without) { directory in
      let tokenizer = try Tokenizer(directory: directory.path)
      #expect(tokenizer.encode("") == [])
    }
  }

  @Test func `add_bos_token without a known token is an error`() throws {
    let json = #"{"bos_token":"<none>","add_bos_token":true}"#
    try withTokenizer("words-nfc", configuration: json) { directory in
      let error = #expect(throws: TokenizerError.self) { try Tokenizer(directory: directory.path) }
      #expect(error?.kind == .inconsistent)
    }
  }

  @Test func `The chat template is a string, a list of named ones, or a file of its own`() throws {
    let listed =
      #"{"chat_template":[{"name":"tools","template":"T"},{"name":"default","template":"D"}]}"#
    try withTokenizer("gpt2", configuration: listed) { directory in
      let configuration = try TokenizerConfiguration(directory: directory.path)
      #expect(configuration.chatTemplate == "D")
      #expect(configuration.namedChatTemplates == ["tools": "T", "default": "D"])
    }
    try withTokenizer("gpt2", configuration: #"{"chat_template":"S"}"#) { directory in
      let configuration = try TokenizerConfiguration(directory: directory.path)
      #expect(configuration.chatTemplate == "S")
    }
    try withTokenizer("gpt2", configuration: #"{"chat_template":"S"}"#, template: "F") {
      directory in
      let configuration = try TokenizerConfiguration(directory: directory.path)
      #expect(configuration.chatTemplate == "F")
      #expect(configuration.chatTemplateFile?.hasSuffix("/chat_template.jinja") == true)
    }
    try withTokenizer("gpt2", configuration: #"{"chat_template":7}"#) { directory in
      #expect(throws: TokenizerError.self) { try Tokenizer(directory: directory.path) }
    }
  }

  @Test func `Further templates have the names of their files`() throws {
    try withTokenizer("gpt2", configuration: #"{"chat_template":"S"}"#, template: "F") {
      directory in
      let folder = directory.appending(path: "additional_chat_templates")
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      try Data("T".utf8).write(to: folder.appending(path: "tool_use.jinja"))
      try Data("N".utf8).write(to: folder.appending(path: "notes.txt"))
      let configuration = try TokenizerConfiguration(directory: directory.path)
      #expect(configuration.chatTemplate == "F")
      #expect(configuration.namedChatTemplates == ["default": "F", "tool_use": "T"])
      #expect(
        configuration.namedChatTemplateFiles["tool_use"]?
          .hasSuffix("/additional_chat_templates/tool_use.jinja") == true)
    }
  }

  @Test func `A directory without a configuration says nothing`() throws {
    try withTemporaryDirectory { directory in
      let configuration = try TokenizerConfiguration(directory: directory.path)
      #expect(configuration.chatTemplate == nil)
      #expect(configuration.endOfTextToken == nil)
    }
  }

  private static let base = """
    {"added_tokens":[{"id":3,"content":"<s>","special":true}],
    "model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]}}
    """

  private func tokenizer(_ files: [String: String]) throws -> Tokenizer {
    var tokenizer: Tokenizer?
    try withTemporaryDirectory { directory in
      for (name, text) in files.merging(["tokenizer.json": Self.base], uniquingKeysWith: { $1 }) {
        try Data(text.utf8).write(to: directory.appending(path: name))
      }
      tokenizer = try Tokenizer(directory: directory.path)
    }
    return try #require(tokenizer)
  }

  @Test func `Tokens that only tokenizer_config.json declares are tokens`() throws {
    let tokenizer = try tokenizer([
      "tokenizer_config.json": #"""
      {"added_tokens_decoder":{"4":{"content":"<|turn|>","special":true,"rstrip":true},
      "3":{"content":"<s>","special":true},"5":{"content":"ba"},"0":{"content":"a"}},
      "eos_token":"<end>","pad_token":{"content":"<pad>","lstrip":true},
      "additional_special_tokens":["<more>"]}
      """#
    ])
    #expect(tokenizer.encode("ab<|turn|>  ba<s>a") == [0, 1, 4, 5, 3, 0])
    // Those that are only named follow, in transformers' order.
    #expect(tokenizer.encode("b <pad><end><more>") == [1, 7, 6, 8])
    #expect(tokenizer.specialTokenIDs == [3, 4, 6, 7, 8])
    #expect(tokenizer.endOfTextID == 6)
    #expect(tokenizer.decode([2, 4, 5], skipSpecialTokens: false) == "ab <|turn|> ba")
    #expect(tokenizer.vocabularySize == 9)
  }

  @Test func `Declared settings replace those of tokenizer.json, and ids follow its own`() throws {
    let tokenizer = try tokenizer([
      "tokenizer_config.json": #"""
      {"added_tokens_decoder":{"3":{"content":"<s>","special":true,"lstrip":true,"rstrip":true},
      "90":{"content":"<|turn|>","special":true},"70":{"content":"<|tool|>","rstrip":true},
      "71":{"content":"<|tool|>"}}}
      """#
    ])
    #expect(tokenizer.encode("a <s> b") == [0, 3, 1])
    #expect(tokenizer.encode("<|turn|>a<|tool|>b") == [5, 0, 4, 1])
    #expect(tokenizer.specialTokenIDs == [3, 5])
  }

  @Test func `Fields of any name that end in _token name control tokens`() throws {
    let tokenizer = try tokenizer([
      "tokenizer_config.json": #"""
      {"image_token":"<image>","boi_token":{"__type":"AddedToken","content":"<boi>","lstrip":true},
      "add_bos_token":false,"a_token":7,"pad_token":"<pad>",
      "additional_special_tokens":["<more>"],"extra_special_tokens":{"y_token":"<y>"}}
      """#
    ])
    #expect(tokenizer.encode("<pad><image> <boi><y><more>") == [4, 5, 6, 7, 8])
    let named = try self.tokenizer([
      "tokenizer_config.json": #"{"model_specific_special_tokens":{"x_token":"<x>"}}"#
    ])
    #expect(named.encode("a<x>") == [0, 4])
  }

  @Test func `special_tokens_map.json goes first, and makes no token where tokens are declared`()
    throws
  {
    let map = #"{"eos_token":{"content":"<map>","rstrip":true},"pad_token":"<pad>"}"#
    let first = try tokenizer([
      "special_tokens_map.json": map, "tokenizer_config.json": #"{"eos_token":"<end>"}"#,
    ])
    #expect(first.encode("<map> a<pad>") == [4, 0, 5] && first.endOfTextID == 4)
    #expect(first.id(ofToken: "<end>") == nil)
    let declared = try tokenizer([
      "special_tokens_map.json": map,
      "tokenizer_config.json": #"{"eos_token":"<end>","added_tokens_decoder":{}}"#,
    ])
    #expect(declared.id(ofToken: "<map>") == nil && declared.id(ofToken: "<pad>") == nil)
    #expect(declared.id(ofToken: "<end>") == 4 && declared.endOfTextID == 4)
  }

  @Test func `Tokens that only added_tokens.json declares are tokens`() throws {
    let added = #"{"<|turn|>": 4, "<end>": 5}"#
    let tokenizer = try tokenizer([
      "added_tokens.json": added, "special_tokens_map.json": #"{"eos_token":"<end>"}"#,
    ])
    #expect(tokenizer.encode("ab<|turn|>a<end>") == [2, 4, 0, 5])
    #expect(tokenizer.specialTokenIDs == [3, 5])
    // Where tokenizer_config.json declares tokens, it alone counts.
    let both = try self.tokenizer([
      "added_tokens.json": added,
      "tokenizer_config.json": #"{"added_tokens_decoder":{"4":{"content":"<x>"}}}"#,
    ])
    #expect(both.id(ofToken: "<|turn|>") == nil && both.id(ofToken: "<x>") == 4)
  }
}
