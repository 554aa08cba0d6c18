extension RulerDraft {
  /// The needle kinds: "One of the special magic numbers for KEY is: VALUE." in noise, prose, or
  /// among other needles.
  ///
  /// In prose the needles lie at depths drawn from 40 points from 0 to 100 %, elsewhere at lines
  /// drawn at random.
  static func needles(
    _ kind: RulerKind.Needles, _ words: WordList, length: Int, essay: Haystack
  ) throws -> RulerDraft {
    var words = words
    func make(_ token: RulerKind.Token, _ words: inout WordList) -> String {
      switch token {
      case .words: words.pair()
      case .numbers: words.digits(7)
      case .uuids: words.uuid()
      }
    }
    let thing = kind.value == .uuids ? "uuid" : "number"
    func fact(_ key: String, _ value: String) -> String {
      "One of the special magic \(thing)s for \(key) is: \(value)."
    }
    let keys = words.distinct(max(kind.keys, kind.queries)) { make(kind.key, &$0) }
    let values = keys.map { _ in words.distinct(kind.values) { make(kind.value, &$0) } }
    let facts = words.shuffled(
      zip(keys, values).flatMap { key, values in values.map { fact(key, $0) } })
    let asked = Array(words.shuffled(Array(keys.indices)).prefix(kind.queries))
    let answers = asked.flatMap { values[$0] }
    let query = listed(asked.map { keys[$0] })

    let context: (Int) -> String
    let maximumSize: Int
    let rate: Double
    switch kind.surroundings {
    case .essay:
      let sentences = try essay.sentences(bytes: 6 * length)
      let depths = words.sample(facts.count, below: 40).map { Double($0) / 39 }
      let hidden = zip(facts, depths).map { (text: $0, depth: $1) }
      context = { Haystack.hide(hidden, in: sentences[..<$0]) }
      (maximumSize, rate) = (sentences.count, 25)
    case .noise:
      // Where a fact lies must not depend on how often the size is tried.
      let mixer = words
      context = { size in
        var mixer = mixer
        let lines = [String](repeating: Haystack.noise, count: size)
        return mixed(facts, into: lines, &mixer).joined(separator: "\n")
      }
      (maximumSize, rate) = (length / 8 + 1, 26)
    case .needles:
      let count = length / 16 + 1
      let used = Set(keys)
      let others = words.distinct(count + keys.count) { make(kind.key, &$0) }
        .filter { !used.contains($0) }.prefix(count)
      let lines = others.map { fact($0, make(kind.value, &words)) }
      let mixer = words
      context = { size in
        var mixer = mixer
        return mixed(facts, into: Array(lines.prefix(size)), &mixer).joined(separator: "\n")
      }
      (maximumSize, rate) = (lines.count, 40)
    }

    let many = answers.count > 1
    let noun = many ? "\(thing)s" : thing
    let opening =
      many
      ? "Some special magic \(noun) are hidden in the text below. Read it closely and remember them."
      : "A special magic \(noun) is hidden in the text below. Read it closely and remember it."
    let question =
      many
      ? "What are all the special magic \(noun) for \(query) mentioned in the provided text?"
      : "What is the special magic \(noun) for \(query) mentioned in the provided text?"
    return RulerDraft(
      maximumSize: maximumSize, tokensPerUnit: rate,
      answerPrefix: " The special magic \(noun) for \(query) mentioned in the provided text "
        + (many ? "are" : "is"),
      references: { _ in answers },
      prompt: {
        "\(opening) You will be asked for \(many ? "them" : "it").\n\(context($0))\n\(question)"
      })
  }

  /// The facts among the lines, at random places, in their order.
  static func mixed(_ facts: [String], into lines: [String], _ words: inout WordList) -> [String] {
    let total = lines.count + facts.count
    let factIndices = Set(words.sample(facts.count, below: total))
    var nextFact = facts.makeIterator()
    var nextLine = lines.makeIterator()
    return (0..<total).compactMap { factIndices.contains($0) ? nextFact.next() : nextLine.next() }
  }

  /// "a", "a, and b", "a, b, and c".
  static func listed(_ names: [String]) -> String {
    guard let last = names.last, names.count > 1 else { return names.first ?? "" }
    return names.dropLast().joined(separator: ", ") + ", and " + last
  }
}
