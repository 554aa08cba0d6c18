/// One fact is asked for among many of the same form, whose keys differ by a word or a number.
///
/// A selection that finds facts of the form, but not the one with this key, fails here. The form and
/// the score (the value stands in the answer) are those of tests with hard needles.
enum ConfusableFacts {
  /// Sentences of prose for each fact.
  private static let spacing = 4

  static func draft(_ words: WordList, length: Int, _ prose: Haystack) throws -> DocumentDraft {
    var words = words
    let name = words.word()
    let number = 10 + words.number(below: 90)
    let asked = "\(name)-\(number)"
    // The nearest: the same word with other numbers, the same number with other words.
    let near = words.distinct(6) { words in
      words.number(below: 2) == 0
        ? "\(name)-\(10 + words.number(below: 90))" : "\(words.word())-\(number)"
    }.filter { $0 != asked }
    let sentences = try prose.sentences(bytes: 6 * length)
    let taken = Set(near + [asked])
    let others = words.distinct(sentences.count / spacing + 8) { words in
      "\(words.word())-\(10 + words.number(below: 990))"
    }.filter { !taken.contains($0) }
    let codes = words.distinct(others.count + near.count + 1) { words in
      "\(words.letters(3, from: "A"))-\(words.digits(4))"
    }
    func fact(_ key: String, _ code: String) -> String {
      "The access code of locker \(key) is \(code)."
    }
    let depth = Double(words.number(below: 1001)) / 1000
    let planted =
      [(text: fact(asked, codes[0]), depth: depth)]
      + near.enumerated().map { place, key in
        (text: fact(key, codes[1 + place]), depth: Double(words.number(below: 1001)) / 1000)
      }
    let rest = zip(others, codes[(1 + near.count)...]).map { fact($0, $1) }
    return DocumentDraft(
      maximumSize: min(sentences.count, rest.count * spacing), tokensPerUnit: 30,
      opening: "The text below holds the access codes of many lockers. Read it closely; a question "
        + "about one locker comes at the end.",
      context: { size in
        let count = size / spacing
        let spread = (0..<count).map {
          (text: rest[$0], depth: (Double($0) + 0.5) / Double(count))
        }
        return Haystack.hide(planted + spread, in: sentences[..<size])
      },
      question: "Question: What is the access code of locker \(asked)? Answer with the code alone.",
      answerPrefix: " The access code of locker \(asked) is", references: { _ in [codes[0]] },
      scoring: .containsAll, answerTokens: 24, depth: depth)
  }
}
