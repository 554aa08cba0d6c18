/// One of the `added_tokens` of tokenizer.json: a text that is an id of its own wherever it stands.
struct AddedToken: Sendable {
  var id: UInt32
  let content: [UInt8]
  /// Recognised only where no word character touches it.
  let singleWord: Bool
  /// Includes the white space before it.
  let stripsLeft: Bool
  /// Includes the white space after it.
  let stripsRight: Bool
  /// Looked for in the normalized text, in its normalized form, instead of in the text as given.
  var normalized: Bool
  /// A control token: left out of decoded text on request, and plain text under `.asText`.
  var special: Bool

  /// A control token with default settings.
  init(control text: String, id: UInt32) {
    self.id = id
    content = Array(text.utf8)
    (singleWord, stripsLeft, stripsRight, normalized) = (false, false, false, false)
    special = true
  }

  /// A token with default settings.
  init(text: [UInt8], id: UInt32, special: Bool, normalized: Bool) {
    self.id = id
    content = text
    (singleWord, stripsLeft, stripsRight) = (false, false, false)
    self.normalized = normalized
    self.special = special
  }

  /// A control token that the configuration names by an object.
  init(control node: JSONNode) throws(TokenizerError) {
    content = try node["content"].text()
    singleWord = try node["single_word"].bool(default: false)
    stripsLeft = try node["lstrip"].bool(default: false)
    stripsRight = try node["rstrip"].bool(default: false)
    normalized = try node["normalized"].bool(default: false)
    (id, special) = (0, true)
  }

  init(_ node: JSONNode) throws(TokenizerError) {
    try self.init(node, id: try node["id"].index(limit: Vocabulary.largestIdentifier))
  }

  /// - Parameter id: Of an entry of `added_tokens_decoder`, whose key it is.
  init(_ node: JSONNode, id: Int) throws(TokenizerError) {
    self.id = UInt32(id)
    content = try node["content"].text()
    singleWord = try node["single_word"].bool(default: false)
    stripsLeft = try node["lstrip"].bool(default: false)
    stripsRight = try node["rstrip"].bool(default: false)
    special = try node["special"].bool(default: false)
    normalized = try node["normalized"].bool(default: !special)
  }
}
