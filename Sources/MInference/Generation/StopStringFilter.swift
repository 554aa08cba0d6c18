/// Ends a stream of text before the first stop string, wherever token boundaries fall.
///
/// Text that may be the beginning of a stop string is held back until it is certain.
package struct StopStringFilter: Sendable {
  private let stops: [[UInt8]]
  /// Text that came but was not let through yet.
  private var held: [UInt8] = []
  /// The stop string that was found; nothing is let through after it.
  package private(set) var found: String?

  /// Empty stop strings are ignored.
  package init(_ stops: [String]) {
    self.stops = stops.filter { !$0.isEmpty }.map { Array($0.utf8) }
  }

  /// Takes more text and returns what is now certain not to belong to a stop string.
  package mutating func push(_ text: String) -> String {
    guard found == nil else { return "" }
    guard !stops.isEmpty else { return text }
    held += text.utf8
    if let (offset, stop) = firstStop() {
      found = String(decoding: stop, as: UTF8.self)
      let certain = String(decoding: held[..<offset], as: UTF8.self)
      held = []
      return certain
    }
    let kept = longestBeginning()
    let certain = String(decoding: held.dropLast(kept), as: UTF8.self)
    held.removeFirst(held.count - kept)
    return certain
  }

  /// Returns what is still held back: at the end of the text it is no stop string.
  package mutating func finish() -> String {
    defer { held = [] }
    return String(decoding: held, as: UTF8.self)
  }

  /// The stop string that begins first; of several that begin there, the first given.
  private func firstStop() -> (offset: Int, stop: [UInt8])? {
    for offset in held.indices {
      if let stop = stops.first(where: { held[offset...].starts(with: $0) }) {
        return (offset, stop)
      }
    }
    return nil
  }

  /// The length of the longest end of the held text that begins a stop string. Stop strings begin
  /// with the first byte of a character, so the cut is between characters.
  private func longestBeginning() -> Int {
    let longest = min(held.count, (stops.map(\.count).max() ?? 1) - 1)
    return stride(from: longest, to: 0, by: -1).first { length in
      stops.contains { $0.starts(with: held.suffix(length)) }
    } ?? 0
  }
}
