import JSON

/// Questions with the documents that answer them, from a SQuAD or HotpotQA file.
public struct QuestionCorpus: Sendable {
  struct Question: Sendable, Hashable {
    var text: String
    /// Any of these is right.
    var answers: [String]
    /// Documents that belong to it; the answer is in one of them.
    var documents: [Int]
    /// Documents of the same article, the first to be put beside them.
    var related: [Int]
  }

  let questions: [Question]
  let documents: [String]

  init(questions: [Question], documents: [String]) {
    self.questions = questions
    self.documents = documents
  }

  /// Reads either format: SQuAD (1.1 or 2.0) is an object with `data`, HotpotQA a list of objects.
  ///
  /// Questions that SQuAD 2.0 marks as impossible are left out, and documents that stand there twice
  /// are one. Throws ``TaskError``.
  public init(contentsOf file: String) throws {
    let value = try JSONValue.parse(Array(TextFile.read(file).utf8)) { problem in
      TaskError.malformed(
        file: file, line: 1, problem: "\(problem); give a SQuAD or HotpotQA file")
    }
    var builder = Builder(file: file)
    if case .array(let articles)? = value["data"] {
      for article in articles { try builder.addSquad(article) }
    } else if case .array(let entries) = value {
      for entry in entries { try builder.addHotpot(entry) }
    }
    guard !builder.questions.isEmpty else { throw TaskError.empty(file: file) }
    self.init(questions: builder.questions, documents: builder.documents)
  }

  private struct Builder {
    let file: String
    var questions: [Question] = []
    var documents: [String] = []
    private var numbers: [String: Int] = [:]

    init(file: String) { self.file = file }

    private mutating func number(_ document: String) -> Int {
      if let number = numbers[document] { return number }
      numbers[document] = documents.count
      documents.append(document)
      return documents.count - 1
    }

    private func missing(_ field: String) -> TaskError {
      .malformed(
        file: file, line: 1,
        problem:
          "lacks \"\(field)\" after question \(questions.count); give a SQuAD or HotpotQA file")
    }

    mutating func addSquad(_ article: JSONValue) throws {
      guard let paragraphs = article["paragraphs"]?.elements else { throw missing("paragraphs") }
      let numbers = try paragraphs.map { paragraph in
        guard let context = paragraph["context"]?.text else { throw missing("context") }
        return number(context)
      }
      for (paragraph, document) in zip(paragraphs, numbers) {
        for entry in paragraph["qas"]?.elements ?? [] where entry["is_impossible"] != .boolean(true)
        {
          guard let text = entry["question"]?.text else { throw missing("question") }
          let answers = (entry["answers"]?.elements ?? []).compactMap { $0["text"]?.text }
          guard !answers.isEmpty else { continue }
          questions.append(
            Question(
              text: text, answers: answers, documents: [document],
              related: Array(Set(numbers).subtracting([document])).sorted()))
        }
      }
    }

    mutating func addHotpot(_ entry: JSONValue) throws {
      guard let text = entry["question"]?.text else { throw missing("question") }
      guard let answer = entry["answer"]?.text else { throw missing("answer") }
      guard let context = entry["context"]?.elements else { throw missing("context") }
      let numbers = try context.map { part in
        guard let pair = part.elements, pair.count == 2, let title = pair[0].text,
          let sentences = pair[1].elements
        else { throw missing("context") }
        return number(title + "\n" + sentences.compactMap(\.text).joined())
      }
      questions.append(Question(text: text, answers: [answer], documents: numbers, related: []))
    }
  }
}

extension RulerDraft {
  /// Question answering: the documents of one question among others, in random order.
  static func question(_ corpus: QuestionCorpus, number: Int, _ words: WordList) -> RulerDraft {
    var words = words
    let question = corpus.questions[number % corpus.questions.count]
    let own = Set(question.documents + question.related)
    let others = words.shuffled(corpus.documents.indices.filter { !own.contains($0) })
    let added = words.shuffled(question.related) + others
    let order = words
    let task =
      "Answer the question from the documents given, with the answer alone and nothing else."
    return RulerDraft(
      maximumSize: added.count, tokensPerUnit: 150, answerPrefix: " Answer:",
      references: { _ in question.answers },
      prompt: { size in
        var order = order
        let chosen = order.shuffled(question.documents + added[..<size])
        let context = chosen.enumerated().map { "Document \($0 + 1):\n\(corpus.documents[$1])" }
          .joined(separator: "\n\n")
        return "\(task)\n\nThese are the documents.\n\n\(context)\n\n\(task)\n\n"
          + "Question: \(question.text)"
      })
  }
}
