import Compute
import ComputeCPU
import StoredNumbers
import Testing

/// Products and gathers over matrices in blocks, against the definition of each format.
@Suite struct BlockKernelTests {
  /// Blocks of random integers with scales of ordinary size.
  private final class Blocks: Sendable {
    let bytes: [UInt8]
    let format: BlockFormat
    let rows: Int
    let width: Int

    init(_ format: BlockFormat, rows: Int, width: Int, _ random: inout RandomNumbers) {
      self.format = format
      self.rows = rows
      self.width = width
      let count = rows * width / format.elementsPerBlock
      var bytes: [UInt8] = []
      for _ in 0..<count {
        var block = (0..<format.bytesPerBlock).map { _ in UInt8.random(in: 0...255, using: &random)
        }
        for offset in Self.halves(format) {
          // Between 2^-7 and 2^-5, of either sign.
          block[offset] = UInt8.random(in: 0...255, using: &random)
          block[offset + 1] =
            UInt8.random(in: 0x20...0x27, using: &random) | (Bool.random(using: &random) ? 0x80 : 0)
        }
        if format == .mxfp4 { block[0] = UInt8.random(in: 118...124, using: &random) }
        bytes += block
      }
      self.bytes = bytes
    }

    /// Where the scales of a block are.
    private static func halves(_ format: BlockFormat) -> [Int] {
      switch format {
      case .q40, .q50, .q80, .iq4NL, .iq4XS: [0]
      case .q41, .q51, .q4K, .q5K: [0, 2]
      case .q2K: [80, 82]
      case .q3K: [108]
      case .q6K: [208]
      case .mxfp4: []
      }
    }

    /// [rows * width], by the definition.
    var values: [Double] { bytes.withUnsafeBytes { format.decodedRow($0) } }

    func weight(_ backend: any Backend) throws -> Weight {
      try bytes.withUnsafeBytes { raw in
        // The array is never written again, so its storage stays where it is.
        try backend.prepare(
          StoredTensor(
            name: "w", bytes: raw, format: .blocks(format), shape: [rows, width], owner: self),
          as: .matrix)
      }
    }
  }

  private static let sets = InstructionSet.available

  /// Activations that 8 bits with a scale for each 32 hold exactly: products are exact too.
  private func eightBitNumbers(_ count: Int, _ random: inout RandomNumbers) -> [Float] {
    var scale: Float = 1
    return (0..<count).map { index in
      guard index % 32 == 0 else {
        return Float(Int.random(in: -127...127, using: &random)) * scale
      }
      scale = random.pick([1 / 32, 1 / 64, 1 / 256])
      return random.pick([127, -127]) * scale
    }
  }

  @Test(
    "Products of few rows and of many are those of the decoded matrix",
    arguments: sets, BlockFormat.allCases)
  func multiplies(set: InstructionSet, format: BlockFormat) throws {
    var random = RandomNumbers(seed: 31)
    let cpu = try CPUBackend(threads: 2, instructionSet: set, useBLAS: false)
    for rows in [1, 2, 3, 7, 40] {
      for blockCount in [1, 2, 5, 11] {
        let width = format.elementsPerBlock * blockCount
        let out = random.pick([1, 7, 64, 130])
        let blocks = Blocks(format, rows: out, width: width, &random)
        let x = eightBitNumbers(rows * width, &random)
        let bias = random.floats(out)
        let start = random.floats(rows * out)
        let accumulate = Bool.random(using: &random)
        let hasBias = Bool.random(using: &random)
        let y = try cpu.tensor(accumulate ? start : start.map { _ in .nan }, [rows, out])
        try cpu.linear(
          try cpu.tensor(x, [rows, width]), weight: try blocks.weight(cpu),
          bias: hasBias ? Weight(try cpu.tensor(bias, [out])) : nil, into: y,
          accumulate: accumulate)
        let values = blocks.values
        let isRight = try cpu.read(y).enumerated().map { index, actual in
          let (row, column) = index.quotientAndRemainder(dividingBy: out)
          var sum = (hasBias ? Double(bias[column]) : 0) + (accumulate ? Double(start[index]) : 0)
          var size = abs(sum)
          for i in 0..<width {
            let product = Double(x[row * width + i]) * values[column * width + i]
            sum += product
            size += abs(product)
          }
          return abs(Double(actual) - sum) <= 1e-6 * size
        }
        #expect(!isRight.contains(false), "\(rows) rows of \(width)")
      }
    }
  }

