/// Makes inputs out of well-formed ones.
struct Mutation {
  /// Inputs that a reader takes.
  let seeds: [[UInt8]]
  /// Pieces that readers of this format stumble over.
  let fragments: [String]
  /// Changes of one input at most.
  var mostChanges = 3
  /// Where changes fall: all but one of ten within so many bytes of the beginning.
  var reach = 1 << 16

  init(seeds: [[UInt8]], fragments: [String], mostChanges: Int = 3, reach: Int = 1 << 16) {
    self.seeds = seeds
    self.fragments = fragments
    self.mostChanges = mostChanges
    self.reach = reach
  }

  init(texts: [String], fragments: [String], mostChanges: Int = 3) {
    self.init(
      seeds: texts.map { Array($0.utf8) }, fragments: fragments, mostChanges: mostChanges)
  }

  func make(using generator: inout FuzzGenerator) -> [UInt8] {
    var bytes = seeds[Int.random(in: 0..<seeds.count, using: &generator)]
    for _ in 0..<Int.random(in: 1...mostChanges, using: &generator) {
      change(&bytes, using: &generator)
    }
    return bytes
  }

  private func change(_ bytes: inout [UInt8], using generator: inout FuzzGenerator) {
    guard !bytes.isEmpty else { return }
    let isNear = Int.random(in: 0..<10, using: &generator) > 0
    let limit = isNear ? min(bytes.count, reach) : bytes.count
    let position = Int.random(in: 0..<limit, using: &generator)
    let end = min(bytes.count, position + Int.random(in: 1...24, using: &generator))
    switch Int.random(in: 0..<10, using: &generator) {
    case 0: bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
    case 1: bytes[position] = UInt8.random(in: 0...255, using: &generator)
    case 2: bytes.removeSubrange(position...)
    case 3: bytes.removeSubrange(position..<end)
    case 4: bytes.insert(contentsOf: Array(bytes[position..<end]), at: position)
    case 5, 6: bytes.insert(contentsOf: fragment(using: &generator), at: position)
    case 7: bytes.replaceSubrange(position..<end, with: fragment(using: &generator))
    case 8: changeNumber(of: &bytes, from: position, using: &generator)
    default:
      // A stretch of another seed, or of this one from elsewhere.
      let other = seeds[Int.random(in: 0..<seeds.count, using: &generator)]
      guard !other.isEmpty else { return }
      let start = Int.random(in: 0..<other.count, using: &generator)
      let stretch = other[start..<min(other.count, start + 64)]
      bytes.insert(contentsOf: stretch, at: position)
    }
  }

  private func fragment(using generator: inout FuzzGenerator) -> [UInt8] {
    let all = fragments + Self.general
    let fragment = Array(all[Int.random(in: 0..<all.count, using: &generator)].utf8)
    // Now and then many times: depth, length and repetition.
    guard Int.random(in: 0..<12, using: &generator) == 0 else { return fragment }
    let times = [2, 70, 500, 3000][Int.random(in: 0..<4, using: &generator)]
    return Array(repeatElement(fragment, count: times).joined())
  }

  private func changeNumber(
    of bytes: inout [UInt8], from position: Int, using generator: inout FuzzGenerator
  ) {
    let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
    guard let start = bytes[position...].firstIndex(where: { digits.contains($0) }) else { return }
    let end = bytes[start...].firstIndex { !digits.contains($0) } ?? bytes.count
    let numbers = [
      "0", "1", "2", "-1", "64", "65536", "2147483648", "4294967296", "9223372036854775807",
      "9223372036854775808", "1e308", "1e999", "0.5", "NaN", "-Infinity", "null",
    ]
    let number = numbers[Int.random(in: 0..<numbers.count, using: &generator)]
    bytes.replaceSubrange(start..<end, with: number.utf8)
  }

  private static let general = [
    "\"", "{", "}", "[", "]", ",", ":", "\\", "\\u0000", "\\ud800", "null", "true", "-1", "1e999",
    "\u{0}", "\n", "\r\n", "\u{1B}[2J", "\u{FEFF}", "e\u{301}\u{323}", "\u{1F469}\u{200D}\u{1F4BB}",
    "\u{2028}", "[[[[", "{\"a\":",
  ]
}
