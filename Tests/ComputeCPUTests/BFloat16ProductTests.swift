import Compute
import ComputeCPU
import StoredNumbers
import Testing

@Suite struct `Products of bfloat16` {
  private static let backends = Result {
    (
      pairs: try CPUBackend(threads: 2, usesBFloat16Products: true),
      wide: try CPUBackend(threads: 2)
    )
  }

  private static let hasProducts = CPUBackend.hasBFloat16Products

  @Test func `are used where they are asked for and the processor has them, alone`() throws {
    let backends = try Self.backends.get()
    #expect((backends.pairs.bfloat16ProductName != nil) == Self.hasProducts)
    #expect(backends.wide.bfloat16ProductName == nil)
    let portable = try CPUBackend(
      threads: 1, instructionSet: .portable, usesBFloat16Products: true)
    #expect(portable.bfloat16ProductName == nil)
  }

  /// Values rounded to bfloat16, as a file holds them.
  private final class StoredMatrix: Sendable {
    private let bits: [UInt16]

    init(_ values: [Float]) { bits = values.map(\.bfloat16Bits) }

    func weight(_ backend: any Backend, _ shape: [Int]) throws -> Weight {
      try bits.withUnsafeBytes { raw in
        // The array is never written again, so its storage stays where it is.
        try backend.prepare(
          StoredTensor(
            name: "w", bytes: raw, format: .dense(.bfloat16), shape: shape, owner: self),
          as: .matrix)
      }
    }
  }

  private func product(
    _ backend: CPUBackend, x: [Float], weight: [Float], bias: [Float]?, rows: Int, accumulate: Bool
  ) throws -> [Float] {
    let (width, out) = (x.count / rows, weight.count / (x.count / rows))
    let y = try backend.tensor((0..<rows * out).map { Float($0 % 7) }, [rows, out])
    try backend.linear(
      try backend.tensor(x, [rows, width]),
      weight: try StoredMatrix(weight).weight(backend, [out, width]),
      bias: try bias.map { Weight(try backend.tensor($0, [out])) }, into: y,
      accumulate: accumulate)
    return try backend.read(y)
  }

  @Test(.enabled(if: hasProducts))
  func `of a few rows round activations as those of many do`() throws {
    let backends = try Self.backends.get()
    var random = RandomNumbers(seed: 7)
    let (rows, width, out) = (40, 514, 33)
    let x = random.floats(rows * width, in: -2...2)
    let weight = random.floats(out * width, in: -1...1)
    func run(_ backend: CPUBackend, _ count: Int) throws -> [Float] {
      try product(
        backend, x: Array(x[..<(count * width)]), weight: weight, bias: nil, rows: count,
        accumulate: false)
    }
    let all = try run(backends.pairs, rows)
    func difference(_ backend: CPUBackend, _ count: Int) throws -> Float {
      zip(try run(backend, count), all).map { abs($0 - $1) }.max() ?? .infinity
    }
    for count in [1, 2, 4, 5, 8] {
      // Sums of float32 in another order; the rounding of activations is much more.
      #expect(try difference(backends.pairs, count) < 1e-4)
      #expect(try difference(backends.wide, count) > 1e-3)
    }
  }

  @Test(.enabled(if: hasProducts))
  func `are those of float32 for activations that bfloat16 holds, whatever the shape`() throws {
    let backends = try Self.backends.get()
    var random = RandomNumbers(seed: 31)
    for (rows, width, out) in [
      (5, 96, 40), (9, 2, 1), (12, 64, 32), (13, 510, 33), (18, 96, 40), (24, 512, 31),
      (100, 514, 100), (37, 1030, 64), (300, 30_000, 5),
    ] {
      let x = random.floats(rows * width, in: -2...2).map {
        Float(bfloat16Bits: $0.bfloat16Bits)
      }
      let weight = random.floats(out * width, in: -1...1)
      let bias = Bool.random(using: &random) ? random.floats(out, in: -1...1) : nil
      for accumulate in [false, true] {
        func run(_ backend: CPUBackend) throws -> [Float] {
          try product(
            backend, x: x, weight: weight, bias: bias, rows: rows, accumulate: accumulate)
        }
        let error = relativeError(try run(backends.pairs), try run(backends.wide))
        #expect(error < 1e-5, "\(rows) x \(width) x \(out)")
      }
    }
  }

  @Test(.enabled(if: hasProducts))
  func `lose what rounding the activations loses, and rows do not depend on their neighbours`()
    throws
  {
    let backends = try Self.backends.get()
    var random = RandomNumbers(seed: 37)
    let (rows, width, out) = (40, 512, 64)
    let x = random.floats(rows * width, in: -2...2)
    let weight = random.floats(out * width, in: -1...1)
    func run(_ backend: CPUBackend, _ x: [Float]) throws -> [Float] {
      try product(
        backend, x: x, weight: weight, bias: nil, rows: x.count / width, accumulate: false)
    }
    let all = try run(backends.pairs, x)
    let error = relativeError(all, try run(backends.wide, x))
    #expect(error > 1e-5 && error < 5e-3)
    #expect(
      try run(backends.pairs, Array(x[5 * width..<30 * width])) == Array(all[5 * out..<30 * out]))
  }
}
