/// Answers that are lists, values or the last of several numbers.
enum ListMatch {
  /// GraphWalks: F1 of the set of nodes behind the last "Final Answer:", up to its closing bracket;
  /// of the whole answer where those words are missing, for then the prompt has given them.
  static func setF1(_ answer: String, _ references: [String]) -> Double {
    let found = Set(items(of: afterLast("final answer:", in: answer)))
    let wanted = Set(references)
    let hits = Double(found.intersection(wanted).count)
    guard hits > 0 else { return 0 }
    return 2 * hits / Double(found.count + wanted.count)
  }

  /// Words between brackets, commas and blanks, up to the first closing bracket or, where there is
  /// none, to the end of the line.
  private static func items(of text: String) -> [String] {
    let start = text.drop { $0.isWhitespace || $0 == "[" }
    let list = start.prefix { $0 != "]" && !$0.isNewline }
    return list.split { ",[\"'` ".contains($0) || $0.isWhitespace }.map(String.init)
  }

  private static func afterLast(_ mark: String, in text: String) -> String {
    let characters = Array(text)
    let lowered = characters.map { $0.lowercased() }
    let wanted = mark.map { String($0) }
    guard lowered.count >= wanted.count else { return text }
    for start in stride(from: lowered.count - wanted.count, through: 0, by: -1)
    where lowered[start..<start + wanted.count].elementsEqual(wanted) {
      return String(characters[(start + wanted.count)...])
    }
    return text
  }

  /// Whether the first list (for a reference that is one) or the first run of digits of the answer is
  /// the reference, blanks aside.
  static func isPythonValue(_ answer: String, _ reference: String) -> Bool {
    guard reference.hasPrefix("[") else { return NumberMatch.firstDigits(in: answer) == reference }
    let start = answer.drop { $0 != "[" }
    guard let end = start.firstIndex(of: "]") else { return false }
    return start[...end].filter { !$0.isWhitespace } == reference.filter { !$0.isWhitespace }
  }

  /// The last run of the digits 0 to 9; "" without one. A comma between digits is a separator of
  /// thousands.
  static func lastDigits(in answer: String) -> String {
    var last = ""
    var current = ""
    let scalars = Array(answer.unicodeScalars)
    func isDigit(_ place: Int) -> Bool {
      scalars.indices.contains(place) && ("0"..."9").contains(scalars[place])
    }
    for place in scalars.indices {
      if isDigit(place) {
        current.unicodeScalars.append(scalars[place])
      } else if scalars[place] != "," || !isDigit(place - 1) || !isDigit(place + 1) {
        if !current.isEmpty { last = current }
        current = ""
      }
    }
    return current.isEmpty ? last : current
  }
}

/// Answers that should give a text back as it stands.
enum VerbatimMatch {
  /// MRCR: 0 where the answer does not begin with the mark, else the similarity of what follows.
  static func marked(_ answer: String, mark: String, text: String) -> Double {
    let answer = PythonText.stripped(answer)
    guard answer.unicodeScalars.starts(with: mark.unicodeScalars) else { return 0 }
    let rest = String(
      String.UnicodeScalarView(answer.unicodeScalars.dropFirst(mark.unicodeScalars.count)))
    return SequenceMatch.ratio(PythonText.stripped(rest), text)
  }

  /// The share of the reference's words with which the answer begins, without punctuation, upper and
  /// lower case alike.
  static func leadingWords(_ answer: String, _ reference: String) -> Double {
    let (found, wanted) = (words(answer), words(reference))
    guard !wanted.isEmpty else { return 0 }
    return Double(zip(found, wanted).prefix { $0 == $1 }.count) / Double(wanted.count)
  }

  private static func words(_ text: String) -> [String] {
    PythonText.words(text).map { word in
      PythonText.string(word.lowercased().unicodeScalars.filter { PythonText.isWord($0) })
    }.filter { !$0.isEmpty }
  }

  /// The similarity of as many of the answer's first lines as the reference has, blanks at both ends
  /// of lines and empty lines aside.
  static func lines(_ answer: String, _ reference: String) -> Double {
    let wanted = lines(reference)
    return SequenceMatch.ratio(
      lines(answer).prefix(wanted.count).joined(separator: "\n"), wanted.joined(separator: "\n"))
  }

  private static func lines(_ text: String) -> [String] {
    text.split(whereSeparator: \.isNewline).map { PythonText.stripped(String($0)) }
      .filter { !$0.isEmpty }
  }
}
