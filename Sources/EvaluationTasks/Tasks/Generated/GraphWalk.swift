/// GraphWalks: one operation on a directed graph that is given as a list of edges.
///
/// The published form: nodes are ten hexadecimal digits; a breadth-first search gives the nodes *at* a
/// depth, without the start; parents are the predecessors without the node itself; three worked
/// examples; the answer is a list behind "Final Answer:", scored by the F1 of its set of nodes.
/// Source: the description of OpenAI's data set `graphwalks`.
enum GraphWalk {
  /// An edge of the graph.
  struct Edge: Hashable {
    var from: String
    var to: String

    var line: String { "\(from) -> \(to)" }
  }

  /// The nodes at `depth` from a start: one or two levels, of one to three branches each.
  static func search(depth: Int, _ words: WordList, length: Int) -> DocumentDraft {
    var words = words
    let pool = nodes(length: length, &words)
    var unused = pool[...]
    let start = unused.removeFirst()
    var planted: [Edge] = []
    // Nodes whose outgoing edges the answer depends on: no other edge begins there.
    var closed: Set<String> = [start]
    var level = [start]
    for number in 1...depth {
      var next: [String] = []
      for node in level {
        for _ in 0..<(number == 1 ? 2 : 1) + words.number(below: 2) {
          next.append(unused.removeFirst())
          planted.append(Edge(from: node, to: next[next.count - 1]))
        }
      }
      if number < depth { closed.formUnion(next) }
      level = next
    }
    // An edge back to a level that was there before adds nothing to the answer.
    if depth > 1 { planted.append(Edge(from: planted[0].to, to: planted[1].to)) }
    let answer = level
    return draft(
      planted: planted, isAllowed: { !closed.contains($0.from) }, pool: pool, words,
      length: length,
      question: "Operation: breadth-first search from \(start) to depth \(depth)", answer: answer)
  }

  /// The two to five predecessors of a node.
  static func parents(_ words: WordList, length: Int) -> DocumentDraft {
    var words = words
    let pool = nodes(length: length, &words)
    let node = pool[0]
    let answer = Array(pool[1..<3 + words.number(below: 4)])
    return draft(
      planted: answer.map { Edge(from: $0, to: node) }, isAllowed: { $0.to != node }, pool: pool,
      words, length: length, question: "Operation: parents of \(node)", answer: answer)
  }

  private static func nodes(length: Int, _ words: inout WordList) -> [String] {
    words.distinct(max(24, length / 40)) { words in
      String((0..<10).map { _ in hexadecimal[words.number(below: 16)] })
    }
  }

  private static let hexadecimal = Array("0123456789abcdef")

  /// The planted edges, at random places among edges of the pool that the answer does not depend on.
  private static func draft(
    planted: [Edge], isAllowed: (Edge) -> Bool, pool: [String], _ words: WordList, length: Int,
    question: String, answer: [String]
  ) -> DocumentDraft {
    var words = words
    var known = Set(planted)
    var others: [String] = []
    while others.count < length / 12 + 1 {
      let edge = Edge(
        from: pool[words.number(below: pool.count)], to: pool[words.number(below: pool.count)])
      if edge.from != edge.to, isAllowed(edge), known.insert(edge).inserted {
        others.append(edge.line)
      }
    }
    let lines = others
    let facts = words.shuffled(planted.map(\.line))
    let places = words
    return DocumentDraft(
      maximumSize: lines.count, tokensPerUnit: 20, opening: opening,
      context: { size in
        var places = places
        return "Edges:\n"
          + RulerDraft.mixed(facts, into: Array(lines[..<size]), &places).joined(separator: "\n")
      },
      question: "\(question)", answerPrefix: " Final Answer: [", references: { _ in answer },
      scoring: .setF1, answerTokens: 128)
  }

  private static let opening = """
    A directed graph is given as a list of edges, one on each line: "a -> b" is an edge from a to b. \
    Read all edges; one operation on the graph follows them.

    breadth-first search from a node to depth d: the nodes whose shortest path from that node has \
    exactly d edges. Nearer nodes and the node itself are not among them.
    parents of a node: the nodes that have an edge to that node. The node itself is not among them.

    The answer is one line: Final Answer: [node, node]

    Three examples, all on these edges:
    0f4e2ab917 -> 77c01d5be2
    77c01d5be2 -> 9b3d8860fa
    0f4e2ab917 -> d215ce4039
    9b3d8860fa -> 0f4e2ab917
    Operation: breadth-first search from 0f4e2ab917 to depth 1
    Final Answer: [77c01d5be2, d215ce4039]
    Operation: breadth-first search from 0f4e2ab917 to depth 2
    Final Answer: [9b3d8860fa]
    Operation: parents of 0f4e2ab917
    Final Answer: [9b3d8860fa]

    Now another graph.
    """
}
