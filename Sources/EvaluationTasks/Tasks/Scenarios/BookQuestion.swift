/// Questions about a passage of a book that the passage itself answers word for word.
struct BookQuestion {
  let books: BookShelf
  let length: Int
  /// The prompt's number and the number of prompts: questions are evenly spaced in the passage.
  let sample: Int
  let of: Int

  private static let opening = "Read the text below closely. A question about it follows."
  /// Tokens that a question may have, before it is known.
  private static let questionTokens = 256
  private static let bytesPerToken = 6

  /// Where in the passage the prompt asks.
  private var depth: Double { (Double(sample) + 0.5) / Double(max(1, of)) }

  /// A sentence's beginning is given, and what follows it is asked for: eight words, of which the
  /// share that is right counts.
  func line(
    _ words: WordList, id: String, kind: String, _ countTokens: TokenCounter
  ) throws -> EvaluationTask {
    try task(words, id: id, kind: kind, countTokens) { sentence, passage in
      let parts = sentence.split(whereSeparator: \.isWhitespace).map(String.init)
      guard parts.count >= 14, parts.count <= 60 else { return nil }
      let beginning = parts[..<6].joined(separator: " ")
      guard isUnique(beginning, in: passage), !beginning.contains("\"") else { return nil }
      let rest = parts[6..<14].joined(separator: " ")
      return Question(
        text:
          "Question: One sentence of the text begins with \"\(beginning)\". Go on with it, word "
          + "for word as it stands in the text.",
        answerPrefix: " \"\(beginning)", references: [rest], scoring: .leadingWords,
        answerTokens: 32)
    }
  }

  /// A sentence is given without a name, and the name is asked for.
  func name(
    _ words: WordList, id: String, kind: String, _ countTokens: TokenCounter
  ) throws -> EvaluationTask {
    try task(words, id: id, kind: kind, countTokens) { sentence, passage in
      let parts = sentence.split(whereSeparator: \.isWhitespace).map(String.init)
      guard parts.count >= 12, parts.count <= 60, !sentence.contains("_") else { return nil }
      // A name of one word: "Port" of "Port Royal" is none.
      let index = parts.indices.dropFirst(2).dropLast().first { index in
        Self.isName(parts[index]) && parts[index - 1].first?.isLowercase == true
          && parts[index + 1].first?.isUppercase != true
      }
      guard let index else { return nil }
      let name = String(parts[index].prefix { $0.isLetter })
      // A sentence that names them twice would give the answer away. A name that comes nowhere else
      // cannot be one of several to choose from.
      guard parts.count(where: { $0.contains(name) }) == 1, passage.count(of: name) == 2,
        isUnique(parts[..<index].joined(separator: " "), in: passage)
      else { return nil }
      var blanked = parts
      blanked[index] = "____" + parts[index].dropFirst(name.count)
      return Question(
        text:
          "Question: In this sentence of the text a name was left out: \"\(blanked.joined(separator: " "))\" "
          + "Which name stands there in the text?",
        answerPrefix: " The name is", references: [name], scoring: .containsAll, answerTokens: 16)
    }
  }

  /// A summary, compared with the first method's.
  func summary(
    _ words: WordList, id: String, kind: String, _ countTokens: TokenCounter
  ) throws -> EvaluationTask {
    var words = words
    let passage = try sentences(&words)
    var draft = draft(passage)
    draft.opening = "Read the text below. A request about it follows."
    draft.question =
      "Write a summary of the text above in about 120 words: who is in it, what happens, "
      + "and how it ends."
    draft.scoring = .rougeLSum
    draft.answerTokens = 192
    draft.comparesMethods = true
    return try draft.task(id: id, kind: kind, length: length, countTokens)
  }

  /// What is asked about a sentence.
  private struct Question {
    var text: String
    var answerPrefix: String
    var references: [String]
    var scoring: AnswerScoring
    var answerTokens: Int
  }

  /// Fits the passage, finds the sentence nearest to the depth that `ask` takes, and fits the passage
  /// again with the question.
  private func task(
    _ words: WordList, id: String, kind: String, _ countTokens: TokenCounter,
    ask: (_ sentence: String, _ passage: Text) -> Question?
  ) throws -> EvaluationTask {
    var words = words
    let passage = try sentences(&words)
    var draft = draft(passage)
    let limit = length - Self.questionTokens
    let size = try LengthFitting.largestSize(
      upTo: passage.count, limit: limit, rate: draft.tokensPerUnit
    ) { try countTokens(draft.prompt(size: $0)) }
    guard let size, size > 0 else {
      throw TaskError.tooShort(
        kind: kind, length: length,
        needed: try countTokens(draft.prompt(size: 1)) + Self.questionTokens)
    }
    // The question's own passage may be a little longer; what is unique must be so there as well.
    let seen = Text(passage[..<min(passage.count, size + 60)].joined())
    let wanted = Int(depth * Double(size))
    let nearest = (0..<size).sorted { abs($0 - wanted) < abs($1 - wanted) }
    for index in nearest {
      guard let question = ask(passage[index], seen) else { continue }
      draft.minimumSize = index + 1
      draft.maximumSize = min(passage.count, size + 60)
      draft.question = question.text
      draft.answerPrefix = question.answerPrefix
      draft.references = { _ in question.references }
      draft.scoring = question.scoring
      draft.answerTokens = question.answerTokens
      draft.depth = Double(index) / Double(size)
      do {
        return try draft.task(id: id, kind: kind, length: length, countTokens)
      } catch TaskError.tooShort {
        // A long question, at the passage's end: an earlier sentence has room.
        continue
      }
    }
    throw TaskError.nothingToAsk(kind: kind, source: books.name)
  }

  private func sentences(_ words: inout WordList) throws -> [String] {
    let passage = books.passage(bytes: Self.bytesPerToken * length, sample: sample, &words)
    guard !passage.isEmpty else {
      throw TaskError.nothingToAsk(kind: "a question", source: books.name)
    }
    return passage
  }

  private func draft(_ passage: [String]) -> DocumentDraft {
    DocumentDraft(
      maximumSize: passage.count, tokensPerUnit: 25, opening: Self.opening,
      context: { passage[..<$0].joined().trimmedEnd }, question: "", references: { _ in [] },
      scoring: .containsAll, answerTokens: 0, depth: depth)
  }

  /// A passage as it is searched: words with single blanks.
  struct Text {
    let bytes: [UInt8]

    init(_ text: String) {
      bytes = Array(text.split(whereSeparator: \.isWhitespace).joined(separator: " ").utf8)
    }

    /// How often words stand there one after another; more than two are two.
    func count(of text: String) -> Int {
      let wanted = Array(text.utf8)
      guard let first = wanted.first, bytes.count >= wanted.count else { return 0 }
      var count = 0
      for start in 0...(bytes.count - wanted.count)
      where bytes[start] == first && bytes[start..<start + wanted.count].elementsEqual(wanted) {
        count += 1
        if count == 2 { break }
      }
      return count
    }
  }

  private func isUnique(_ text: String, in passage: Text) -> Bool { passage.count(of: text) == 1 }

  /// A capital, then three small letters or more, then at most punctuation.
  private static func isName(_ word: String) -> Bool {
    guard word.first?.isUppercase == true else { return false }
    let rest = word.dropFirst().prefix { $0.isLowercase }
    return rest.count >= 3 && word.dropFirst(rest.count + 1).allSatisfy { !$0.isLetter }
  }
}

extension String {
  /// Without blanks and line ends at the end.
  var trimmedEnd: String {
    var text = self[...]
    while text.last?.isWhitespace == true { text.removeLast() }
    return String(text)
  }
}
