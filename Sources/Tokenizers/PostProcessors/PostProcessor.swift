import JSON

/// The `post_processor` of tokenizer.json: the ids that go before and after a text.
struct PostProcessor: Sendable, Equatable {
  var prefix: [Int32] = []
  var suffix: [Int32] = []

  /// Adds nothing.
  init() {}

  /// Reads the stage; `null` adds nothing.
  init(_ node: JSONNode) throws(TokenizerError) {
    guard node.isPresent else { return }
    switch try node["type"].string() {
    case "ByteLevel": break  // only changes offsets, which are not kept
    case "TemplateProcessing": try readTemplate(node)
    case "Sequence":
      for element in try node["processors"].elements() {
        let stage = try PostProcessor(element)
        prefix = stage.prefix + prefix
        suffix += stage.suffix
      }
    case let kind:
      throw node.unsupported(
        "is a post-processor of kind \"\(kind)\"; known are TemplateProcessing, ByteLevel, Sequence"
      )
    }
  }

  private mutating func readTemplate(_ node: JSONNode) throws(TokenizerError) {
    var hasSeenText = false
    for element in try node["single"].elements() {
      if element["Sequence"].isPresent {
        if hasSeenText { throw element.unsupported("gives the text a second time") }
        hasSeenText = true
        continue
      }
      let name = try element["SpecialToken"]["id"].string()
      guard case .object(let members) = node["special_tokens"].value,
        members.contains(where: { haveSameBytes($0.key, name) })
      else { throw element.inconsistent("is not among the special_tokens of its stage") }
      let token = node["special_tokens"][name]
      for id in try token["ids"].elements() {
        let id = Int32(try id.index(limit: Vocabulary.largestIdentifier))
        if hasSeenText { suffix.append(id) } else { prefix.append(id) }
      }
    }
    if !hasSeenText { throw node["single"].inconsistent("has no place for the text") }
  }
}
