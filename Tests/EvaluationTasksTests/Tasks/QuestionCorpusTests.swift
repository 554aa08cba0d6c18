import EvaluationTasks
import Testing

@Suite struct QuestionCorpusTests {
  private static func squad(_ fields: String = "") -> String {
    let others = (0..<60).map {
      #"{"title": "o", "paragraphs": [{"context": "Nothing is here in part \#($0).", "qas": []}]}"#
    }
    return """
      {"version": "2.0", "data": [{"title": "t", "paragraphs": [
        {"context": "The mill was built in 1804.", "qas": [
          {"id": "1", "question": "When was the mill built?", \(fields)
           "answers": [{"text": "1804", "answer_start": 22}, {"text": "in 1804", "answer_start": 19}]}]},
        {"context": "The mill burned in 1911.", "qas": [
          {"id": "2", "question": "Who?", "is_impossible": true, "answers": []}]}]},
      \(others.joined(separator: ", "))]}
      """
  }

  private static let hotpot = """
    [{"_id": "1", "question": "Which river passes both?", "answer": "the Aire",
      "context": [["Leeds", ["Leeds lies on ", "the Aire."]], ["Keighley", ["So does Keighley."]]]},
     {"_id": "2", "question": "Where is Oslo?", "answer": "Norway",
      "context": [["Oslo", ["Oslo is in Norway."]], ["Leeds", ["Leeds lies on ", "the Aire."]]]}]
    """

  @Test func `SQuAD's questions come with their document, its neighbours first`() async throws {
    try await withFile("questions.json", Self.squad()) { path in
      let corpus = try QuestionCorpus(contentsOf: path)
      let suite = RulerTask(
        kinds: [.squad], lengths: [256, 1024], samples: 2, questions: [.squad: corpus])
      for plan in try suite.plans() {
        let task = try plan.task(countFourBytes)
        #expect(task.references == ["1804", "in 1804"])
        #expect(task.scoring == .containsAny)
        #expect(task.prompt.contains("The mill was built in 1804."))
        #expect(task.prompt.contains("The mill burned in 1911."))
        #expect(task.prompt.hasSuffix("Question: When was the mill built?"))
        let documents = task.prompt.count(ofText: "Document ")
        #expect(try countFourBytes(task.prompt + task.answerPrefix) + 32 <= task.length ?? 0)
        #expect(task.length == 256 ? (4..<20).contains(documents) : documents > 40)
      }
    }
  }

  @Test func `HotpotQA's documents are numbered, and those that stand there twice are one`()
    async throws
  {
    try await withFile("questions.json", Self.hotpot) { path in
      let corpus = try QuestionCorpus(contentsOf: path)
      let suite = RulerTask(
        kinds: [.hotpot], lengths: [512], samples: 2, questions: [.hotpot: corpus])
      let tasks = try suite.plans().map { try $0.task(countFourBytes) }
      #expect(tasks.map(\.references) == [["the Aire"], ["Norway"]])
      for task in tasks {
        #expect(task.prompt.count(ofText: "Leeds\nLeeds lies on the Aire.") == 1)
        #expect(task.prompt.count(ofText: "Document ") == 3)
        #expect(task.prompt.contains("Document 3:\n"))
      }
    }
  }

  @Test(arguments: ["", "[]", "{\"data\": []}", "{\"data\": [{}]}", "[{\"question\": 1}]", "[3]"])
  func `a file without questions is named`(text: String) async throws {
    try await withFile("questions.json", text) { path in
      let error = try #require(throws: TaskError.self) { try QuestionCorpus(contentsOf: path) }
      #expect("\(error)".hasPrefix(path))
    }
  }

  @Test func `impossible questions are left out`() async throws {
    try await withFile("questions.json", Self.squad(#""is_impossible": true,"#)) { path in
      #expect(throws: TaskError.empty(file: path)) { try QuestionCorpus(contentsOf: path) }
    }
  }
}
