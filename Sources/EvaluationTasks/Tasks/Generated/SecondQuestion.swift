/// A text is read with one question at its end; the question that counts comes in a later turn.
///
/// Selections are estimated from the rows at hand, the first question's among them. What the later
/// question asks for has another form and lies elsewhere, so the first question never touched it: if
/// the sparse reading lost it, no later turn finds it. The multi-turn mode of SCBench asks so.
enum SecondQuestion {
  static func draft(_ words: WordList, length: Int, _ prose: Haystack) throws -> DocumentDraft {
    var words = words
    let key = words.pair()
    let number = words.digits(7)
    let city = NeedleTask.cities[words.number(below: NeedleTask.cities.count)]
    let line = words.digits(5)
    let sentences = try prose.sentences(bytes: 6 * length)
    let depth = Double(words.number(below: 1001)) / 1000
    // The first question's fact lies in the other half.
    let first = (depth + 0.5).truncatingRemainder(dividingBy: 1)
    let facts = [
      (text: "One of the special magic numbers for \(key) is: \(number).", depth: first),
      (text: "The telephone of the \(city) office has extension \(line).", depth: depth),
    ]
    return DocumentDraft(
      maximumSize: sentences.count, tokensPerUnit: 25,
      opening: "Read the text below closely. Questions about it follow, one after another.",
      context: { Haystack.hide(facts, in: sentences[..<$0]) },
      question: "Question: What is the special magic number for \(key)? Answer with the number "
        + "alone.",
      answerPrefix: " The special magic number for \(key) is", references: { _ in [line] },
      scoring: .containsAll, answerTokens: 24, depth: depth,
      laterTurns: [
        EvaluationTask.Turn(
          question:
            "Question: Which extension has the telephone of the \(city) office? Answer with "
            + "the number alone.",
          answerPrefix: " The telephone of the \(city) office has extension",
          maximumAnswerTokens: 24)
      ])
  }
}
