import Compute
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

@Suite struct TokenDrawTests {
  /// SplitMix64, as the emulated kernel's check draws.
  struct Numbers {
    var state: UInt64

    mutating func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      var mixed = state
      mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
      mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
      return mixed ^ mixed >> 31
    }
  }

  private func kept(
    _ logits: [Float], topK: Int = 0, topP: Float = 1, minP: Float = 0
  ) -> [Int32] {
    TokenDraw(temperature: 1, topK: topK, topP: topP, minP: minP).keptWeights(logits[...])
      .enumerated().filter { $1 > 0 }.map { Int32($0.offset) }
  }

  @Test func `weights are exponentials to nine digits`() {
    let draw = TokenDraw(temperature: 0.7)
    for step in 0..<4000 {
      let logit = 5 - Float(step) / 200
      let expected = exp((Double(logit) - 5) / Double(Float(0.7))) * 0x1p40
      let found = Double(draw.weight(of: logit, largest: 5))
      #expect(abs(found - expected) <= 2e-9 * expected + 0.5)
    }
    #expect(draw.weight(of: 5, largest: 5) == TokenDraw.unit)
    #expect(draw.weight(of: -.infinity, largest: 5) == 0)
    #expect(draw.weight(of: -.greatestFiniteMagnitude, largest: .greatestFiniteMagnitude) == 0)
    let cold = TokenDraw(temperature: .leastNonzeroMagnitude)
    #expect(cold.weight(of: 5, largest: 5) == TokenDraw.unit)
    #expect(cold.weight(of: Float(5).nextDown, largest: 5) == 0)
  }

  @Test func `weights never rise where logits fall`() {
    let draw = TokenDraw(temperature: 1)
    var last = UInt64.max
    for step in 0..<200_000 {
      let weight = draw.weight(of: -Float(step) / 6000, largest: 0)
      #expect(weight <= last)
      last = weight
    }
    #expect(last == 0)
  }

  @Test func `top-k keeps the k largest, the lower id of equals`() {
    #expect(kept([1, 2, 2, 2], topK: 2) == [1, 2])
    #expect(kept([0, 0.1, 0], topK: 1) == [1])
    #expect(kept([-0.0, 0, -0.0], topK: 2) == [0, 1])
    #expect(kept([1, 2], topK: 5) == [0, 1])
  }

  @Test func `top-p keeps the smallest set that reaches it`() {
    // Probabilities 1/8, 1/2, 1/4, 1/8.
    let logits: [Float] = [0, 1.3862944, 0.6931472, 0]
    #expect(kept(logits, topP: 0.01) == [1])
    #expect(kept(logits, topP: 0.49) == [1])
    #expect(kept(logits, topP: 0.6) == [1, 2])
    #expect(kept(logits, topP: 0.8) == [0, 1, 2])
    #expect(kept(logits, topP: 1) == [0, 1, 2, 3])
    // The share is of what top-k left: a half of 3/4.
    #expect(kept(logits, topK: 2, topP: 0.7) == [1, 2])
    #expect(kept(logits, topK: 2, topP: 0.6) == [1])
    // Four equals weigh exactly a quarter each, and the half of them is reached by two.
    #expect(kept([3, 3, 3, 3], topP: 0.5) == [0, 1])
    #expect(kept([3, 3, 3, 3], topP: 0.51) == [0, 1, 2])
  }

  @Test func `min-p drops what is below its share of the most likely`() {
    let logits: [Float] = [0, 1.3862944, 0.6931472, 0]
    #expect(kept(logits, minP: 0.3) == [1, 2])
    #expect(kept(logits, minP: 1) == [1])
    #expect(kept([2, 1, 2], minP: 1) == [0, 2])
  }

  @Test func `a draw takes the first id at which the running weight exceeds the random share`() {
    let draw = TokenDraw(temperature: 1)
    let logits: [Float] = [-.infinity, 1, 1, -.infinity, 1, 1, -.infinity]
    let quarter = UInt64(1) << 62
    for (random, id) in [
      (0, 1), (quarter - 1, 1), (quarter, 2), (2 * quarter, 4), (3 * quarter, 5), (.max, 5),
    ] {
      #expect(draw.choose(from: logits[...], random: random) == Int32(id))
    }
    // A slice counts ids from its own start.
    #expect(draw.choose(from: logits[4...], random: 0) == 0)
  }

  @Test func `rows without an answer have none`() {
    let draw = TokenDraw(temperature: 1, topK: 1, topP: 0.5)
    for logits in [[1, Float.nan], [.infinity, 0], [-.infinity], []] {
      #expect(draw.choose(from: logits[...], random: 7) == nil)
    }
  }

  /// Tests/EmulatedKernels/run_sampling.sh prints the same hash: the host and the kernel agree in every id.
  @Test func `ids are those that the emulated kernel draws`() {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for number in 0..<112 {
      var numbers = Numbers(state: 1_000_003 + UInt64(number))
      var logits = [Float](repeating: 0, count: [1, 2, 31, 33, 1000, 1025, 5003][number % 7])
      let kind = number / 7 % 4
      for id in logits.indices {
        logits[id] = Float(numbers.next() >> 44) * 0x1p-16 - 8
        if kind == 1 { logits[id].round(.down) }
        if kind == 2 { logits[id] *= 64 }
        if kind == 3, numbers.next() & 3 != 0 { logits[id] = -.infinity }
      }
      if kind == 3 { logits[logits.count / 2] = -0.0 }
      let temperature = Float(1 + Int(numbers.next() & 7)) / 4
      let topK = numbers.next() & 1 != 0 ? 0 : 1 + Int(numbers.next() % 60)
      let topP = numbers.next() & 1 != 0 ? 1 : Float(1 + Int(numbers.next() % 63)) / 64
      let minP = numbers.next() & 3 != 0 ? 0 : Float(numbers.next() & 15) / 64
      let draw = TokenDraw(temperature: temperature, topK: topK, topP: topP, minP: minP)
      let id = draw.choose(from: logits[...], random: numbers.next()) ?? -1
      hash = (hash ^ UInt64(UInt32(bitPattern: id))) &* 0x100_0000_01b3
    }
    #expect(hash == 0xf076_836a_dae2_0fed)
  }
}