  @Test("Rows of a decoding step are bit for bit as they are alone", arguments: sets)
  func keepsRows(set: InstructionSet) throws {
    var random = RandomNumbers(seed: 35)
    let cpu = try CPUBackend(threads: 2, instructionSet: set)
    for format in BlockFormat.allCases {
      for rows in [2, 3, 9] {
        let (width, out) = (format.elementsPerBlock * 5, 70)
        let weight = try Blocks(format, rows: out, width: width, &random).weight(cpu)
        let x = try cpu.tensor(random.floats(rows * width), [rows, width])
        let bias = Weight(try cpu.tensor(random.floats(out), [out]))
        func product(_ rows: Range<Int>) throws -> [Float] {
          let y = try cpu.tensor([Float](repeating: 1, count: rows.count * out), [rows.count, out])
          try cpu.rowLinear(
            x.slice(rows: rows), weight: weight, bias: bias, into: y, accumulate: true)
          return try cpu.read(y)
        }
        let alone = try (0..<rows).flatMap { try product($0..<$0 + 1) }
        #expect(try product(0..<rows) == alone, "\(format.rawValue), \(rows) rows")
      }
    }
  }

  @Test("Any activations are rounded by at most half a step of their 32", arguments: sets)
  func rounds(set: InstructionSet) throws {
    var random = RandomNumbers(seed: 33)
    let cpu = try CPUBackend(threads: 2, instructionSet: set)
    for format in BlockFormat.allCases {
      for rows in [1, 5] {
        let width = format.elementsPerBlock * 3
        let out = 40
        let blocks = Blocks(format, rows: out, width: width, &random)
        // A few large ones among small ones, as hidden states have them; and a group of zeros.
        var x = random.floats(rows * width).map { random.pick([1, 1, 1, 1, 50]) * $0 }
        for index in 0..<32 { x[index] = 0 }
        let y = try cpu.tensor([Float](repeating: .nan, count: rows * out), [rows, out])
        try cpu.linear(
          try cpu.tensor(x, [rows, width]), weight: try blocks.weight(cpu), bias: nil, into: y,
          accumulate: false)
        let values = blocks.values
        for (index, actual) in try cpu.read(y).enumerated() {
          let (row, column) = index.quotientAndRemainder(dividingBy: out)
          var (sum, size, rounding) = (0.0, 0.0, 0.0)
          for group in stride(from: 0, to: width, by: 32) {
            let elements = x[row * width + group..<row * width + group + 32].map(Double.init)
            let weights = values[column * width + group..<column * width + group + 32]
            let step = (elements.map(abs).max() ?? 0) / 127
            for (element, weight) in zip(elements, weights) {
              sum += element * weight
              size += abs(element * weight)
              rounding += step / 2 * abs(weight)
            }
          }
          #expect(abs(Double(actual) - sum) <= rounding + 1e-5 * size, "\(format.rawValue)")
        }
      }
    }
  }

  @Test("An activation that is no number makes its row's outputs none", arguments: sets)
  func passesOnNothing(set: InstructionSet) throws {
    var random = RandomNumbers(seed: 34)
    let cpu = try CPUBackend(threads: 1, instructionSet: set)
    for (format, bad) in [(BlockFormat.q80, Float.nan), (.q4K, .infinity), (.q6K, -.infinity)] {
      let width = format.elementsPerBlock * 2
      let blocks = Blocks(format, rows: 3, width: width, &random)
      for rows in [1, 4] {
        var x = random.floats(rows * width)
        x[width - 3] = bad
        let y = try cpu.tensor([Float](repeating: 0, count: rows * 3), [rows, 3])
        try cpu.linear(
          try cpu.tensor(x, [rows, width]), weight: try blocks.weight(cpu), bias: nil, into: y,
          accumulate: false)
        let values = try cpu.read(y)
        let isNone = values.map(\.isNaN)
        #expect(isNone == (0..<rows * 3).map { $0 < 3 })
      }
    }
  }

  @Test("Rows of a table and slices of a matrix are those of the decoded one", arguments: sets)
  func gathers(set: InstructionSet) throws {
    var random = RandomNumbers(seed: 32)
    let cpu = try CPUBackend(threads: 2, instructionSet: set)
    for format in BlockFormat.allCases {
      let width = format.elementsPerBlock * 3
      let blocks = Blocks(format, rows: 9, width: width, &random)
      let values = blocks.values
      func row(_ index: Int) -> ArraySlice<Double> { values[index * width..<(index + 1) * width] }
      let ids: [Int32] = [8, 0, 3, 3]
      let x = try cpu.tensor(
        [Float](repeating: .nan, count: ids.count * width), [ids.count, width])
      try cpu.embed(ids, table: try blocks.weight(cpu), into: x)
      let expected = ids.flatMap { row(Int($0)) }.map { Float($0) }
      #expect(relativeError(try cpu.read(x), expected) < 1e-6, "\(format.rawValue)")

      let y = try cpu.tensor([.nan, .nan], [1, 2])
      let ones = try cpu.tensor([Float](repeating: 1, count: width), [1, width])
      try cpu.linear(
        ones, weight: try blocks.weight(cpu).slice(rows: 4..<6), bias: nil, into: y,
        accumulate: false)
      let sums = [4, 5].map { Float(row($0).reduce(0, +)) }
      #expect(relativeError(try cpu.read(y), sums) < 1e-4, "\(format.rawValue)")
    }
  }
}
