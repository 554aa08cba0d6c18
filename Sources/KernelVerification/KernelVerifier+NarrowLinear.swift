import MInference

/// Linear layers in eight bits, and what quantizes their inputs.
///
/// Each is held against two references: the same arithmetic on numbers quantized alike (``Float8Rows``),
/// which shows a fault, and the plain product ("whole"), which shows what eight bits cost.
extension KernelVerifier {
  /// Errors relative to the largest expected value of the row. Of the quantized arithmetic: the result's rounding to
  /// bfloat16, and sums of fewer bits than float32 (``LinearPrecision/fp8``). Of a single number: half a
  /// step of e4m3, 16 of 448, and the rounding to bfloat16 before. Of the plain product: rounding errors of
  /// up to 2^-4 of each factor, which add up like noise.
  private enum Tolerance {
    static let quantized = 1.5e-2
    static let number = 4e-2
    static let whole = 0.1
  }

  var hasNarrowLinear: Bool { backend.capabilities.hasNarrowLinearInputs }

  mutating func checkNarrowLinear() {
    for (rows, inputs, outputs) in [
      (1, 48, 144), (1, 384, 144), (2, 64, 48), (7, 4096, 128), (65, 96, 2048), (131, 1040, 272),
    ] {
      for (hasBias, accumulates) in [(false, false), (true, false), (false, true), (true, true)] {
        checkLinear(rows, inputs, outputs, hasBias: hasBias, accumulates: accumulates)
      }
    }
    // Widths with whole and with short pieces for each thread, and one that registers do not hold.
    for (rows, width) in [(1, 16), (3, 48), (65, 384), (5, 4096), (2, 14336), (2, 33040)] {
      checkNorm(rows, width)
      checkSwiGLU(rows, width)
    }
  }

  private mutating func checkLinear(
    _ rows: Int, _ inputs: Int, _ outputs: Int, hasBias: Bool, accumulates: Bool
  ) {
    // Rows and channels of very different sizes, and one row of zeros.
    var x = precision.rounded(numbers(rows * inputs))
    for row in 0..<rows {
      let size: Float = row == 1 ? 0 : [1, 1e-3, 64][row % 3]
      for place in row * inputs..<(row + 1) * inputs { x[place] *= size }
    }
    x = precision.rounded(x)
    var weight = numbers(outputs * inputs)
    for place in weight.indices where place / inputs % 5 == 0 { weight[place] *= 0x1p-6 }
    weight = weight.map { Float(bitPattern: $0.bitPattern & 0xFFFF_0000) }
    let bias = precision.rounded(numbers(outputs))
    let before = precision.rounded(numbers(rows * outputs))
    let places = (place(of: "linear fp8"), place(of: "linear fp8, of whole"))
    guard places != (nil, nil) else { return }
    let name =
      "\(rows) x \(inputs) to \(outputs)" + (hasBias ? ", bias" : "")
      + (accumulates ? ", added" : "")
    func sums(_ x: [Double], _ weight: [Double]) -> [Float] {
      (0..<rows * outputs).map { place in
        let (row, output) = (place / outputs, place % outputs)
        var sum = (hasBias ? Double(bias[output]) : 0) + (accumulates ? Double(before[place]) : 0)
        for i in 0..<inputs { sum += x[row * inputs + i] * weight[output * inputs + i] }
        return Float(sum)
      }
    }
    let result = Result {
      let side = KernelSide(backend, precision)
      let matrix = try side.weight(weight, [outputs, inputs], type: .bfloat16, as: .matrix)
      let y = try side.output([rows, outputs])
      if accumulates { try side.backend.write(before, to: y) }
      try side.backend.linear(
        side.tensor(x, [rows, inputs]), weight: matrix,
        bias: hasBias ? side.weight(bias, [outputs], type: .bfloat16, as: .bias) : nil, into: y,
        accumulate: accumulates)
      return (try side.backend.read(y), try side.guardsAreIntact())
    }
    let quantized = sums(
      Float8Rows(x, width: inputs).values, Float8Rows(weight, width: inputs).values)
    add(places.0, name, result, quantized, rows: rows, tolerance: Tolerance.quantized)
    let whole = sums(x.map(Double.init), weight.map(Double.init))
    add(places.1, name, result, whole, rows: rows, tolerance: Tolerance.whole)
  }

  private mutating func checkNorm(_ rows: Int, _ width: Int) {
    let x = precision.rounded(numbers(rows * width))
    let weight = numbers(width)
    guard let place = place(of: "rmsNorm to fp8") else { return }
    let result = Result {
      let side = KernelSide(backend, precision)
      let y = try side.backend.makeLinearInput([rows, width], purpose: "a verified kernel")
      try side.backend.rmsNorm(
        side.tensor(x, [rows, width]),
        weight: side.weight(weight, [width], type: .float32, as: .norm),
        epsilon: 1e-5, into: y)
      return (try side.backend.read(y), true)
    }
    let expected = (0..<rows).flatMap { row in
      let x = x[row * width..<(row + 1) * width].map(Double.init)
      let scale = 1 / (x.reduce(0) { $0 + $1 * $1 } / Double(width) + 1e-5).squareRoot()
      return zip(x, weight).map { Float($0 * scale * Double($1)) }
    }
    add(
      place, "\(rows) x \(width)", result, expected, rows: rows,
      tolerance: Tolerance.number)
  }

  private mutating func checkSwiGLU(_ rows: Int, _ width: Int) {
    let gate = precision.rounded(numbers(rows * width, magnitude: 4))
    let up = precision.rounded(numbers(rows * width))
    guard let place = place(of: "swiGLU to fp8") else { return }
    let reference = Result { () -> [Float] in
      let side = KernelSide(ReferenceBackend(tile: backend.tileShape(headDim: 64)), precision)
      let y = try side.tensor(gate, [rows, width])
      try side.backend.swiGLU(gate: y, up: side.tensor(up, [rows, width]))
      return try side.backend.read(y)
    }
    let result = Result {
      let side = KernelSide(backend, precision)
      let y = try side.backend.makeLinearInput([rows, width], purpose: "a verified kernel")
      try side.backend.swiGLU(
        gate: side.tensor(gate, [rows, width]), up: side.tensor(up, [rows, width]), into: y)
      return (try side.backend.read(y), true)
    }
    add(
      place, "\(rows) x \(width)", result, (try? reference.get()) ?? [],
      rows: rows, tolerance: Tolerance.number)
  }

  mutating func add(
    _ number: Int?, _ name: String,
    _ result: Result<([Float], Bool), any Error>, _ expected: [Float],
    rows: Int, tolerance: Double
  ) {
    guard let number else { return }
    switch result {
    case .success((let actual, true)):
      let width = expected.count / rows
      let errors = (0..<rows).map { row in
        let place = row * width..<(row + 1) * width
        return actual.count == expected.count
          ? KernelCheck.relativeError(Array(actual[place]), Array(expected[place]))
          : .infinity
      }
      checks[number].add(name, error: errors.max() ?? .infinity, tolerance: tolerance)
    case .success:
      checks[number].add(
        "\(name): wrote beyond its output", error: .infinity, tolerance: tolerance)
    case .failure(let error):
      checks[number].add("\(name): \(error)", error: .infinity, tolerance: tolerance)
    }
  }
}
