#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif
import MInference

/// The kernels that choose a token.
extension KernelVerifier {
  mutating func checkSampling() {
    checkMostLikely()
    checkDraw()
    checkPenalty()
  }

  /// Equal logits, a row with negative infinities, rows that have no answer.
  private mutating func checkMostLikely() {
    for vocabulary in [1, 31, 1025, 128_256] {
      let logits = rowsWithoutAnswer(vocabulary)
      check("mostLikely", "6 x \(vocabulary)", tolerance: 1e-9) { side in
        let tensor = try side.tensor(logits, [6, vocabulary], .float32)
        return try side.backend.mostLikely(tensor).map { [Float($0 ?? -1)] }
      }
    }
  }

  /// Six rows; of the last five one has many equal logits, three have no answer, one zeros of both signs.
  private mutating func rowsWithoutAnswer(_ vocabulary: Int) -> [Float] {
    var logits = numbers(6 * vocabulary).map { ($0 * 4).rounded() }
    func set(_ row: Int, _ place: Int, _ value: Float) {
      logits[row * vocabulary + place] = value
    }
    for place in 0..<vocabulary {
      set(1, place, place % 3 == 0 ? -.infinity : -100)
      set(2, place, -.infinity)
      set(5, place, place % 2 == 0 ? -0.0 : 0)
    }
    set(1, vocabulary - 1, -99)
    set(3, vocabulary / 2, .nan)
    set(4, vocabulary / 3, .infinity)
    return logits
  }

  /// Every id has to be that of the reference, and one that plain arithmetic draws too.
  private mutating func checkDraw() {
    guard choice.takes("draw") else { return }
    for vocabulary in [1, 2, 31, 1000, 32_064, 151_936, 256_000] {
      for kind in LogitKind.allCases {
        let logits = kind.logits(numbers(vocabulary, magnitude: 3))
        for _ in 0..<(vocabulary < 30_000 ? 8 : 2) {
          let options = DrawOptions(using: &random, kind: kind)
          let bits = (0..<2).map { _ in random.next() }
          let plain = PlainDraw(logits, options)
          check("draw", "\(vocabulary), \(kind.rawValue), \(options)", tolerance: 1e-9) { side in
            let tensor = try side.tensor(logits + logits, [2, vocabulary], .float32)
            let ids = try side.backend.draw(options.draw, from: tensor, random: bits)
            // NaN is a miss on either side.
            return zip(ids, bits).map { id, bits in
              [id.map { plain.allows(Int($0), random: bits) ? Float($0) : .nan } ?? -1]
            }
          }
        }
      }
      let refused = rowsWithoutAnswer(vocabulary)
      let bits = (0..<6).map { _ in random.next() }
      check("draw", "rows without answer, 6 x \(vocabulary)", tolerance: 1e-9) { side in
        let tensor = try side.tensor(refused, [6, vocabulary], .float32)
        let ids = try side.backend.draw(
          TokenDraw(temperature: 1, topP: 0.5), from: tensor, random: bits)
        return ids.map { [Float($0 ?? -1)] }
      }
    }
  }

  private mutating func checkPenalty() {
    for vocabulary in [1, 31, 151_936] {
      let logits = numbers(2 * vocabulary, magnitude: 4)
      let ids = (0..<Int32(vocabulary)).filter { _ in random.next(below: 3) == 0 }
      check("penalize", "\(ids.count) of \(vocabulary)", tolerance: 1e-9) { side in
        let tensor = try side.tensor(logits, [2, vocabulary], .float32)
        try side.backend.penalize(ids, in: tensor, by: 1.3)
        return [try side.backend.read(tensor)]
      }
    }
  }
}

/// What logits may look like.
private enum LogitKind: String, CaseIterable {
  case spread, equals, peaked, holes

  func logits(_ numbers: [Float]) -> [Float] {
    numbers.enumerated().map { place, number in
      switch self {
      case .spread: number
      case .equals: number.rounded()
      // Most weigh nothing.
      case .peaked: number * 30
      case .holes: place % 4 == 1 || numbers.count == 1 ? number : -.infinity
      }
    }
  }
}

private struct DrawOptions: CustomStringConvertible {
  var temperature: Float
  var topK: Int
  var topP: Float
  var minP: Float

  init(using random: inout SeededGenerator, kind: LogitKind) {
    temperature = Float(1 + random.next(below: 8)) / 4
    topK = random.pick([0, 0, 1, 5, 50, 900, 40_000]) ?? 0
    topP = random.pick([1, 1, 0.05, 0.5, 0.9, 0.99]) ?? 1
    minP = random.pick([0, 0, 0.01, 0.3]) ?? 0
  }

  var draw: TokenDraw {
    TokenDraw(temperature: temperature, topK: topK, topP: topP, minP: minP)
  }

  var description: String { "t \(temperature), k \(topK), p \(topP), min-p \(minP)" }
}

/// The definition of a draw in double precision: sort, cut, cut, cut, sum.
private struct PlainDraw {
  private let logits: [Float]
  private let options: DrawOptions
  /// The likeliest first, down to top-k.
  private let ids: [Int]
  private let weights: [Double]
  private let total: Double

  init(_ logits: [Float], _ options: DrawOptions) {
    self.logits = logits
    self.options = options
    let largest = Double(logits.max() ?? 0)
    weights = logits.map { exp((Double($0) - largest) / Double(options.temperature)) }
    let sorted = logits.indices.sorted { (logits[$0], -$0) > (logits[$1], -$1) }
    ids = Array(options.topK > 0 ? sorted.prefix(options.topK) : sorted[...])
    total = ids.reduce(0) { [weights] in $0 + weights[$1] }
  }

  /// Whether `id` is what is drawn, top-p, min-p or the random number moved by no more than weights may
  /// be off by their rounding.
  func allows(_ id: Int, random: UInt64) -> Bool {
    let margins = [0, -1e-6, 1e-6]
    let share = Double(random) * 0x1p-64
    for p in options.topP < 1 ? margins : [0] {
      for least in options.minP > 0 ? margins : [0] {
        for u in margins
        where drawn(
          topP: Double(options.topP) * (1 + p), minP: Double(options.minP) * (1 + least),
          share: share * (1 + u)) == id
        {
          return true
        }
      }
    }
    return false
  }

  private func drawn(topP: Double, minP: Double, share: Double) -> Int? {
    var isKept = Array(repeating: false, count: logits.count)
    var sum = 0.0
    for id in ids {
      isKept[id] = weights[id] >= minP
      sum += weights[id]
      if options.topP < 1, sum >= topP * total { break }
    }
    let kept = logits.indices.filter { isKept[$0] }
    var rest = share * kept.reduce(0) { $0 + weights[$1] }
    for id in kept {
      rest -= weights[id]
      if rest < 0 { return id }
    }
    return kept.last { weights[$0] > 0 }
  }
}
