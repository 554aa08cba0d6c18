/// A context-free grammar over bytes.
///
/// Rules have alternatives, alternatives are sequences of byte sets and of rules. A grammar is bounded
/// in its size, has no left recursion, and every rule of it derives some text: so that a text can be
/// followed byte by byte in bounded time, and completed from everywhere.
package struct Grammar: Sendable {
  /// A part of an alternative.
  package enum Element: Hashable, Sendable {
    case bytes(ByteSet)
    case rule(Int)
    /// Behind the last part.
    case end
  }

  /// All alternatives, one behind the other.
  let elements: [Element]
  /// Where the alternatives of each rule begin.
  let alternatives: [[Int]]
  /// The fewest bytes from a position of `elements` to the end of its alternative.
  let shortest: [Int]
  /// The rule with which a text begins.
  let start: Int

  /// Rules of a grammar at most.
  package static let mostRules = 20_000
  /// Parts of all alternatives at most.
  package static let mostElements = 500_000
  /// Stands for more bytes than anybody counts.
  static let unbounded = 1 << 40

  /// - Throws: ``GrammarError``.
  package init(rules: [[[Element]]], start: Int) throws(GrammarError) {
    guard rules.count <= Self.mostRules else {
      throw .tooLarge("has more than \(Self.mostRules) rules")
    }
    var elements: [Element] = []
    var alternatives: [[Int]] = []
    for rule in rules {
      var starts: [Int] = []
      for alternative in rule {
        starts.append(elements.count)
        elements += alternative
        elements.append(.end)
      }
      guard elements.count <= Self.mostElements else {
        throw .tooLarge("has more than \(Self.mostElements) parts")
      }
      alternatives.append(starts)
    }
    self.elements = elements
    self.alternatives = alternatives
    self.start = start
    shortest = try Self.shortest(elements, alternatives, start: start)
    try requireNoLeftRecursion()
  }

  /// The fewest bytes from each position, by repeated relaxation.
  private static func shortest(
    _ elements: [Element], _ alternatives: [[Int]], start: Int
  ) throws(GrammarError) -> [Int] {
    var rules = Array(repeating: unbounded, count: alternatives.count)
    func length(from position: Int) -> Int {
      var length = 0
      var position = position
      while true {
        switch elements[position] {
        case .end: return length
        case .bytes: length += 1
        case .rule(let rule): length += rules[rule]
        }
        if length >= unbounded { return unbounded }
        position += 1
      }
    }
    // What others refer to comes before them, mostly: few passes do.
    for pass in 0... {
      var hasChanged = false
      for rule in alternatives.indices {
        let length = alternatives[rule].map { length(from: $0) }.min() ?? unbounded
        if length < rules[rule] {
          rules[rule] = length
          hasChanged = true
        }
      }
      if !hasChanged { break }
      guard pass < 256 else { throw .tooLarge("refers to itself in too many ways") }
    }
    guard rules[start] < unbounded else { throw .unsatisfiable }
    return elements.indices.map { length(from: $0) }
  }

  /// A rule that begins with itself would never take a byte.
  private func requireNoLeftRecursion() throws(GrammarError) {
    /// 0 not seen, 1 on the way, 2 done.
    var marks = Array(repeating: UInt8(0), count: alternatives.count)
    for first in alternatives.indices where marks[first] == 0 {
      // Rules on the way, and those that each of them may begin with and that are not yet looked at.
      var path: [(rule: Int, next: [Int])] = [(first, leaders(of: first))]
      marks[first] = 1
      while let last = path.indices.last {
        guard let rule = path[last].next.popLast() else {
          marks[path[last].rule] = 2
          path.removeLast()
          continue
        }
        if marks[rule] == 1 { throw .leftRecursion }
        guard marks[rule] == 0 else { continue }
        marks[rule] = 1
        path.append((rule, leaders(of: rule)))
      }
    }
  }

  /// Rules with which a rule may begin.
  private func leaders(of rule: Int) -> [Int] {
    var found: Set<Int> = []
    for start in alternatives[rule] {
      var position = start
      while case .rule(let next) = elements[position] {
        found.insert(next)
        // What may be empty lets the next part begin.
        guard alternatives[next].contains(where: { shortest[$0] == 0 }) else { break }
        position += 1
      }
    }
    return Array(found)
  }
}

/// Why there is no grammar.
package enum GrammarError: Error, Equatable, Sendable, CustomStringConvertible {
  /// Something that the reader of schemas does not know, at a place in the schema.
  case unsupported(path: String, problem: String)
  case malformed(path: String, problem: String)
  case tooLarge(String)
  /// Nothing satisfies it.
  case unsatisfiable
  case leftRecursion
  /// More ways to read a text than are followed.
  case ambiguous

  package var description: String {
    switch self {
    case .unsupported(let path, let problem):
      "the schema at \(path) \(problem), which is not supported; leave it out"
    case .malformed(let path, let problem): "the schema at \(path) \(problem)"
    case .tooLarge(let problem): "the schema \(problem); make it smaller"
    case .unsatisfiable: "no JSON value satisfies the schema"
    case .leftRecursion: "the schema refers to itself without anything in between"
    case .ambiguous: "the schema can be read in too many ways; make its alternatives more distinct"
    }
  }
}
