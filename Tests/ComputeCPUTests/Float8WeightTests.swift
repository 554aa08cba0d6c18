import Compute
import ComputeCPU
import StoredNumbers
import Testing

/// Products with matrices of float8 that have a scale for each block.
@Suite struct Float8WeightTests {
  private final class Matrix: Sendable {
    let bytes: [UInt8]
    let shape: [Int]
    let scales: StoredScales

    init(_ shape: [Int], blockRows: Int, blockColumns: Int, _ random: inout RandomNumbers) {
      self.shape = shape
      bytes = (0..<shape[0] * shape[1]).map { _ in
        random.pick([0, 0x80]) | UInt8.random(in: 0..<0x7F, using: &random)
      }
      let count =
        (shape[0] + blockRows - 1) / blockRows * ((shape[1] + blockColumns - 1) / blockColumns)
      scales = StoredScales(
        values: random.floats(count, in: 0.001...0.01), rows: blockRows, columns: blockColumns)
    }

    func value(_ row: Int, _ column: Int) -> Double {
      let across = (shape[1] + scales.columns - 1) / scales.columns
      let factor = scales.values[row / scales.rows * across + column / scales.columns]
      return Double(Float(float8Bits: bytes[row * shape[1] + column])) * Double(factor)
    }

    func weight(_ backend: any Backend) throws -> Weight {
      try bytes.withUnsafeBytes { raw in
        // The array is never written again, so its storage stays where it is.
        try backend.prepare(
          StoredTensor(
            name: "w", bytes: raw, format: .dense(.float8), shape: shape, owner: self,
            scales: scales), as: .matrix)
      }
    }
  }

  @Test(
    "Rows of a decoding step are bit for bit as they are alone",
    arguments: InstructionSet.available)
  func keepsRows(set: InstructionSet) throws {
    var random = RandomNumbers(seed: 43)
    let cpu = try CPUBackend(threads: 2, instructionSet: set)
    for (rows, outputs, inputs) in [(2, 70, 136), (9, 40, 64), (17, 130, 300)] {
      let weight = try Matrix([outputs, inputs], blockRows: 32, blockColumns: 64, &random)
        .weight(cpu)
      let x = try cpu.tensor(random.floats(rows * inputs), [rows, inputs])
      func product(_ rows: Range<Int>) throws -> [Float] {
        let y = try cpu.tensor(
          [Float](repeating: .nan, count: rows.count * outputs), [rows.count, outputs])
        try cpu.rowLinear(
          x.slice(rows: rows), weight: weight, bias: nil, into: y, accumulate: false)
        return try cpu.read(y)
      }
      #expect(
        try product(0..<rows) == (0..<rows).flatMap { try product($0..<$0 + 1) }, "\(rows) rows")
    }
  }

  @Test(
    "Products of few rows and of many, and of slices, are those of the scaled matrix",
    arguments: InstructionSet.available)
  func multiplies(set: InstructionSet) throws {
    var random = RandomNumbers(seed: 41)
    let cpu = try CPUBackend(threads: 2, instructionSet: set)
    for (rows, outputs, inputs, blockRows, blockColumns) in [
      (1, 70, 136, 32, 64), (3, 9, 33, 1, 33), (20, 130, 300, 128, 128), (9, 40, 64, 40, 64),
    ] {
      let matrix = Matrix(
        [outputs, inputs], blockRows: blockRows, blockColumns: blockColumns, &random)
      let x = random.floats(rows * inputs)
      let bias = random.floats(outputs)
      for first in [0, outputs / 3] {
        let count = outputs - first
        let y = try cpu.tensor([Float](repeating: .nan, count: rows * count), [rows, count])
        try cpu.linear(
          try cpu.tensor(x, [rows, inputs]),
          weight: try matrix.weight(cpu).slice(rows: first..<outputs),
          bias: Weight(try cpu.tensor(Array(bias[first...]), [count])), into: y,
          accumulate: false)
        let expected = (0..<rows * count).map { index -> Float in
          let (row, column) = index.quotientAndRemainder(dividingBy: count)
          var sum = Double(bias[first + column])
          for i in 0..<inputs {
            sum += Double(x[row * inputs + i]) * matrix.value(first + column, i)
          }
          return Float(sum)
        }
        #expect(relativeError(try cpu.read(y), expected) < 3e-6, "\(rows) rows from \(first)")
      }
    }
  }

  @Test("Scales that do not suit the matrix are refused")
  func refuses() throws {
    var random = RandomNumbers(seed: 42)
    let cpu = try CPUBackend(threads: 1)
    let matrix = Matrix([8, 8], blockRows: 4, blockColumns: 4, &random)
    #expect(throws: ComputeError.self) {
      try matrix.bytes.withUnsafeBytes { raw in
        try StoredTensor(
          name: "w", bytes: raw, format: .dense(.float8), shape: [8, 8], owner: matrix,
          scales: StoredScales(values: [1], rows: 4, columns: 4))
      }
    }
    // Without scales they are no weights.
    #expect(throws: ComputeError.self) {
      try matrix.bytes.withUnsafeBytes { raw in
        try cpu.prepare(
          StoredTensor(
            name: "w", bytes: raw, format: .dense(.float8), shape: [8, 8], owner: matrix),
          as: .matrix)
      }
    }
  }
}
