import EvaluationTasks
import Testing

@Suite struct TaskFileTests {
  @Test func `RULER's lines are tasks as they are`() async throws {
    let text = """
      {"index": 3, "input": "Find it.\\n", "outputs": ["a", "b"], "length": 4096}

      {"index": 4, "input": "And?", "outputs": "c", "answer_prefix": " It is"}
      """
    try await withFile("vt.jsonl", text) { path in
      let tasks = try RulerFile.tasks(path)
      #expect(tasks.map(\.id) == ["vt-file-3", "vt-file-4"])
      #expect(tasks.map(\.prompt) == ["Find it.\n", "And?"])
      #expect(tasks.map(\.references) == [["a", "b"], ["c"]])
      #expect(tasks.map(\.answerPrefix) == ["", " It is"])
      #expect(tasks.map(\.length) == [4096, nil])
      #expect(tasks.map(\.maximumAnswerTokens) == [30, 30])
      #expect(tasks[0].score("A and nothing else") == 0.5)
      #expect(try RulerFile.tasks(path, limit: 1).count == 1)
    }
  }

  @Test func `the kind is the folder's name where the scripts' file name says nothing`() {
    #expect(RulerFile.kind(of: "data/niah_single_2/validation.jsonl") == "niah_single_2")
    #expect(RulerFile.kind(of: "data/qa_1.jsonl") == "qa_1")
  }

  @Test(arguments: [
    ("{\"input\": \"x\"}", "has no \"outputs\""),
    ("{\"outputs\": [\"x\"]}", "has no text \"input\""),
    ("{\"input\": ", "is not JSON"), ("[1]", "has no text \"input\""),
  ])
  func `a line that is no task is named`(line: String, problem: String) async throws {
    try await withFile("vt.jsonl", "\n" + line) { path in
      let error = try #require(throws: TaskError.self) { try RulerFile.tasks(path) }
      #expect("\(error)".hasPrefix("\(path): line 2 \(problem)"))
    }
  }

  @Test func `InfiniteBench's lines become prompts of the task that their file is named after`()
    async throws
  {
    let passkey =
      #"{"id": 7, "context": "NOISE", "input": "What is the pass key?", "answer": ["71432"], "options": []}"#
    try await withFile("passkey.jsonl", passkey) { path in
      let task = try #require(try InfiniteBenchFile.tasks(path).first)
      #expect(task.id == "passkey-7")
      #expect(task.prompt.hasSuffix("\n\nNOISE\n\nWhat is the pass key?"))
      #expect(task.answerPrefix == " The pass key is")
      #expect(task.score(" 71432.") == 1)
      #expect(task.score(" 7143") == 0)
    }
    let choice =
      #"{"id": 1, "context": "BOOK", "input": "Who?", "answer": "Ida", "options": ["Al", "Ida", "Bo", "Cy"]}"#
    try await withFile("longbook_choice_eng.jsonl", choice) { path in
      let task = try #require(try InfiniteBenchFile.tasks(path).first)
      #expect(task.references == ["Ida", "B"])
      #expect(task.prompt.contains("Question: Who?\nA. Al\nB. Ida\nC. Bo\nD. Cy"))
      #expect(task.score(" B") == 1)
    }
  }

  @Test(arguments: [
    #"{"context": "x", "answer": "E", "options": ["A", "B", "C", "D"]}"#,
    #"{"context": "x", "answer": "A", "options": ["A"]}"#, #"{"context": "x", "options": []}"#,
    #"{"answer": "A"}"#,
  ])
  func `an InfiniteBench line that lacks something is named`(line: String) async throws {
    try await withFile("code_debug.jsonl", line) { path in
      let error = try #require(throws: TaskError.self) { try InfiniteBenchFile.tasks(path) }
      #expect("\(error)".hasPrefix("\(path): line 1 has "))
    }
  }

  @Test func `a file that is missing, empty or of no known task is named`() async throws {
    #expect(throws: TaskError.self) { try RulerFile.tasks("nowhere/vt.jsonl") }
    try await withFile("vt.jsonl", " \n") { path in
      #expect(throws: TaskError.empty(file: path)) { try RulerFile.tasks(path) }
      #expect(throws: TaskError.self) { try InfiniteBenchFile.tasks(path) }
    }
  }
}
