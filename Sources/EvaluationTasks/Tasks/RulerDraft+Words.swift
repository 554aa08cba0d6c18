extension RulerDraft {
  /// Variable tracking: one chain of four hops in noise, after one worked example.
  static func variables(_ words: WordList) -> RulerDraft {
    var words = words
    func chain(letters: Int) -> (names: [String], value: String, lines: [String]) {
      let names = words.distinct(5) { $0.letters(letters, from: "A") }
      let value = words.digits(5)
      let hops = zip(names, names.dropFirst()).map { "VAR \($1) = VAR \($0) " }
      return (names, value, ["VAR \(names[0]) = \(value)"] + hops)
    }
    let opening =
      "Variables are assigned in the text below, some of them from one another. Follow every chain "
      + "of assignments.\n\n"
    func question(_ value: String) -> String {
      "\nQuestion: Which variables have the value \(value) in the text above?"
    }
    func answer(_ value: String) -> String {
      " Answer: By the chain of assignments in the text above, 5 variables have the value "
        + "\(value). They are:"
    }
    let example = chain(letters: 3)
    let exampleLines = mixed(
      example.lines, into: Array(repeating: Haystack.noise, count: 5), &words)
    let shown =
      opening + exampleLines.joined(separator: "\n") + question(example.value)
      + answer(example.value) + " " + example.names.joined(separator: " ") + "\n\n"
    let hidden = chain(letters: 5)
    let mixer = words
    return RulerDraft(
      maximumSize: 1 << 20, tokensPerUnit: 26, answerPrefix: answer(hidden.value),
      references: { _ in hidden.names },
      prompt: { size in
        var mixer = mixer
        let lines = mixed(
          hidden.lines, into: Array(repeating: Haystack.noise, count: size), &mixer)
        return shown + opening + lines.joined(separator: "\n") + question(hidden.value)
      })
  }

  /// Common words: ten words thirty times each among many three times each, in a numbered list, after
  /// a worked example of forty words, ten and three times. Below 4,096 tokens six and one time,
  /// after twenty words, three and one time.
  static func commonWords(_ words: WordList, length: Int) -> RulerDraft {
    var words = words
    let isShort = length < 4096
    let vocabulary = words.vocabulary()
    let common = Array(vocabulary[..<10])
    let exampleWords = Array(vocabulary[10..<(isShort ? 30 : 50)])
    let uncommon = Array(vocabulary[(isShort ? 30 : 50)...])
    func numbered(_ words: [String]) -> String {
      words.enumerated().map { "\($0 + 1). \($1)" }.joined(separator: " ")
    }
    func list(
      _ common: [String], times: Int, _ others: [String], times otherTimes: Int,
      _ words: inout WordList
    ) -> String {
      let all =
        common.flatMap { Array(repeating: $0, count: times) }
        + others.flatMap { Array(repeating: $0, count: otherTimes) }
      return numbered(words.shuffled(all))
    }
    func ask(_ list: String) -> String {
      "The numbered list below holds some words more often than others. Remember the most common "
        + "ones.\n\(list)\nQuestion: Which 10 words are the most common in the list above?"
    }
    let prefix = " Answer: The 10 words that are the most common in the list are:"
    let exampleAnswer = Array(exampleWords[..<10])
    let exampleList = list(
      exampleAnswer, times: isShort ? 3 : 10, Array(exampleWords[10...]), times: isShort ? 1 : 3,
      &words)
    let shown = ask(exampleList) + prefix + " " + numbered(exampleAnswer) + "\n"
    let mixer = words
    let (times, otherTimes) = isShort ? (6, 1) : (30, 3)
    return RulerDraft(
      maximumSize: uncommon.count, tokensPerUnit: Double(otherTimes * 6), answerPrefix: prefix,
      references: { _ in common },
      prompt: { size in
        var mixer = mixer
        return shown
          + ask(
            list(common, times: times, Array(uncommon[..<size]), times: otherTimes, &mixer))
      })
  }

  /// Frequent words: coded words whose counts fall with the square of their rank (a zeta
  /// distribution, alpha 2); the first rank is noise, the next three are asked for.
  static func frequentWords(_ words: WordList, length: Int) -> RulerDraft {
    var words = words
    // The answer needs ranks 2 to 4 whatever the length.
    let coded = words.distinct(max(length / 50, 8)) { $0.letters(6, from: "a") }
    let vocabulary = ["..."] + coded.dropFirst()
    let order = words
    let zeta = Double.pi * Double.pi / 6
    return RulerDraft(
      // From here on rank 4 is there more often than rank 5.
      minimumSize: 48, maximumSize: length, tokensPerUnit: 2,
      answerPrefix: " Answer: By the coded text above, the three words that appear most often are:",
      references: { _ in Array(vocabulary[1...3]) },
      prompt: { size in
        var order = order
        let text = vocabulary.enumerated().flatMap { rank, word in
          Array(
            repeating: word, count: Int(Double(size) / (Double((rank + 1) * (rank + 1)) * zeta)))
        }
        return "Read the coded text below and count how often each coded word appears. "
          + order.shuffled(text).joined(separator: " ")
          + "\nQuestion: Leave the dots '...' aside and explain nothing. Which three words appear "
          + "most often in the coded text above?"
      })
  }
}
