import EvaluationTasks
import Testing

/// The statements of the prompt, solved from the text alone.
@Suite struct WordProblemTests {
  @Test func `the answer follows from the statements, and most of them are not needed`() throws {
    for task in try GeneratedTaskTests.tasks(.wordProblem, lengths: [2500, 9000], prompts: 10) {
      let statements = task.prompt.components(between: "There are ", and: ".")
      var values: [String: Int] = [:]
      var used: [String: [String]] = [:]
      // Statements may build on later ones: again and again until nothing new is known.
      var known = -1
      while known < values.count {
        known = values.count
        for statement in statements { solve(statement, &values, &used) }
      }
      #expect(values.count == statements.count, "\(task.id)")
      let question = try #require(task.prompt.split(separator: "\n").last.map(String.init))
      let asked = try #require(question.components(between: "How many ", and: " are there").first)
      #expect(task.references == ["\(try #require(values[asked]))"], "\(task.id)")
      var needed: Set<String> = []
      var pending = [asked]
      while let next = pending.popLast() {
        guard needed.insert(next).inserted else { continue }
        pending += used[next] ?? []
      }
      #expect((3...9).contains(needed.count))
      #expect(statements.count > 3 * needed.count)
    }
  }

  private func solve(
    _ statement: String, _ values: inout [String: Int], _ used: inout [String: [String]]
  ) {
    func set(_ name: String, _ value: Int?, from sources: [String]) {
      guard let value else { return }
      values[name] = value
      used[name] = sources
    }
    func parts(_ word: String) -> (String, String)? {
      statement.firstRange(of: word).map {
        (String(statement[..<$0.lowerBound]), String(statement[$0.upperBound...]))
      }
    }
    if let (new, rest) = parts(" together"), rest.isEmpty {
      let sides = new.dropFirst("as many ".count).split(separator: " as ", maxSplits: 1)
      let sources = sides[1].split(separator: " and ").map(String.init)
      guard let one = values[sources[0]], let two = values[sources[1]] else { return }
      set(String(sides[0]), one + two, from: sources)
    } else if let (_, rest) = parts("twice as many ") {
      let sides = rest.split(separator: " as ").map(String.init)
      set(sides[0], values[sides[1]].map { 2 * $0 }, from: [sides[1]])
    } else if let (count, rest) = parts(" more ") {
      let sides = rest.split(separator: " than ").map(String.init)
      set(sides[0], values[sides[1]].map { $0 + (Int(count) ?? 0) }, from: [sides[1]])
    } else if let (count, rest) = parts(" fewer ") {
      let sides = rest.split(separator: " than ").map(String.init)
      set(sides[0], values[sides[1]].map { $0 - (Int(count) ?? 0) }, from: [sides[1]])
    } else if let (count, name) = parts(" ") {
      set(name, Int(count), from: [])
    }
  }
}
