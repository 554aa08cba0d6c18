/// How far a text has come in a grammar: all ways in which it may go on.
///
/// Each way is a stack of positions in the grammar, the next one last; an empty stack says that the text
/// is complete.
package struct GrammarState: Hashable, Sendable {
  private let grammar: GrammarReference
  private var stacks: [[Int32]]

  /// Ways that are followed at once.
  package static let mostStacks = 1024
  /// Rules within one another.
  package static let mostDepth = 512

  /// States of one grammar share it.
  private final class GrammarReference: Hashable, Sendable {
    let value: Grammar

    init(_ value: Grammar) { self.value = value }

    static func == (left: GrammarReference, right: GrammarReference) -> Bool { left === right }

    func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
  }

  /// Before the first byte.
  package init(_ grammar: Grammar) throws(GrammarError) {
    self.grammar = GrammarReference(grammar)
    stacks = []
    var expansion = Expansion(grammar: grammar)
    for start in grammar.alternatives[grammar.start] {
      try expansion.add(expansion.pushing(start, on: []))
    }
    stacks = expansion.found
  }

  /// Whether the text may end here.
  package var isComplete: Bool { stacks.contains(where: \.isEmpty) }

  /// Whether nothing may follow.
  package var isFinal: Bool { stacks.allSatisfy(\.isEmpty) }

  /// The bytes that may come next.
  package var nextBytes: ByteSet {
    var set = ByteSet()
    for stack in stacks {
      if let top = stack.last, case .bytes(let bytes) = grammar.value.elements[Int(top)] {
        set.formUnion(bytes)
      }
    }
    return set
  }

  /// The fewest bytes that complete the text.
  package var bytesToCompletion: Int {
    let grammar = grammar.value
    return stacks.map { stack in
      stack.reduce(0) { min(Grammar.unbounded, $0 + grammar.shortest[Int($1)]) }
    }.min() ?? Grammar.unbounded
  }

  /// The state behind a byte; nil where it cannot come.
  package func after(_ byte: UInt8) throws(GrammarError) -> GrammarState? {
    let grammar = grammar.value
    var expansion = Expansion(grammar: grammar)
    for stack in stacks {
      guard let top = stack.last, case .bytes(let bytes) = grammar.elements[Int(top)],
        bytes.contains(byte)
      else { continue }
      try expansion.add(expansion.pushing(Int(top) + 1, on: Array(stack.dropLast())))
    }
    guard !expansion.found.isEmpty else { return nil }
    var next = self
    next.stacks = expansion.found
    return next
  }

  /// The state behind some bytes; nil where they cannot come.
  package func after(_ bytes: some Sequence<UInt8>) throws(GrammarError) -> GrammarState? {
    var state = self
    for byte in bytes {
      guard let next = try state.after(byte) else { return nil }
      state = next
    }
    return state
  }

  /// Opens rules until each stack ends with bytes.
  private struct Expansion {
    let grammar: Grammar
    var found: [[Int32]] = []
    private var seen: Set<[Int32]> = []

    init(grammar: Grammar) { self.grammar = grammar }

    /// The position on the stack, unless its alternative ends there.
    func pushing(_ position: Int, on stack: [Int32]) -> [Int32] {
      if case .end = grammar.elements[position] { return stack }
      return stack + [Int32(position)]
    }

    mutating func add(_ stack: [Int32]) throws(GrammarError) {
      var work = [stack]
      while let stack = work.popLast() {
        guard seen.insert(stack).inserted else { continue }
        guard seen.count <= GrammarState.mostStacks * 4, stack.count <= GrammarState.mostDepth
        else { throw .ambiguous }
        guard let top = stack.last, case .rule(let rule) = grammar.elements[Int(top)] else {
          found.append(stack)
          guard found.count <= GrammarState.mostStacks else { throw .ambiguous }
          continue
        }
        let rest = pushing(Int(top) + 1, on: Array(stack.dropLast()))
        for start in grammar.alternatives[rule].reversed() {
          work.append(pushing(start, on: rest))
        }
      }
    }
  }
}
