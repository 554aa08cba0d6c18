import EvaluationTasks
import Testing

/// The lines of the prompt, run as Python would.
@Suite struct LatentListTests {
  @Test func `the printed value is what the lines leave`() throws {
    var views: Set<String> = []
    for task in try GeneratedTaskTests.tasks(.latentList, lengths: [2000, 8000], prompts: 12) {
      let lines = task.prompt.split(separator: "\n").map(String.init)
      var lists: [String: [Int]] = [:]
      for line in lines { try run(line, &lists) }
      #expect(lists.count == 4)
      let question = try #require(lines.last)
      let expression = try #require(question.components(between: "print(", and: ") print").first)
      let name = try #require(lists.keys.first { expression.contains($0) })
      let list = try #require(lists[name])
      let value: String
      switch expression.replacing(name, with: "x") {
      case "x": value = "\(list)"
      case "x[:2]": value = "\(Array(list.prefix(2)))"
      case "len(x)": value = "\(list.count)"
      case "max(x)": value = "\(list.max() ?? -1)"
      default:
        Issue.record("\(expression)")
        continue
      }
      #expect(task.references == [value], "\(task.id)")
      views.insert(expression.replacing(name, with: "x"))
    }
    #expect(views.count == 4)
  }

  private func run(_ line: String, _ lists: inout [String: [Int]]) throws {
    let numbers = line.split { !$0.isNumber }.compactMap { Int($0) }
    if let sign = line.firstRange(of: " = [") {
      lists[String(line[..<sign.lowerBound])] = numbers
      return
    }
    let parts = line.split(separator: ".", maxSplits: 1).map(String.init)
    guard parts.count == 2, var list = lists[parts[0]] else { return }
    let call = try #require(parts[1].split(separator: "(").first)
    switch call {
    case "append": list += numbers
    case "insert": list.insert(numbers[1], at: numbers[0])
    case "pop": list.removeLast()
    case "remove": list.remove(at: try #require(list.firstIndex(of: numbers[0])))
    case "sort": list.sort()
    case "reverse": list.reverse()
    default: Issue.record("\(line)")
    }
    lists[parts[0]] = list
  }
}
