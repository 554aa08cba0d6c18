import Compute
import ComputeCPU
import StoredNumbers
import Testing

@Suite struct `Products of bfloat16` {
  private static let backends = Result {
    (
      pairs: try CPUBackend(threads: 2, usesBFloat16Products: true),
      single: try CPUBackend(threads: 1, usesBFloat16Products: true),
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

    private let offset: Int

    /// - Parameter offset: Elements before the matrix; a file puts it anywhere.
    init(_ values: [Float], offset: Int = 0) {
      bits = Array(repeating: 0x7fc0, count: offset) + values.map(\.bfloat16Bits)
      self.offset = offset
    }

    func weight(_ backend: any Backend, _ shape: [Int]) throws -> Weight {
      try bits.withUnsafeBytes { raw in
        // The array is never written again, so its storage stays where it is.
        try backend.prepare(
          StoredTensor(
            name: "w", bytes: UnsafeRawBufferPointer(rebasing: raw[(2 * offset)...]),
            format: .dense(.bfloat16), shape: shape, owner: self),
          as: .matrix)
      }
    }
  }

  /// - Parameter decodes: Whether the product is that of a decoding step.
  private func product(
    _ backend: CPUBackend, x: [Float], weight: [Float], offset: Int = 0, bias: [Float]?, rows: Int,
    accumulate: Bool, decodes: Bool = false
  ) throws -> [Float] {
    let (width, out) = (x.count / rows, weight.count / (x.count / rows))
    let y = try backend.tensor((0..<rows * out).map { Float($0 % out % 7) }, [rows, out])
    let operands = (
      x: try backend.tensor(x, [rows, width]),
      weight: try StoredMatrix(weight, offset: offset).weight(backend, [out, width]),
      bias: try bias.map { Weight(try backend.tensor($0, [out])) }
    )
    if decodes {
      try backend.rowLinear(
        operands.x, weight: operands.weight, bias: operands.bias, into: y, accumulate: accumulate)
    } else {
      try backend.linear(
        operands.x, weight: operands.weight, bias: operands.bias, into: y, accumulate: accumulate)
    }
    return try backend.read(y)
  }

  @Test(.enabled(if: hasProducts))
  func `give a row bit for bit the same, whatever the number of rows, and in decoding`() throws {
    let backends = try Self.backends.get()
    var random = RandomNumbers(seed: 7)
    // Pairs of whole tiles and of parts of one, outputs of whole groups and panels and of parts; matrices that begin
    // at a line of the cache's, within one and between pairs.
    for (width, out, offset) in [
      (2, 1, 0), (30, 16, 4), (96, 40, 0), (514, 33, 4), (1030, 64, 0), (1570, 100, 1),
      (2048, 31, 4),
      (2048, 48, 1), (2080, 17, 28),
    ] {
      let rows = 40
      let x = random.floats(rows * width, in: -2...2)
      let weight = random.floats(out * width, in: -1...1)
      let bias = random.floats(out, in: -1...1)
      for (bias, accumulate) in [(nil, false), (bias, false), (nil, true), (bias, true)] {
        func run(_ backend: CPUBackend, _ count: Int, decodes: Bool = false) throws -> [Float] {
          try product(
            backend, x: Array(x[..<(count * width)]), weight: weight, offset: offset, bias: bias,
            rows: count, accumulate: accumulate, decodes: decodes)
        }
        let all = try run(backends.pairs, rows)
        #expect(all.allSatisfy { $0.isFinite })
        for count in Array(1...13) + [16, 17, 21] {
          let wanted = Array(all[..<(count * out)])
          let shape = "\(count) x \(width) x \(out)"
          #expect(try run(backends.pairs, count) == wanted, "\(shape)")
          #expect(try run(backends.single, count) == wanted, "\(shape), one thread")
          #expect(try run(backends.pairs, count, decodes: true) == wanted, "\(shape), decoding")
        }
      }
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
