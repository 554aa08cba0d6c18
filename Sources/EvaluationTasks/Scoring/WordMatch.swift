/// Answers taken apart into words.
enum WordMatch {
  private static let marks = ["\n", ":", "\"", "'", ".", ",", "?", "!", "{", "}"]

  /// Words of a key-value answer: marks, end tokens and two common beginnings are blanks.
  static func keyValueWords(of answer: String) -> [String] {
    PythonText.words(PythonText.replacingWithBlanks(answer, marks + ["</s>", "The", "To"]))
  }

  /// The words in capitals.
  static func speakers(of answer: String) -> [String] {
    PythonText.words(PythonText.replacingWithBlanks(answer, marks)).map { $0.uppercased() }
  }
}

/// Multiple choice. References are the right option's text and its letter.
enum ChoiceMatch {
  /// The book task: the first letter if it is A to D, else what follows "answer is:" and the like,
  /// else the first single letter.
  static func isRight(_ answer: String, _ references: [String]) -> Bool {
    var answer = PythonText.stripped(answer)
    guard let first = answer.unicodeScalars.first else { return false }
    if ("A"..."D").contains(first) { return references.contains(String(Character(first))) }
    if references.contains(answer) { return true }
    answer = PythonText.withSingleBlanks(
      PythonText.replacingWithBlanks(answer, ["\n", "\"", "'", ".", ",", "?", "!", "{", "}"]))
    let prefixes = ["answer is:", "answer:", "answer is", "option is"]
    if let rest = after(prefixes, in: answer) {
      return rest.map { rest in references.contains { hasPrefix(rest, $0) } } ?? false
    }
    // Whatever stands in "ABCD" counts as a letter, as there.
    let letters = ["A", "B", "C", "D", "AB", "BC", "CD", "ABC", "BCD", "ABCD"]
    let word = PythonText.words(answer).first { letters.contains($0) }
    return word.map { references.contains($0) } ?? false
  }

  /// The code task: "B." or "B:" at the beginning, else letter or name after "answer is:" and the
  /// like.
  static func isRightFunction(_ answer: String, _ references: [String]) -> Bool {
    guard references.count > 1 else { return false }
    let (name, letter) = (references[0], references[1])
    var answer = PythonText.stripped(answer)
    if hasPrefix(answer, letter + ".") || hasPrefix(answer, letter + ":") { return true }
    answer = PythonText.withSingleBlanks(
      PythonText.replacingWithBlanks(
        answer, ["\n", "`", "'", "\"", "-", "*", "Option", "option"]))
    guard let rest = after(["answer is:", "is:", "answer:"], in: answer) else { return false }
    return rest.map { hasPrefix($0, letter) || hasPrefix($0, name) } ?? false
  }

  /// What follows the first of `prefixes` that is there, and one character after it. The outer nil:
  /// none is there; the inner: the answer ends with it.
  private static func after(_ prefixes: [String], in answer: String) -> String?? {
    let text = Array(answer.unicodeScalars)
    for prefix in prefixes.map({ Array($0.unicodeScalars) }) {
      let starts = 0..<max(0, text.count - prefix.count + 1)
      guard let start = starts.first(where: { text[$0...].starts(with: prefix) }) else { continue }
      let end = start + prefix.count + 1
      return .some(end <= text.count ? PythonText.string(text[end...]) : nil)
    }
    return nil
  }

  private static func hasPrefix(_ text: String, _ prefix: String) -> Bool {
    text.unicodeScalars.starts(with: prefix.unicodeScalars)
  }
}
