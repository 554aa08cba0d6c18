import Compute
import ComputeCPU
import Testing

@Suite struct `Layer kernels` {
  static let sets = InstructionSet.available

  /// Runs the same work on the CPU and on the reference, and gives the relative error.
  private func error(
    _ cpu: CPUBackend, _ work: (any Backend) throws -> [Float]
  ) throws -> Double {
    relativeError(try work(cpu), try work(ReferenceBackend()))
  }

  /// Values stored as `type`, on any backend.
  private final class Bytes: Sendable {
    let bytes: [UInt8]
    init(_ values: [Float], as type: DataType) {
      bytes = values.flatMap { value -> [UInt8] in
        switch type {
        case .bfloat16:
          return withUnsafeBytes(of: UInt16(value.bitPattern >> 16).littleEndian) { Array($0) }
        case .float16:
          // Exact for the multiples of 1/64 below 2 that the tests store.
          return withUnsafeBytes(of: Bytes.half(value).littleEndian) { Array($0) }
        default: return withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) }
        }
      }
    }
    static func half(_ value: Float) -> UInt16 {
      let sign: UInt16 = value.sign == .minus ? 0x8000 : 0
      guard value != 0 else { return sign }
      let bits = value.bitPattern
      let exponent = Int((bits >> 23) & 255) - 127 + 15
      return sign | UInt16(exponent << 10) | UInt16((bits & 0x7fffff) >> 13)
    }
    func weight(
      _ backend: any Backend, _ type: DataType, _ shape: [Int], as role: WeightRole
    ) throws -> Weight {
      try bytes.withUnsafeBytes { raw in
        // The array is never written again, so its storage stays where it is.
        try backend.prepare(
          StoredTensor(
            name: "a test", bytes: raw, format: .dense(type), shape: shape, owner: self), as: role)
      }
    }
  }

  private func sixtyFourths(_ count: Int, _ random: inout RandomNumbers) -> [Float] {
    (0..<count).map { _ in Float(Int.random(in: -100...100, using: &random)) / 64 }
  }

  @Test(arguments: sets)
  func `rows of a decoding step are bit for bit as they are alone`(set: InstructionSet) throws {
    var random = RandomNumbers(seed: 27)
    let cpu = try CPUBackend(threads: 2, instructionSet: set)
    for type in [DataType.float32, .float16, .bfloat16] {
      for (rows, width, out) in [
        (2, 40, 33), (3, 128, 70), (9, 50, 200), (17, 1000, 300), (5, 4133, 21),
      ] {
        let weight = try Bytes(sixtyFourths(out * width, &random), as: type)
          .weight(cpu, type, [out, width], as: .matrix)
        let x = try cpu.tensor(random.floats(rows * width), [rows, width])
        func product(_ rows: Range<Int>) throws -> [Float] {
          let y = try cpu.tensor([Float](repeating: 1, count: rows.count * out), [rows.count, out])
          try cpu.rowLinear(
            x.slice(rows: rows), weight: weight, bias: nil, into: y, accumulate: true)
          return try cpu.read(y)
        }
        let alone = try (0..<rows).flatMap { try product($0..<$0 + 1) }
        #expect(try product(0..<rows) == alone, "\(type.rawValue), \(rows) rows")
      }
    }
  }

  @Test(arguments: sets, [true, false])
  func `multiply with weights of every type, for few rows and many`(
    set: InstructionSet, useBLAS: Bool
  ) throws {
    var random = RandomNumbers(seed: 21)
    let cpu = try CPUBackend(threads: 2, instructionSet: set, useBLAS: useBLAS)
    for type in [DataType.float32, .float16, .bfloat16] {
      for rows in [1, 2, 3, 5, 8, 9, 40, 131] {
        // Few rows of long ones are summed otherwise.
        let width = random.pick([1, 7, 64, 96, 385] + (rows <= 8 ? [4133] : []))
        let out = random.pick([1, 5, 64, 200])
        let weight = Bytes(sixtyFourths(width * out, &random), as: type)
        let x = random.floats(rows * width)
        let bias = random.floats(out)
        let start = random.floats(rows * out)
        let accumulate = Bool.random(using: &random)
        let hasBias = Bool.random(using: &random)
        let worst = try error(cpu) { backend in
          let y = try backend.tensor(accumulate ? start : start.map { _ in .nan }, [rows, out])
          try backend.linear(
            try backend.tensor(x, [rows, width]),
            weight: try weight.weight(backend, type, [out, width], as: .matrix),
            bias: hasBias ? Weight(try backend.tensor(bias, [out])) : nil, into: y,
            accumulate: accumulate)
          return try backend.read(y)
        }
        #expect(worst < 2e-6)
      }
    }
  }

  @Test(arguments: sets)
  func `normalise, rotate, gate, embed and store`(set: InstructionSet) throws {
    var random = RandomNumbers(seed: 2)
    let cpu = try CPUBackend(threads: 2, instructionSet: set)
    for (rows, width) in [(1, 64), (40, 384), (3, 37), (70, 100)] {
      let x = random.floats(rows * width, in: -30...30)
      let up = random.floats(rows * width)
      let weight = random.floats(width)
      #expect(
        try error(cpu) { backend in
          let y = try backend.tensor(x.map { _ in .nan }, [rows, width])
          try backend.rmsNorm(
            try backend.tensor(x, [rows, width]),
            weight: Weight(try backend.tensor(weight, [width])),
            epsilon: 1e-5, into: y)
          return try backend.read(y)
        } < 1e-6)
      #expect(
        try error(cpu) { backend in
          let gate = try backend.tensor(x.map { $0 * 4 }, [rows, width])
          try backend.swiGLU(gate: gate, up: try backend.tensor(up, [rows, width]))
          return try backend.read(gate)
        } < 1e-6)
    }
    for layout in [RotaryEmbedding.Layout.halves, .interleaved] {
      for (rows, heads, dim, pairs) in [(1, 1, 64, 32), (70, 3, 96, 48), (33, 2, 64, 16)] {
        let x = random.floats(rows * heads * dim)
        let rotary = RotaryEmbedding(
          inverseFrequencies: (0..<pairs).map { 1 / Float(1 + 3 * $0) }, attentionScaling: 1.2,
          layout: layout)
        #expect(
          try error(cpu) { backend in
            let tensor = try backend.tensor(x, [rows, heads, dim])
            try backend.rotate(tensor, rotary, firstPosition: 1000)
            return try backend.read(tensor)
          } < 1e-6)
      }
    }
    for type in [DataType.float32, .float16, .bfloat16] {
      let table = Bytes(sixtyFourths(50 * 40, &random), as: type)
      #expect(
        try error(cpu) { backend in
          let x = try backend.tensor([Float](repeating: .nan, count: 120), [3, 40])
          try backend.embed(
            [49, 0, 7], table: try table.weight(backend, type, [50, 40], as: .vocabulary),
            into: x)
          return try backend.read(x)
        } == 0)
    }
    #expect(throws: ComputeError.self) {
      let x = try cpu.tensor([0, 0], [1, 2])
      try cpu.embed([5], table: Weight(try cpu.tensor([1, 2, 3, 4], [2, 2])), into: x)
    }
  }

  @Test(arguments: sets)
  func `pool blocks of rows and keys`(set: InstructionSet) throws {
    var random = RandomNumbers(seed: 8)
    let cpu = try CPUBackend(threads: 2, instructionSet: set)
    for type in [DataType.float32, .bfloat16] {
      let problem = AttentionProblem(
        shape: AttentionShape(queryHeads: 4, keyValueHeads: 2, headDim: 64), firstPosition: 0,
        rows: 201, type: type, random: &random)
      #expect(
        try error(cpu) { backend in
          try backend.read(backend.meanPooled(problem.queries(on: backend), blockSize: 64))
            + backend.read(
              backend.meanPooledKeys(problem.layer(on: backend), count: 130, blockSize: 64))
        } < 1e-6)
    }
  }

  @Test(arguments: sets)
  func `gather rows in any order, also repeated ones`(set: InstructionSet) throws {
    let cpu = try CPUBackend(threads: 2, instructionSet: set)
    let x = (0..<300 * 6).map { Float($0) * 0.37 }
    let rows = (0..<201).map { Int32($0 * 37 % 300) } + [0, 299, 299]
    for backend in [cpu, ReferenceBackend()] as [any Backend] {
      let source = try backend.tensor(x, [300, 2, 3])
      let target = try backend.makeTensor(.float32, [rows.count, 2, 3], purpose: "test")
      try backend.gatherRows(source, rows: rows, into: target)
      #expect(
        try backend.read(target) == rows.flatMap { x[Int($0) * 6..<(Int($0) + 1) * 6] })
      #expect(throws: ComputeError.self) {
        try backend.gatherRows(source, rows: [0, 300], into: target.slice(rows: 0..<2))
      }
      #expect(throws: ComputeError.self) {
        try backend.gatherRows(source, rows: [0], into: target.slice(rows: 0..<2))
      }
    }
  }

  @Test func `round to bfloat16 to the nearest, ties to even, and keep NaN`() throws {
    let cpu = try CPUBackend(threads: 1)
    let values: [Float] = [
      1, 1 + 0x1p-8, 1 + 3 * 0x1p-8, -1 - 0x1p-9, 3.4e38, .infinity, .nan,
    ]
    for backend in [cpu, ReferenceBackend()] as [any Backend] {
      let shape = [1, 1, values.count]
      let cache = try backend.makeTensor(.bfloat16, shape, purpose: "test")
      let other = try backend.makeTensor(.bfloat16, shape, purpose: "test")
      let rows = try backend.tensor(values, shape)
      try backend.store(
        k: rows, v: rows, in: KeyValueLayer(keys: cache, values: other, count: 1), firstPosition: 0)
      let back = try backend.read(cache)
      #expect(back[0] == 1 && back[1] == 1 && back[2] == 1 + 0x1p-6 && back[3] == -1)
      #expect(back[5] == .infinity && back[6].isNaN)
    }
  }
}
