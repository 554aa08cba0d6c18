/// Replaces every occurrence of one byte string by another: the `Replace` of normalizers and decoders.
struct LiteralReplacement: Sendable {
  let pattern: [UInt8]
  let content: [UInt8]

  /// The longest pattern, in bytes, so that a text that imitates it takes little time.
  static let longestPattern = 256

  init(_ pattern: String, _ content: String) {
    self.pattern = Array(pattern.utf8)
    self.content = Array(content.utf8)
  }

  /// Reads `pattern` (`{"String": …}`; of regular expressions none) and `content`.
  init(_ node: JSONNode) throws(TokenizerError) {
    let pattern = node["pattern"]
    if pattern["Regex"].isPresent {
      throw pattern.unsupported("is a regular expression; only literals are known here")
    }
    self.pattern = try pattern["String"].text()
    self.content = try node["content"].text()
    if self.pattern.isEmpty { throw pattern.unsupported("is empty") }
    guard self.pattern.count <= Self.longestPattern else {
      throw pattern.unsupported(
        "has \(self.pattern.count) bytes, past the limit of \(Self.longestPattern)")
    }
  }

  /// Replaces from left to right, without looking at what was put in.
  func apply(to text: inout [UInt8]) {
    guard text.contains(pattern[0]) else { return }
    var output: [UInt8] = []
    output.reserveCapacity(text.count + text.count / 2)
    text.withUnsafeBufferPointer { text in
      var copied = 0
      var position = 0
      while position + pattern.count <= text.count {
        guard text[position] == pattern[0], matches(text, at: position) else {
          position += 1
          continue
        }
        output.append(contentsOf: text[copied..<position])
        output.append(contentsOf: content)
        position += pattern.count
        copied = position
      }
      output.append(contentsOf: text[copied...])
    }
    text = output
  }

  private func matches(_ text: UnsafeBufferPointer<UInt8>, at position: Int) -> Bool {
    for index in 1..<max(1, pattern.count) where text[position + index] != pattern[index] {
      return false
    }
    return true
  }
}
