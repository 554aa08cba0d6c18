#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

extension ReferenceBackend {
  public func embed(_ ids: [Int32], table: Weight, into x: Tensor) throws {
    try require(
      table.shape.count == 2 && x.shape == [ids.count, table.rowCount], "embed",
      "\(ids.count) ids of a table \(table.shape) into \(x.shape)")
    try require(
      ids.allSatisfy { $0 >= 0 && Int($0) < table.rows }, "embed",
      "an id is outside 0 ..< \(table.rows)")
    let table = try table.tensor(for: "embed")
    try store(
      try ids.flatMap { try doubles(table.slice(rows: Int($0)..<Int($0) + 1)) }, in: x)
  }

  public func rmsNorm(_ x: Tensor, weight: Weight, epsilon: Float, into y: Tensor) throws {
    let width = x.rowCount
    try require(
      x.shape == y.shape && weight.count == width, "rmsNorm",
      "x \(x.shape), weight \(weight.shape), y \(y.shape)")
    let input = try doubles(x)
    let scale = try doubles(weight.tensor(for: "rmsNorm"))
    var output = input
    for row in 0..<x.rows {
      var squares = 0.0
      for column in 0..<width {
        squares += input[row * width + column] * input[row * width + column]
      }
      let rootMeanSquare = (squares / Double(width) + Double(epsilon)).squareRoot()
      for column in 0..<width {
        output[row * width + column] = input[row * width + column] / rootMeanSquare * scale[column]
      }
    }
    try store(output, in: y)
  }

  public func linear(
    _ x: Tensor, weight: Weight, bias: Weight?, into y: Tensor, accumulate: Bool
  ) throws {
    let (rows, inputs, outputs) = (x.rows, x.rowCount, weight.rows)
    try require(
      weight.rowCount == inputs && y.rows == rows && y.rowCount == outputs
        && (bias.map { $0.count == outputs } ?? true), "linear",
      "x \(x.shape), weight \(weight.shape), bias \(bias?.shape ?? []), y \(y.shape)")
    let input = try doubles(x)
    let matrix = try doubles(weight.tensor(for: "linear"))
    let offset = try bias.map { try doubles($0.tensor(for: "linear")) }
    var output =
      accumulate ? try doubles(y) : Array(repeating: 0, count: rows * outputs)
    for row in 0..<rows {
      for out in 0..<outputs {
        var sum = offset?[out] ?? 0
        for k in 0..<inputs {
          sum += input[row * inputs + k] * matrix[out * inputs + k]
        }
        output[row * outputs + out] += sum
      }
    }
    try store(output, in: y)
  }

  public func makeLinearInput(_ shape: [Int], purpose: String) throws -> Tensor {
    try makeTensor(activationType, shape, purpose: purpose)
  }

  public func rotate(_ x: Tensor, _ rotary: RotaryEmbedding, firstPosition: Int) throws {
    let pairs = rotary.inverseFrequencies.count
    try require(
      x.shape.count == 3 && 2 * pairs <= x.shape[2] && firstPosition >= 0, "rotate",
      "x \(x.shape), \(pairs) pairs, first position \(firstPosition)")
    let (rows, heads, headDim) = (x.shape[0], x.shape[1], x.shape[2])
    var values = try doubles(x)
    for row in 0..<rows {
      for (pair, frequency) in rotary.inverseFrequencies.enumerated() {
        // The product is float32 by definition; see RotaryEmbedding.
        let angle = Double(Float(firstPosition + row) * frequency)
        let cosine = cos(angle) * Double(rotary.attentionScaling)
        let sine = sin(angle) * Double(rotary.attentionScaling)
        for head in 0..<heads {
          let start = (row * heads + head) * headDim
          let (first, second) =
            switch rotary.layout {
            case .halves: (start + pair, start + pair + pairs)
            case .interleaved: (start + 2 * pair, start + 2 * pair + 1)
            }
          let (a, b) = (values[first], values[second])
          values[first] = a * cosine - b * sine
          values[second] = b * cosine + a * sine
        }
      }
    }
    try store(values, in: x)
  }

  public func swiGLU(gate: Tensor, up: Tensor) throws {
    try require(gate.shape == up.shape, "swiGLU", "gate \(gate.shape), up \(up.shape)")
    let factor = try doubles(up)
    let output = try doubles(gate).enumerated().map { index, value in
      value / (1 + exp(-value)) * factor[index]
    }
    try store(output, in: gate)
  }

  public func swiGLU(gate: Tensor, up: Tensor, into input: Tensor) throws {
    throw ComputeError.noNarrowInputs(name)
  }

  public func add(_ x: Tensor, to y: Tensor) throws {
    try require(x.shape == y.shape, "add", "x \(x.shape), y \(y.shape)")
    try store(zip(try doubles(x), try doubles(y)).map { $0 + $1 }, in: y)
  }
}
