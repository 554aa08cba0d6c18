/// A random choice of the next token: temperature, top-k, top-p and min-p, in this order.
///
/// Every backend makes the same choice from the same logits and random bits, to the last bit: weights are
/// integers, whose sums do not depend on their order, made by arithmetic that devices share. Of
/// equal logits the lower id counts as the more likely one. Drawn is in the order of ids: the first one at
/// which the running weight exceeds the random share of the sum.
public struct TokenDraw: Sendable, Equatable {
  /// log2(e) / temperature: powers of two in weight for a logit less.
  package let steepness: Double
  /// The number of most likely tokens that are kept; 0 keeps all.
  package let topK: Int
  /// The cumulative weight of the kept tokens, in 2^64ths of the total; 0 keeps all.
  package let topP: UInt64
  /// The least weight that is kept, up to ``unit``.
  package let leastWeight: UInt64

  /// The weight of the largest logit. Sums of up to 2^23 weights fit.
  package static let unit: UInt64 = 1 << 40

  /// - Parameters:
  ///   - temperature: Divides the logits; what is not above 0 counts as the least number that is, which
  ///     leaves the likeliest.
  ///   - topK: Keeps the `topK` most likely tokens; 0 keeps all.
  ///   - topP: Of these, keeps the fewest of the likeliest that have this share of their weight; 1 keeps
  ///     all.
  ///   - minP: Of these, drops those below this share of the likeliest one's weight, 0 ... 1.
  public init(temperature: Float, topK: Int = 0, topP: Float = 1, minP: Float = 0) {
    steepness = min(
      .greatestFiniteMagnitude,
      1.442695040888963_4 / Double(temperature > 0 ? temperature : .leastNonzeroMagnitude))
    self.topK = max(0, topK)
    self.topP = topP < 1 ? UInt64(max(1, Double(topP) * 0x1p64)) : 0
    leastWeight = UInt64((Double(max(0, min(1, minP))) * Double(Self.unit)).rounded(.up))
  }

  /// The id that `random`, 64 random bits, draws; nil if there is NaN or positive infinity among the
  /// logits, or nothing above negative infinity. Ids count from the slice's start.
  ///
  /// O(vocabulary), and O(vocabulary * log vocabulary) with top-k or top-p.
  public func choose(from logits: ArraySlice<Float>, random: UInt64) -> Int32? {
    guard logits.allSatisfy({ $0 < .infinity }) else { return nil }
    let weights = keptWeights(logits)
    let total = weights.reduce(0, +)
    var rest = random.multipliedFullWidth(by: total).high
    for (id, weight) in weights.enumerated() {
      if weight > rest { return Int32(id) }
      rest -= weight
    }
    // Only without any weight: the random share of a sum is less than the sum.
    return nil
  }

  /// The weight of each id, 0 where it may not be drawn; all 0 without a logit above negative infinity.
  package func keptWeights(_ logits: ArraySlice<Float>) -> [UInt64] {
    guard let largest = logits.max(), largest > -.infinity else {
      return Array(repeating: 0, count: logits.count)
    }
    var weights = logits.map { weight(of: $0, largest: largest) }
    if topK > 0 || topP > 0 {
      let ranks = zip(logits, 0...).map { Self.rank($0, $1) }
      let sorted = ranks.sorted(by: >)
      var count = topK > 0 ? min(topK, ranks.count) : ranks.count
      if topP > 0 { count = nucleusCount(sorted[..<count].map { weights[Self.id($0)] }) }
      let lowest = sorted[count - 1]
      for id in weights.indices where ranks[id] < lowest { weights[id] = 0 }
    }
    if leastWeight > 0 {
      for id in weights.indices where weights[id] < leastWeight { weights[id] = 0 }
    }
    return weights
  }

  /// How many of the descending weights make up top-p of their sum.
  private func nucleusCount(_ weights: [UInt64]) -> Int {
    let product = topP.multipliedFullWidth(by: weights.reduce(0, +))
    let wanted = product.high + (product.low > 0 ? 1 : 0)
    var sum: UInt64 = 0
    for (index, weight) in weights.enumerated() {
      sum += weight
      if sum >= wanted { return index + 1 }
    }
    return weights.count
  }

  // MARK: Weights and ranks, bit for bit as the kernels make them

  /// ``unit`` * exp((logit - largest) / temperature), rounded; off by less than 2e-9 of itself, and half.
  package func weight(of logit: Float, largest: Float) -> UInt64 {
    let below = (Double(largest) - Double(logit)) * steepness
    // 2^-41 of the largest is nothing.
    guard below < 41 else { return 0 }
    // Behind 2^20 a Double has 32 bits after the point.
    let bits = (below + 0x1p20).bitPattern
    let fraction = UInt32(truncatingIfNeeded: bits)
    let whole = bits >> 32 & 0xF_FFFF
    func times(_ power: UInt64) -> UInt64 { (power &* UInt64(fraction)) &>> 32 }
    // Through 2^-x at eight Chebyshev nodes of 0 ... 1, in 2^-32.
    var power: UInt64 = 0xB58D
    power = 0x9_A6A6 &- times(power)
    power = 0x57_04AF &- times(power)
    power = 0x276_2A6D &- times(power)
    power = 0xE35_7996 &- times(power)
    power = 0x3D7F_7AA6 &- times(power)
    power = 0xB172_17E7 &- times(power)
    power = 1 << 32 &- times(power)
    return (power << 8 &+ (1 &<< whole) / 2) &>> whole
  }

  /// Larger for what counts as more likely. -0 and 0 are one logit.
  private static func rank(_ logit: Float, _ id: Int) -> UInt64 {
    let bits = (logit + 0).bitPattern
    let ordered = bits >> 31 == 0 ? bits | 0x8000_0000 : ~bits
    return UInt64(ordered) << 32 | UInt64(~UInt32(truncatingIfNeeded: id))
  }

  private static func id(_ rank: UInt64) -> Int { Int(~UInt32(truncatingIfNeeded: rank)) }
}
