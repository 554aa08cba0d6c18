import EvaluationTasks
import Testing

/// The graph as the prompt has it, walked by brute force.
@Suite struct GraphWalkTests {
  private struct Graph {
    var edges: [(from: String, to: String)]

    init(_ prompt: String) throws {
      let lines = prompt.split(separator: "\n").map(String.init)
      let start = try #require(lines.firstIndex(of: "Edges:"))
      edges = lines[(start + 1)...].compactMap { line in
        let parts = line.split(separator: " ").map(String.init)
        return parts.count == 3 && parts[1] == "->" ? (parts[0], parts[2]) : nil
      }
    }

    /// The number of edges of the shortest path to every node, by relaxing all edges again and again.
    func distances(from start: String) -> [String: Int] {
      var distances = [start: 0]
      var changed = true
      while changed {
        changed = false
        for edge in edges {
          guard let distance = distances[edge.from] else { continue }
          if distance + 1 < distances[edge.to] ?? .max {
            distances[edge.to] = distance + 1
            changed = true
          }
        }
      }
      return distances
    }
  }

  private func words(of task: EvaluationTask) throws -> [String] {
    try #require(task.prompt.split(separator: "\n").last).split(separator: " ").map(String.init)
  }

  @Test func `a search names the nodes at its depth`() throws {
    var depths: Set<Int> = []
    for task in try GeneratedTaskTests.tasks(.graphSearch, lengths: [1800, 12_000], prompts: 6) {
      let graph = try Graph(task.prompt)
      let words = try words(of: task)
      let depth = try #require(Int(words[words.count - 1]))
      let distances = graph.distances(from: words[4])
      #expect(
        Set(task.references) == Set(distances.filter { $0.value == depth }.map(\.key)), "\(task.id)"
      )
      #expect((2...12).contains(task.references.count))
      #expect(Set(task.references).count == task.references.count)
      // Most nodes are no answer.
      #expect(Set(graph.edges.map(\.to)).count > 2 * task.references.count)
      depths.insert(depth)
    }
    #expect(depths == [1, 2])
  }

  @Test func `parents are the nodes with an edge to the node`() throws {
    for task in try GeneratedTaskTests.tasks(.graphParents, lengths: [1800, 12_000], prompts: 4) {
      let graph = try Graph(task.prompt)
      let node = try #require(words(of: task).last)
      #expect(
        Set(task.references) == Set(graph.edges.filter { $0.to == node }.map(\.from)), "\(task.id)")
      #expect((2...5).contains(task.references.count))
      let edges = graph.edges.map { "\($0.from) \($0.to)" }
      #expect(Set(edges).count == edges.count)
    }
  }

  @Test func `half of the nodes, or twice as many, is worth two thirds`() throws {
    let task = try #require(
      try GeneratedTaskTests.tasks(.graphParents, prompts: 9).first {
        $0.references.count == 4
      })
    #expect(
      abs(task.score("Final Answer: [\(task.references[0]), \(task.references[1])]") - 2 / 3.0)
        < 1e-12)
    let more = task.references + ["a", "b", "c", "d"]
    #expect(abs(task.score(more.joined(separator: ", ")) - 2 / 3.0) < 1e-12)
  }
}
