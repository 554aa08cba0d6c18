/// One of the `added_tokens` of tokenizer.json: a text that is an id of its own wherever it stands.
struct AddedToken: Sendable {
  var id: UInt32
  let content: [UInt8]
  /// Recognised only where no word character touches it.
  let singleWord: Bool
  /// Takes the white space before it along.
  let stripsLeft: Bool
  /// Takes the white space after it along.
  let stripsRight: Bool
  /// Looked for in the normalized text, in its normalized form, instead of in the text as given.
  let normalized: Bool
  /// A control token: left out of decoded text on request, and plain text under `.asText`.
  var special: Bool

  init(_ node: JSONNode) throws(TokenizerError) {
    id = UInt32(try node["id"].index(limit: Vocabulary.largestIdentifier))
    content = try node["content"].text()
    singleWord = try node["single_word"].bool(default: false)
    stripsLeft = try node["lstrip"].bool(default: false)
    stripsRight = try node["rstrip"].bool(default: false)
    special = try node["special"].bool(default: false)
    normalized = try node["normalized"].bool(default: !special)
  }
}
