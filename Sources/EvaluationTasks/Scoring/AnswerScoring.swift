/// How an answer is compared with the references.
///
/// Sources: RULER's scripts/eval (contains), InfiniteBench's compute_scores.py in the form that
/// MInference's experiments use (the others). Where the two versions of the latter differ, the form
/// used gives an empty answer no credit instead of stopping. GraphWalks' and MRCR's are those of their
/// data sets' descriptions.
public enum AnswerScoring: String, Sendable, Hashable, CaseIterable {
  /// The share of references that stand in the answer, upper and lower case alike.
  case containsAll = "contains_all"
  /// 1 if any reference stands in the answer, upper and lower case alike.
  case containsAny = "contains_any"
  /// 1 if the first run of digits is the reference.
  case firstInteger = "first_integer"
  /// 1 if the first number is the reference, cut to a whole one where the reference is one.
  case firstNumber = "first_number"
  /// 1 if the reference is one of the answer's words.
  case keyValue = "key_value"
  /// 1 if the reference is one of the answer's words in capitals.
  case speaker
  /// 1 if the answer names the right letter or option; references are option and letter.
  case choice
  /// The same with the rules of the code task.
  case codeDebug = "code_debug"
  /// The best F1 of words, without punctuation and articles.
  case wordF1 = "word_f1"
  /// The best F1 of characters, without punctuation, for Chinese.
  case characterF1 = "character_f1"
  /// ROUGE-L F1 on the level of summaries; lines are sentences, no stemming.
  case rougeLSum = "rouge_l_sum"
  /// The F1 of the set of items in a list, as GraphWalks has it.
  case setF1 = "set_f1"
  /// MRCR's: references are a mark and a text; 0 unless the answer begins with the mark, else the
  /// similarity of the rest to the text.
  case markedSimilarity = "marked_similarity"
  /// 1 if the first list, or the first number where the reference is none, is the reference.
  case pythonValue = "python_value"
  /// 1 if the last number is the reference.
  case lastInteger = "last_integer"
  /// The share of the reference's words with which the answer begins.
  case leadingWords = "leading_words"
  /// The similarity of as many lines as the reference has.
  case lineSimilarity = "line_similarity"

  /// What `answer` is worth, 0 to 1; 0 without references.
  public func score(_ answer: String, references: [String]) -> Double {
    guard let first = references.first else { return 0 }
    switch self {
    case .containsAll:
      return StringMatch.shareContained(references, in: answer)
    case .containsAny:
      return references.contains { StringMatch.contains($0, in: answer) } ? 1 : 0
    case .firstInteger: return NumberMatch.firstDigits(in: answer) == first ? 1 : 0
    case .firstNumber: return NumberMatch.firstNumber(of: answer, equals: first) ? 1 : 0
    case .keyValue: return WordMatch.keyValueWords(of: answer).contains(first) ? 1 : 0
    case .speaker: return WordMatch.speakers(of: answer).contains(first) ? 1 : 0
    case .choice: return ChoiceMatch.isRight(answer, references) ? 1 : 0
    case .codeDebug: return ChoiceMatch.isRightFunction(answer, references) ? 1 : 0
    case .wordF1:
      return references.map { TokenF1.words(answer, $0) }.max() ?? 0
    case .characterF1:
      return references.map { TokenF1.characters(answer, $0) }.max() ?? 0
    case .rougeLSum: return Rouge.summaryLevel(answer, reference: first)
    case .setF1: return ListMatch.setF1(answer, references)
    case .markedSimilarity:
      guard references.count == 2 else { return 0 }
      return VerbatimMatch.marked(answer, mark: first, text: references[1])
    case .pythonValue: return ListMatch.isPythonValue(answer, first) ? 1 : 0
    case .lastInteger: return ListMatch.lastDigits(in: answer) == first ? 1 : 0
    case .leadingWords: return VerbatimMatch.leadingWords(answer, first)
    case .lineSimilarity: return VerbatimMatch.lines(answer, first)
    }
  }
}

/// RULER's string match.
enum StringMatch {
  static func contains(_ reference: String, in answer: String) -> Bool {
    // Code points, as there: a match may begin between a letter and its combining mark.
    let wanted = Array(reference.lowercased().unicodeScalars)
    let text = Array(answer.lowercased().unicodeScalars)
    guard !wanted.isEmpty else { return true }
    guard text.count >= wanted.count else { return false }
    return (0...(text.count - wanted.count)).contains {
      text[$0..<$0 + wanted.count].elementsEqual(wanted)
    }
  }

  static func shareContained(_ references: [String], in answer: String) -> Double {
    Double(references.count { contains($0, in: answer) }) / Double(references.count)
  }
}

/// The first number of an answer.
enum NumberMatch {
  private static func isDigit(_ scalar: Unicode.Scalar) -> Bool { ("0"..."9").contains(scalar) }

  /// The first run of the digits 0 to 9; "" without one.
  static func firstDigits(in answer: String) -> String {
    let rest = answer.unicodeScalars.drop { !isDigit($0) }
    return String(String.UnicodeScalarView(rest.prefix { isDigit($0) }))
  }

  /// The first number with or without decimals against the reference.
  static func firstNumber(of answer: String, equals reference: String) -> Bool {
    let start = answer.unicodeScalars.drop { !isDigit($0) }
    var text = String(String.UnicodeScalarView(start.prefix { isDigit($0) }))
    let rest = start.dropFirst(text.unicodeScalars.count)
    if rest.first == "." {
      let decimals = String(String.UnicodeScalarView(rest.dropFirst().prefix { isDigit($0) }))
      if !decimals.isEmpty { text += "." + decimals }
    }
    guard let found = Double(text), let wanted = Double(reference) else { return false }
    return reference.contains(".") ? found == wanted : found.rounded(.towardZero) == wanted
  }
}
