/// Which of several prompts is read next.
///
/// Three turns of four go to the prompt with the fewest tokens left, so that a short one does not
/// wait for a long one; the fourth to the one that came first, so that none waits for ever.
package struct ReadingOrder {
  private var turn = 0

  package init() {}

  /// - Parameter remaining: Tokens that are left to read, of the prompts in the order in which they came.
  /// - Returns: The index of the next; nil if there is none.
  package mutating func next(remaining: [Int]) -> Int? {
    guard !remaining.isEmpty else { return nil }
    turn = (turn + 1) % 4
    if turn == 0 { return 0 }
    return remaining.indices.min { remaining[$0] < remaining[$1] }
  }
}
