/// F1 of an answer's tokens against a reference's, counted as multisets.
enum TokenF1 {
  /// Words in lower case, without ASCII punctuation and the articles a, an, the.
  static func words(_ answer: String, _ reference: String) -> Double {
    f1(normalizedWords(answer), normalizedWords(reference))
  }

  /// Code points in lower case, without ASCII and Chinese punctuation and white space.
  static func characters(_ answer: String, _ reference: String) -> Double {
    f1(normalizedCharacters(answer), normalizedCharacters(reference))
  }

  static func normalizedWords(_ text: String) -> [String] {
    let bare = text.lowercased().unicodeScalars.filter { !PythonText.isPunctuation($0) }
    var words: [Unicode.Scalar] = []
    var run: [Unicode.Scalar] = []
    func close() {
      // An article is one between word boundaries, which need no blank: “the” in quotes is one too.
      words += ["a", "an", "the"].contains(PythonText.string(run)) ? [" "] : run
      run = []
    }
    for scalar in bare {
      if PythonText.isWord(scalar) {
        run.append(scalar)
      } else {
        close()
        words.append(scalar)
      }
    }
    close()
    return PythonText.words(PythonText.string(words))
  }

  static func normalizedCharacters(_ text: String) -> [Unicode.Scalar] {
    let bare = text.lowercased().unicodeScalars.filter {
      !PythonText.isPunctuation($0) && !chinesePunctuation.contains($0)
    }
    return PythonText.words(PythonText.string(bare)).flatMap { Array($0.unicodeScalars) }
  }

  /// The set that the published score leaves out.
  private static let chinesePunctuation = Set(
    "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏.".unicodeScalars)

  private static func f1<Token: Hashable>(_ answer: [Token], _ reference: [Token]) -> Double {
    var left = Dictionary(reference.map { ($0, 1) }, uniquingKeysWith: +)
    var common = 0
    for token in answer where left[token, default: 0] > 0 {
      left[token, default: 0] -= 1
      common += 1
    }
    guard common > 0 else { return 0 }
    let precision = Double(common) / Double(answer.count)
    let recall = Double(common) / Double(reference.count)
    return 2 * precision * recall / (precision + recall)
  }
}
