import MInference

/// Words, numbers and identifiers that tasks are made of.
struct WordList {
  private var generator: SeededGenerator

  init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

  mutating func number(below bound: Int) -> Int { generator.next(below: bound) }

  /// A number of exactly `count` digits.
  mutating func digits(_ count: Int) -> String {
    let low = (1..<count).reduce(1) { product, _ in product * 10 }
    return "\(low + generator.next(below: 9 * low))"
  }

  mutating func letters(_ count: Int, from first: Unicode.Scalar) -> String {
    String(
      decoding: (0..<count).map { _ in UInt8(ascii: first) + UInt8(generator.next(below: 26)) },
      as: UTF8.self)
  }

  /// A noun: "harbor".
  mutating func word() -> String { generator.pick(Self.nouns) ?? "" }

  /// An adjective and a noun: "quiet-harbor".
  mutating func pair() -> String {
    (generator.pick(Self.adjectives) ?? "") + "-" + (generator.pick(Self.nouns) ?? "")
  }

  /// A random identifier of version 4 (RFC 9562).
  mutating func uuid() -> String {
    let hexadecimal = Array("0123456789abcdef")
    var text = ""
    for place in 0..<32 {
      if [8, 12, 16, 20].contains(place) { text += "-" }
      let digit = generator.next(below: 16)
      text.append(hexadecimal[place == 12 ? 4 : place == 16 ? 8 | digit & 3 : digit])
    }
    return text
  }

  /// `count` results of `make`, all different.
  mutating func distinct(_ count: Int, _ make: (inout WordList) -> String) -> [String] {
    var seen: Set<String> = []
    var result: [String] = []
    while result.count < count {
      let word = make(&self)
      if seen.insert(word).inserted { result.append(word) }
    }
    return result
  }

  /// The elements in random order (Fisher and Yates).
  mutating func shuffled<Element>(_ elements: [Element]) -> [Element] {
    var elements = elements
    for last in stride(from: elements.count - 1, to: 0, by: -1) {
      elements.swapAt(last, generator.next(below: last + 1))
    }
    return elements
  }

  /// `count` distinct numbers below `bound`, ascending; all of them if there are fewer.
  mutating func sample(_ count: Int, below bound: Int) -> [Int] {
    // Floyd's way: one draw for each.
    var chosen: Set<Int> = []
    for top in max(0, bound - count)..<max(0, bound) {
      let drawn = generator.next(below: top + 1)
      chosen.insert(chosen.contains(drawn) ? top : drawn)
    }
    return chosen.sorted()
  }

  /// The single words and the nouns in pairs ("harborlamp"), shuffled: over ten thousand.
  mutating func vocabulary() -> [String] {
    shuffled(Self.nouns.flatMap { first in Self.nouns.filter { $0 != first }.map { first + $0 } })
  }

  static let adjectives = words(
    """
    quiet bright narrow hollow gentle rusty silver crimson ancient humble frosty amber nimble \
    curious steady velvet rapid solemn golden misty clever distant eager faithful graceful hidden \
    icy jolly keen lively mellow noble orange patient quick rough shy tender upright vivid wild \
    young zesty brave calm daring early fresh green heavy idle jagged kind lucky muddy neat odd \
    plain rare smooth tall usual vast warm blue cheerful dusty earnest famous grand honest
    """)

  static let nouns = words(
    """
    harbor window lantern bridge meadow anchor basket candle feather garden hammer island jacket \
    kettle ladder mirror needle orchard pepper quarry ribbon saddle timber umbrella valley wagon \
    barrel castle desert engine forest glacier helmet insect jungle kitchen lemon marble notebook \
    ocean pillow quilt rocket signal temple uniform village whistle yard acorn badger copper \
    donkey eagle falcon goblet hollow ivory jewel kernel lizard magnet napkin otter parrot raven \
    spider tunnel urchin violin walnut zipper arrow beacon canyon dagger ember fiddle gravel hedge \
    inlet jasmine kayak lagoon mortar nectar onion paddle quiver rudder shovel thistle utensil vase \
    willow yarn attic button cellar drawer easel flute
    """)

  private static func words(_ text: String) -> [String] {
    text.split(separator: " ").map(String.init)
  }
}
