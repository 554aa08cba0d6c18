/// What a list holds after a series of operations, most of which are on other lists.
///
/// Michelangelo's Latent List (arXiv 2409.12640): Python's list operations, a few of them relevant; the
/// question asks for a view of the result. Scored by the value's text without blanks.
enum LatentList {
  /// Operations on the list that is asked for, its first value not counted.
  static let relevantOperations = 6

  static func draft(_ words: WordList, length: Int) -> DocumentDraft {
    var words = words
    let names = words.distinct(4) { $0.word() }
    var lists = names.map { _ in words.sample(5, below: 90).map { $0 + 10 } }
    let beginnings = zip(names, lists).map { "\($0) = \(text($1))" }
    // The list that is asked for.
    let name = names[0]
    let facts = (0..<relevantOperations).map { _ in change(&lists[0], name, &words) }
    let noise = (0..<max(1, length / 6)).map { _ in
      let other = 1 + words.number(below: 3)
      return change(&lists[other], names[other], &words)
    }
    let view = view(lists[0], name, &words)
    let places = words
    return DocumentDraft(
      maximumSize: noise.count, tokensPerUnit: 9,
      opening: "Python runs the lines below. They change several lists; keep track of all of them, "
        + "for a question about one follows.",
      context: { size in
        var places = places
        let lines = RulerDraft.mixed(facts, into: Array(noise[..<size]), &places)
        return (beginnings + lines).joined(separator: "\n")
      },
      question:
        "Question: What does print(\(view.expression)) print after these lines? Answer with "
        + "what is printed alone.",
      answerPrefix: " It prints", references: { _ in [view.value] }, scoring: .pythonValue,
      answerTokens: 48)
  }

  /// One operation on a list of two to eight numbers, which keeps to these bounds.
  private static func change(_ list: inout [Int], _ name: String, _ words: inout WordList) -> String
  {
    let value = 10 + words.number(below: 90)
    let grows = list.count <= 3 || list.count < 8 && words.number(below: 2) == 0
    if words.number(below: 5) == 0 {
      if words.number(below: 2) == 0 {
        list.sort()
        return "\(name).sort()"
      }
      list.reverse()
      return "\(name).reverse()"
    }
    switch (grows, words.number(below: 2)) {
    case (true, 0):
      list.append(value)
      return "\(name).append(\(value))"
    case (true, _):
      let place = words.number(below: list.count + 1)
      list.insert(value, at: place)
      return "\(name).insert(\(place), \(value))"
    case (false, 0):
      list.removeLast()
      return "\(name).pop()"
    default:
      let removed = list[words.number(below: list.count)]
      if let place = list.firstIndex(of: removed) { list.remove(at: place) }
      return "\(name).remove(\(removed))"
    }
  }

  private static func view(
    _ list: [Int], _ name: String, _ words: inout WordList
  ) -> (expression: String, value: String) {
    switch words.number(below: 4) {
    case 0: (name, text(list))
    case 1: ("len(\(name))", "\(list.count)")
    case 2: ("max(\(name))", "\(list.max() ?? 0)")
    default: ("\(name)[:2]", text(Array(list.prefix(2))))
    }
  }

  /// As Python prints it.
  private static func text(_ list: [Int]) -> String {
    "[" + list.map { "\($0)" }.joined(separator: ", ") + "]"
  }
}
