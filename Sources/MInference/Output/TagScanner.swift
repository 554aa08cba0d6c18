/// Looks for one of several tags in a text that comes in pieces.
///
/// What may become a tag is held back until it is certain.
package struct TagScanner: Sendable {
  private var held = ""

  package init() {}

  /// What `push` found.
  package enum Found: Equatable {
    /// Text without a tag.
    case text(String)
    /// Text, then the tag; the rest has to be pushed again.
    case tag(before: String, String, rest: String)
  }

  /// Takes more text and looks for these tags, of which the first in the text counts.
  package mutating func push(_ text: String, tags: [String]) -> Found {
    let whole = held + text
    held = ""
    let bytes = Array(whole.utf8)
    var first: (offset: Int, tag: String)?
    for tag in tags {
      if let offset = Self.offset(of: Array(tag.utf8), in: bytes),
        offset < first?.offset ?? .max
      {
        first = (offset, tag)
      }
    }
    if let first {
      return .tag(
        before: String(decoding: bytes[..<first.offset], as: UTF8.self), first.tag,
        rest: String(
          decoding: bytes[(first.offset + first.tag.utf8.count)...], as: UTF8.self))
    }
    let kept = tags.map { Self.overlap(Array($0.utf8), with: bytes) }.max() ?? 0
    held = String(decoding: bytes.suffix(kept), as: UTF8.self)
    return .text(String(decoding: bytes.dropLast(kept), as: UTF8.self))
  }

  /// What is held back, at the end of the text.
  package mutating func finish() -> String {
    defer { held = "" }
    return held
  }

  private static func offset(of tag: [UInt8], in bytes: [UInt8]) -> Int? {
    guard bytes.count >= tag.count else { return nil }
    return (0...bytes.count - tag.count).first { bytes[$0...].starts(with: tag) }
  }

  /// The length of the longest end of `bytes` that begins the tag and is not all of it.
  private static func overlap(_ tag: [UInt8], with bytes: [UInt8]) -> Int {
    stride(from: min(tag.count - 1, bytes.count), to: 0, by: -1).first { length in
      tag.starts(with: bytes.suffix(length))
    } ?? 0
  }
}
