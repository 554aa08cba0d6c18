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

  @Test(
    "Products of few rows and of many are those of the decoded matrix",
    arguments: sets, BlockFormat.allCases)
  func multiplies(set: InstructionSet, format: BlockFormat) throws {
    var random = RandomNumbers(seed: 31)
    for useBLAS in [true, false] {
      let cpu = try CPUBackend(threads: 2, instructionSet: set, useBLAS: useBLAS)
      for rows in [1, 3, 8, 9, 40] {
        let width = format.elementsPerBlock * random.pick([1, 2, 5])
        let out = random.pick([1, 7, 64, 130])
        let blocks = Blocks(format, rows: out, width: width, &random)
        let x = random.floats(rows * width)
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
        let expected = (0..<rows * out).map { index -> Float in
          let (row, column) = index.quotientAndRemainder(dividingBy: out)
          var sum = (hasBias ? Double(bias[column]) : 0) + (accumulate ? Double(start[index]) : 0)
          for i in 0..<width { sum += Double(x[row * width + i]) * values[column * width + i] }
          return Float(sum)
        }
        #expect(relativeError(try cpu.read(y), expected) < 3e-6, "\(rows) rows")
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
