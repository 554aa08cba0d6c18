import EvaluationTasks
import Testing

/// Facts, answers and numbers found again in the prompts that hide them.
@Suite struct HiddenFactTests {
  private func lines(_ task: EvaluationTask) -> [String] {
    task.prompt.split(separator: "\n").map(String.init)
  }

  @Test func `the key asked for has one code, among keys that resemble it`() throws {
    for task in try GeneratedTaskTests.tasks(.confusableFacts, prompts: 6) {
      let words = try #require(lines(task).last).split(separator: " ").map(String.init)
      let place = try #require(words.firstIndex(of: "locker"))
      let key = String(words[place + 1].dropLast())
      let facts = task.prompt.components(between: "access code of locker ", and: ".").map {
        $0.split(separator: " ").map(String.init)
      }.filter { $0.count == 3 }
      let own = facts.filter { $0[0] == key }
      #expect(own.map { $0[2] } == task.references, "\(task.id)")
      let parts = key.split(separator: "-")
      let near = facts.filter { fact in
        let other = fact[0].split(separator: "-")
        return fact[0] != key && (other[0] == parts[0] || other.last == parts.last)
      }
      #expect(near.count >= 4, "\(task.id)")
      #expect(facts.count > 15 && Set(facts.map { $0[2] }).count == facts.count)
    }
  }

  @Test func `the k-th answer to a request is the one that is asked for`() throws {
    for task in try GeneratedTaskTests.tasks(.repeatedRequests, lengths: [6000], prompts: 6) {
      let question = try #require(lines(task).last)
      let ordinal = try #require(
        ["first", "second", "third", "fourth"].firstIndex {
          question.contains("the assistant's \($0) ")
        })
      let asked = try #require(question.components(between: "the assistant's ", and: ",").first)
      let request = asked.split(separator: " ").dropFirst().joined(separator: " ")
      let lines = lines(task)
      let answers = lines.indices.filter { lines[$0] == "User: Write a \(request)." }.map {
        String(lines[$0 + 1].dropFirst("Assistant: ".count))
      }
      #expect(answers.count == 4 && Set(answers).count == 4, "\(task.id)")
      #expect(answers[ordinal] == task.references[1])
      #expect(question.contains("Write \(task.references[0]) and"))
      // Another answer to the same request is worth less, for all its likeness.
      #expect(task.score(task.references[0] + answers[(ordinal + 1) % 4]) < 0.9)
    }
  }

  @Test func `the largest and the smallest number are those of the list`() throws {
    for task in try GeneratedTaskTests.tasks(.numberSearch, prompts: 4) {
      let list = try #require(lines(task).first { $0.hasPrefix("[") })
      let numbers = list.dropFirst().dropLast().split(separator: ", ").compactMap { Int($0) }
      #expect(numbers.count > 100)
      let extreme = task.prompt.contains("largest") ? numbers.max() : numbers.min()
      #expect(task.references == ["\(try #require(extreme))"])
    }
  }

  @Test func `a second question asks for what the first says nothing of`() throws {
    for task in try GeneratedTaskTests.tasks(.secondQuestion, prompts: 6) {
      let turn = try #require(task.laterTurns.first)
      let answer = try #require(task.references.first)
      #expect(task.laterTurns.count == 1)
      let first = try #require(lines(task).last)
      #expect(first.hasPrefix("Question: ") && !first.contains("telephone"))
      #expect(task.prompt.count(ofText: "has extension \(answer).") == 1)
      let city = try #require(turn.question.components(between: "of the ", and: " office").first)
      #expect(task.prompt.count(ofText: "The telephone of the \(city) office has extension") == 1)
      #expect(!turn.question.contains(answer) && !task.answerPrefix.contains(answer))
      // The facts of both questions lie half a text apart.
      let number = try #require(task.prompt.range(ofText: "One of the special magic"))
      let line = try #require(task.prompt.range(ofText: "The telephone of the"))
      let distance = Double(abs(number - line)) / Double(task.prompt.utf8.count)
      #expect((0.3...0.65).contains(distance), "\(task.id): \(distance)")
    }
  }
}

extension String {
  /// What stands between each `start` and the next `end`.
  func components(between start: String, and end: String) -> [String] {
    var parts: [String] = []
    var rest = self[...]
    while let begin = rest.firstRange(of: start) {
      rest = rest[begin.upperBound...]
      guard let stop = rest.firstRange(of: end) else { break }
      parts.append(String(rest[..<stop.lowerBound]))
    }
    return parts
  }
}
