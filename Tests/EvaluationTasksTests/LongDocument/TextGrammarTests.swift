import EvaluationTasks
import MInference
import Testing

@Suite struct TextGrammarTests {
  @Test func `a grammar expands rules, bindings and articles`() throws {
    let grammar = try TextGrammar(
      """
      greeting = {who} met a {thing}. "where is a {thing}?" asked {who}.
      thing = owl
      """, bound: ["who"])
    var generator = SeededGenerator(seed: 7)
    let text = grammar.expand("greeting", bindings: ["who": "Ida"], using: &generator)
    #expect(text == "Ida met an owl. \"Where is an owl?\" asked Ida.")
  }

  @Test func `every alternative is reached, on continued lines too`() throws {
    let grammar = try TextGrammar("x = one | two\n| three")
    var generator = SeededGenerator(seed: 1)
    let seen = Set((0..<200).map { _ in grammar.phrase("x", using: &generator) })
    #expect(seen == ["one", "two", "three"])
  }

  @Test func `a rule that is not there is named`() {
    #expect(throws: TextGrammarError.unknownRule("colour")) {
      try TextGrammar("x = the {colour} door")
    }
  }

  @Test func `a brace that is not closed is refused`() {
    #expect(throws: TextGrammarError.notARule("the {colour door")) {
      try TextGrammar("x = the {colour door")
    }
  }

  @Test func `drawn numbers are those of SplitMix64`() {
    // First outputs for seed 1234567, from the algorithm's published reference program.
    var generator = SeededGenerator(seed: 1_234_567)
    #expect(generator.next() == 6_457_827_717_110_365_317)
    #expect(generator.next() == 3_203_168_211_198_807_973)
  }
}
