/// ROUGE-L on the level of summaries (Lin, "ROUGE: A Package for Automatic Evaluation of Summaries",
/// 2004, section 3.2), as Google's `rouge_score` computes `rougeLsum` without a stemmer.
enum Rouge {
  /// F1; lines are sentences, tokens are runs of a to z and digits in lower case.
  ///
  /// For each reference sentence the union of its longest common subsequences with every answer
  /// sentence counts, each token at most as often as either text has it. O(tokens x tokens).
  static func summaryLevel(_ answer: String, reference: String) -> Double {
    var numbers: [String: Int32] = [:]
    let reference = sentences(reference, &numbers)
    let answer = sentences(answer, &numbers)
    let referenceCount = reference.reduce(0) { $0 + $1.count }
    let answerCount = answer.reduce(0) { $0 + $1.count }
    guard referenceCount > 0, answerCount > 0 else { return 0 }
    var leftInReference = Dictionary(reference.joined().map { ($0, 1) }, uniquingKeysWith: +)
    var leftInAnswer = Dictionary(answer.joined().map { ($0, 1) }, uniquingKeysWith: +)
    var hits = 0
    for sentence in reference {
      var union: Set<Int> = []
      for candidate in answer { union.formUnion(commonSubsequence(sentence, candidate)) }
      for token in union.sorted().map({ sentence[$0] }) {
        guard leftInReference[token, default: 0] > 0, leftInAnswer[token, default: 0] > 0 else {
          continue
        }
        leftInReference[token, default: 0] -= 1
        leftInAnswer[token, default: 0] -= 1
        hits += 1
      }
    }
    guard hits > 0 else { return 0 }
    let recall = Double(hits) / Double(referenceCount)
    let precision = Double(hits) / Double(answerCount)
    return 2 * precision * recall / (precision + recall)
  }

  private static func sentences(_ text: String, _ numbers: inout [String: Int32]) -> [[Int32]] {
    text.split(separator: "\n" as Character).map { line in
      line.lowercased().utf8.split { !isTokenByte($0) }.map { token in
        let token = String(decoding: token, as: UTF8.self)
        if let number = numbers[token] { return number }
        let number = Int32(numbers.count)
        numbers[token] = number
        return number
      }
    }
  }

  private static func isTokenByte(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
      || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
  }

  /// Places in `first` of a longest common subsequence; of several, the one that walking back from
  /// the ends finds when it prefers to shorten `first`.
  private static func commonSubsequence(_ first: [Int32], _ second: [Int32]) -> [Int] {
    let width = second.count + 1
    var lengths = [Int32](repeating: 0, count: (first.count + 1) * width)
    for (i, token) in first.enumerated() {
      for (j, other) in second.enumerated() {
        lengths[(i + 1) * width + j + 1] =
          token == other
          ? lengths[i * width + j] + 1
          : max(lengths[i * width + j + 1], lengths[(i + 1) * width + j])
      }
    }
    var indices: [Int] = []
    var (i, j) = (first.count, second.count)
    while i > 0, j > 0 {
      if first[i - 1] == second[j - 1] {
        indices.append(i - 1)
        i -= 1
        j -= 1
      } else if lengths[i * width + j - 1] > lengths[(i - 1) * width + j] {
        j -= 1
      } else {
        i -= 1
      }
    }
    return indices
  }
}
