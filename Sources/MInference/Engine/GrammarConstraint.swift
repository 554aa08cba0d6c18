package import Grammars
package import Tokenizers

/// The bytes that each id of a vocabulary adds to a text.
package final class TokenSpelling: Sendable {
  /// Empty for control tokens, and for ids that add nothing.
  package let bytes: [[UInt8]]

  /// Reads the whole vocabulary: of 150,000 ids in some tenths of a second.
  ///
  /// - Parameter count: Ids that logits have.
  package init(_ tokenizer: Tokenizer, count: Int) {
    // Some decoders treat the first id of a text in another way.
    let before = tokenizer.encode("a", addTemplate: false)
    let prefix = tokenizer.decodeBytes(before, skipSpecialTokens: true)
    bytes = (0..<Int32(count)).map { id in
      if tokenizer.isSpecial(id) { return [] }
      let whole = tokenizer.decodeBytes(before + [id], skipSpecialTokens: true)
      return whole.starts(with: prefix) ? Array(whole.dropFirst(prefix.count)) : []
    }
  }
}

/// Holds an answer to a grammar: ids whose bytes cannot come next are excluded, the end of the answer
/// until it is complete.
///
/// Ids are tried from the likeliest on; once one is found, ids beyond the ``mostCandidates`` likeliest are
/// excluded untried. Near the last token that the answer may have, only ids are left from which the text
/// can still be completed, a byte a token: what comes out is complete whatever its limit, if the
/// grammar's shortest text fits it.
package struct GrammarConstraint: AnswerConstraint {
  private var state: GrammarState
  private let spelling: TokenSpelling

  /// Ids that are tried for one token, beyond the first that fits.
  static let mostCandidates = 2048

  package init(_ grammar: Grammar, spelling: TokenSpelling) throws {
    state = try GrammarState(grammar)
    self.spelling = spelling
  }

  package var isComplete: Bool { state.isComplete }

  /// The fewest bytes that complete the answer.
  package var bytesToCompletion: Int { state.bytesToCompletion }

  package mutating func restrict(
    _ logits: inout [Float], stopIDs: Set<Int32>, remaining: Int
  ) throws {
    let next = state.nextBytes
    let isFinal = state.isFinal
    let isComplete = state.isComplete
    var candidates: [Int32] = []
    for id in logits.indices where logits[id] > -.infinity {
      if stopIDs.contains(Int32(id)) {
        if isComplete { candidates.append(Int32(id)) }
      } else if !isFinal, id < spelling.bytes.count, let first = spelling.bytes[id].first,
        next.contains(first)
      {
        candidates.append(Int32(id))
      }
    }
    var heap = CandidateHeap(candidates, logits: logits)
    var allowed: [Int32] = []
    var tried = 0
    while let id = heap.popLargest(logits) {
      if try fits(id, stopIDs: stopIDs, remaining: remaining) { allowed.append(id) }
      tried += 1
      if !allowed.isEmpty, tried >= Self.mostCandidates { break }
    }
    guard !allowed.isEmpty else { throw GrammarError.unsatisfiable }
    let values = allowed.map { logits[Int($0)] }
    for id in logits.indices { logits[id] = -.infinity }
    for (id, value) in zip(allowed, values) { logits[Int(id)] = value }
  }

  private func fits(_ id: Int32, stopIDs: Set<Int32>, remaining: Int) throws -> Bool {
    if stopIDs.contains(id) { return true }
    guard let after = try state.after(spelling.bytes[Int(id)]) else { return false }
    return after.bytesToCompletion <= remaining - 1
      // Where even the shortest text does not fit, it may as well begin.
      || state.bytesToCompletion > remaining
  }

  package mutating func accept(_ id: Int32) throws {
    guard spelling.bytes.indices.contains(Int(id)),
      let after = try state.after(spelling.bytes[Int(id)])
    else { return }
    state = after
  }
}

/// Ids by their logits: the largest first, of equals the lower id.
private struct CandidateHeap {
  private var ids: [Int32]

  init(_ ids: [Int32], logits: [Float]) {
    self.ids = ids
    for index in stride(from: ids.count / 2 - 1, through: 0, by: -1) { sink(index, logits) }
  }

  mutating func popLargest(_ logits: [Float]) -> Int32? {
    guard let largest = ids.first else { return nil }
    let last = ids.removeLast()
    if !ids.isEmpty {
      ids[0] = last
      sink(0, logits)
    }
    return largest
  }

  private func precedes(_ left: Int32, _ right: Int32, _ logits: [Float]) -> Bool {
    let (a, b) = (logits[Int(left)], logits[Int(right)])
    return a > b || (a == b && left < right)
  }

  private mutating func sink(_ start: Int, _ logits: [Float]) {
    var index = start
    while true {
      var largest = index
      for child in [2 * index + 1, 2 * index + 2] where child < ids.count {
        if precedes(ids[child], ids[largest], logits) { largest = child }
      }
      if largest == index { return }
      ids.swapAt(index, largest)
      index = largest
    }
  }
}
