/// The largest or the smallest number of a list: InfiniteBench's Math.Find, whose score is that the
/// answer's first number is right. Every part of the list matters.
enum NumberSearch {
  static func draft(_ words: WordList, length: Int, isLargest: Bool) -> DocumentDraft {
    var words = words
    let bound = max(90_000, length)
    let numbers = words.shuffled(words.sample(length / 2 + 2, below: bound).map { $0 + 10_000 })
    let name = isLargest ? "largest" : "smallest"
    func answer(_ size: Int) -> Int {
      let list = numbers[..<size]
      return (isLargest ? list.max() : list.min()) ?? 0
    }
    return DocumentDraft(
      minimumSize: 2, maximumSize: numbers.count, tokensPerUnit: 6,
      opening: "Find the \(name) number of the list below.",
      context: { size in "[" + numbers[..<size].map { "\($0)" }.joined(separator: ", ") + "]" },
      question: "What is the \(name) number of the list? Answer with the number alone.",
      answerPrefix: " The \(name) number of the list is", references: { ["\(answer($0))"] },
      scoring: .firstInteger, answerTokens: 12)
  }
}
