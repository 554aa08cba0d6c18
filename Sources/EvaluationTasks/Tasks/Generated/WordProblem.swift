/// A word problem whose statements lie among statements of the same form that it does not need.
///
/// The form of GSM-infinity (arXiv 2502.05252): a graph of quantities, each given or computed from
/// others; noise is more quantities, some of them computed from those of the problem. The answer is
/// right if its last number is. Two to four operations.
enum WordProblem {
  /// What is counted where: "crates of salt in hall 217".
  private struct Quantity: Hashable {
    var good: String
    var hall: Int
  }

  /// A quantity whose value is known.
  private struct Known {
    var quantity: Quantity
    var value: Int
  }

  static func draft(_ words: WordList, length: Int) -> DocumentDraft {
    var words = words
    let operations = 2 + words.number(below: 3)
    let count = length / 14 + 8
    var used: Set<Quantity> = []
    func new(_ words: inout WordList) -> Quantity {
      while true {
        let quantity = Quantity(
          good: goods[words.number(below: goods.count)],
          hall: 1 + words.number(below: max(900, count)))
        if used.insert(quantity).inserted { return quantity }
      }
    }

    var chain: [Known] = []
    var facts: [String] = []
    func give(_ words: inout WordList) -> Known {
      let known = Known(quantity: new(&words), value: 3 + words.number(below: 28))
      facts.append(given(known))
      return known
    }
    chain.append(give(&words))
    for _ in 0..<operations {
      let last = chain[chain.count - 1]
      let isSum = words.number(below: 3) == 0
      let other = isSum ? give(&words) : nil
      let (known, fact) = computed(new(&words), from: last, and: other, &words)
      chain.append(known)
      facts.append(fact)
    }
    let asked = chain[chain.count - 1]
    facts = words.shuffled(facts)

    var others: [Known] = []
    let noise = (0..<count).map { number in
      if number % 2 == 0 || others.isEmpty {
        let known = Known(quantity: new(&words), value: 3 + words.number(below: 28))
        others.append(known)
        return given(known)
      }
      // Now and then a quantity of the problem is built on, which changes nothing of it.
      let base =
        words.number(below: 8) == 0
        ? chain[words.number(below: chain.count)] : others[words.number(below: others.count)]
      return computed(new(&words), from: base, and: nil, &words).fact
    }
    let lines = facts
    let places = words
    return DocumentDraft(
      maximumSize: noise.count, tokensPerUnit: 20,
      opening:
        "The statements below say how many crates of which goods are in which halls. Most of "
        + "them are not needed for the question at the end.",
      context: { size in
        var places = places
        return RulerDraft.mixed(lines, into: Array(noise[..<size]), &places).joined(separator: " ")
      },
      question: "Question: How many \(name(asked.quantity)) are there? Work it out in short steps, "
        + "and give the number at the end, behind \"Answer:\".",
      references: { _ in ["\(asked.value)"] }, scoring: .lastInteger, answerTokens: 160)
  }

  private static func name(_ quantity: Quantity) -> String {
    "crates of \(quantity.good) in hall \(quantity.hall)"
  }

  private static func given(_ known: Known) -> String {
    "There are \(known.value) \(name(known.quantity))."
  }

  /// A statement that gives a quantity from one or two others, and its value.
  private static func computed(
    _ quantity: Quantity, from base: Known, and other: Known?, _ words: inout WordList
  ) -> (known: Known, fact: String) {
    let (new, old) = (name(quantity), name(base.quantity))
    if let other {
      return (
        Known(quantity: quantity, value: base.value + other.value),
        "There are as many \(new) as \(old) and \(name(other.quantity)) together."
      )
    }
    let number = 2 + words.number(below: 8)
    switch words.number(below: 3) {
    case 0 where base.value <= 60:
      return (
        Known(quantity: quantity, value: 2 * base.value),
        "There are twice as many \(new) as \(old)."
      )
    case 1 where base.value > number:
      return (
        Known(quantity: quantity, value: base.value - number),
        "There are \(number) fewer \(new) than \(old)."
      )
    default:
      return (
        Known(quantity: quantity, value: base.value + number),
        "There are \(number) more \(new) than \(old)."
      )
    }
  }

  private static let goods = [
    "salt", "rope", "candles", "barley", "wool", "tar", "honey", "herring", "linen", "coal",
    "apples", "cheese", "slate", "copper", "tea", "oats", "leather", "timber", "wax", "vinegar",
    "paper", "cloves",
  ]
}
