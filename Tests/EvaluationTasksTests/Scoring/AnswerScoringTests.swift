import EvaluationTasks
import Checkpoints
import JSON
import Testing

@Suite struct AnswerScoringTests {
  @Test func `answers are worth what Python's tools say`() throws {
    var seen: Set<AnswerScoring> = []
    for line in try Goldens.lines("scores.jsonl") {
      let name = try #require(line["scoring"]?.text)
      let scoring = try #require(AnswerScoring(rawValue: name))
      let answer = try #require(line["answer"]?.text)
      let references = try #require(line["references"]?.strings)
      let expected = try #require(line["score"]?.double)
      let score = scoring.score(answer, references: references)
      #expect(abs(score - expected) < 1e-12, "\(name): \"\(answer)\" for \(references)")
      seen.insert(scoring)
    }
    #expect(seen == Set(AnswerScoring.allCases))
  }

  @Test(arguments: AnswerScoring.allCases)
  func `nothing is worth anything without references, and no score leaves 0 to 1`(
    scoring: AnswerScoring
  ) {
    #expect(scoring.score("anything", references: []) == 0)
    for answer in ["", " ", "A", "12", "\u{301}", "answer is:"] {
      let score = scoring.score(answer, references: ["A", "B"])
      #expect((0...1).contains(score))
    }
  }
}
