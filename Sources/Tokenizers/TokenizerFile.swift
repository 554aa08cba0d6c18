import JSON

/// The stages of one `tokenizer.json`, read and checked.
struct TokenizerFile {
  let path: String
  let normalizer: Normalizer?
  let preTokenizer: PreTokenizer?
  let model: TokenModel
  let postProcessor: PostProcessor
  let decoder: Decoder
  let addedTokens: [AddedToken]
  /// How many ids there are at least, whether they have a text or not.
  let leastVocabularySize: Int
  /// Whether it is a tokenizer.json, which says everything, and not made of another format.
  let isSerialized: Bool

  init(
    path: String, normalizer: Normalizer?, preTokenizer: PreTokenizer?, model: TokenModel,
    postProcessor: PostProcessor, decoder: Decoder, addedTokens: [AddedToken],
    leastVocabularySize: Int = 0
  ) {
    self.leastVocabularySize = leastVocabularySize
    isSerialized = false
    self.path = path
    self.normalizer = normalizer
    self.preTokenizer = preTokenizer
    self.model = model
    self.postProcessor = postProcessor
    self.decoder = decoder
    self.addedTokens = addedTokens
  }

  init(path: String) throws(TokenizerError) {
    let bytes = try FileContents.utf8(of: path)
    self = try bytes.withUnsafeBufferPointer { bytes throws(TokenizerError) in
      try TokenizerFile(bytes, path: path)
    }
  }

  /// - Parameter bytes: the whole file, well-formed UTF-8.
  init(_ bytes: UnsafeBufferPointer<UInt8>, path: String) throws(TokenizerError) {
    self.path = path
    leastVocabularySize = 0
    isSerialized = true
    var scanner = FileScanner(bytes, file: path)
    var sections: [JSONValue.Member] = []
    var modelStart: Int?
    var key: [UInt8] = []
    var isFirst = true
    try scanner.expect(UInt8(ascii: "{"))
    while try scanner.next(until: UInt8(ascii: "}"), &isFirst) {
      try scanner.readKey(into: &key)
      if key.elementsEqual("model".utf8) {
        modelStart = try scanner.skipValue().lowerBound
      } else {
        let name = String(decoding: key, as: UTF8.self)
        sections.append(.init(key: name, value: try scanner.readValue()))
      }
    }
    try scanner.expectEnd()

    let file = JSONNode(value: .object(sections), path: "", file: path)
    for limit in ["truncation", "padding"] where file[limit].isPresent {
      // Hugging Face's files carry these from training; a text is never cut or filled here.
      _ = try file[limit].members()
    }
    guard let modelStart else { throw file["model"].malformed("") }
    normalizer = try Normalizer(file["normalizer"])
    preTokenizer = try PreTokenizer(file["pre_tokenizer"])
    try Growth.check(normalizer, preTokenizer, file)
    postProcessor = try PostProcessor(file["post_processor"])
    decoder = try Decoder(file["decoder"])
    try Growth.check(decoder, file)
    var addedTokens: [AddedToken] = []
    if file["added_tokens"].isPresent {
      for element in try file["added_tokens"].elements() {
        addedTokens.append(try AddedToken(element))
      }
    }
    self.addedTokens = addedTokens
    scanner = FileScanner(bytes, file: path, position: modelStart)
    var reader = ModelReader(scanner, isByteLevel: preTokenizer?.isByteLevel ?? false)
    model = try reader.read()
  }
}
