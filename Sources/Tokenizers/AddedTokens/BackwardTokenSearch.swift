/// The longest token that begins at each place of a text, found in one pass from its end.
///
/// Read backwards, a token that begins at a place ends there; the automaton of Aho and Corasick over the reversed
/// tokens finds all of them in time linear in the text.
/// Source: Aho and Corasick, "Efficient string matching: an aid to bibliographic search" (CACM 1975).
struct BackwardTokenSearch {
  /// By place from `start` on: the token's index, or -1.
  struct Result {
    fileprivate let start: Int
    fileprivate let tokens: [Int32]

    func token(at position: Int) -> Int? {
      let index = tokens[position - start]
      return index < 0 ? nil : Int(index)
    }
  }

  /// By node << 8 | byte.
  private var edges: [UInt64: UInt32] = [:]
  /// By node: the node of its longest proper suffix.
  private var suffixes: [UInt32] = [0]
  /// By node: the longest token that is a suffix of it, or -1.
  private var longest: [Int32] = [-1]

  /// Of equal texts the last counts.
  init(_ texts: [[UInt8]]) {
    var edgesByDepth: [[(node: UInt32, parent: UInt32, byte: UInt8)]] = []
    for (index, text) in texts.enumerated() where !text.isEmpty {
      var node: UInt32 = 0
      for (depth, byte) in text.reversed().enumerated() {
        let edge = UInt64(node) << 8 | UInt64(byte)
        if let next = edges[edge] {
          node = next
        } else {
          let next = UInt32(longest.count)
          longest.append(-1)
          suffixes.append(0)
          edges[edge] = next
          if depth == edgesByDepth.count { edgesByDepth.append([]) }
          edgesByDepth[depth].append((next, node, byte))
          node = next
        }
      }
      longest[Int(node)] = Int32(index)
    }
    for level in edgesByDepth {
      for (node, parent, byte) in level {
        if parent != 0 { suffixes[Int(node)] = next(from: suffixes[Int(parent)], byte) }
        if longest[Int(node)] < 0 { longest[Int(node)] = longest[Int(suffixes[Int(node)])] }
      }
    }
  }

  private func next(from node: UInt32, _ byte: UInt8) -> UInt32 {
    var node = node
    while true {
      if let next = edges[UInt64(node) << 8 | UInt64(byte)] { return next }
      if node == 0 { return 0 }
      node = suffixes[Int(node)]
    }
  }

  /// The longest tokens at the places from `start` on.
  func longestTokens(in text: UnsafeBufferPointer<UInt8>, from start: Int) -> Result {
    var tokens = [Int32](repeating: -1, count: text.count - start)
    var node: UInt32 = 0
    for position in stride(from: text.count - 1, through: start, by: -1) {
      node = next(from: node, text[position])
      tokens[position - start] = longest[Int(node)]
    }
    return Result(start: start, tokens: tokens)
  }
}

/// What the search finds, for its test.
package enum AddedTokenLengths {
  /// By place: the length of the longest of the texts that begins there, or 0.
  package static func longest(of texts: [[UInt8]], in text: [UInt8]) -> [Int] {
    text.withUnsafeBufferPointer { text in
      let result = BackwardTokenSearch(texts).longestTokens(in: text, from: 0)
      return text.indices.map { result.token(at: $0).map { texts[$0].count } ?? 0 }
    }
  }
}
