import MInference

/// Linear layers of an 8B model, beside bare products of the device's library.
extension KernelSpeed {
  static let bareName = "bare product"

  /// Outputs and inputs of queries and attention output, of keys or values, of gate or up, of down.
  private static let shapes = [
    (hidden, hidden), (1024, hidden), (intermediate, hidden), (hidden, intermediate),
  ]

  private var products: Int { min(rows, 16384) }

  private func work(_ outputs: Int, _ inputs: Int) -> String {
    "\(products) x \(inputs) to \(outputs)"
  }

  private func operations(_ outputs: Int, _ inputs: Int) -> Double {
    2 * Double(products) * Double(outputs) * Double(inputs)
  }

  /// With and without the epilogues that layers use.
  mutating func measureProducts() throws {
    let device = device
    for (outputs, inputs) in Self.shapes {
      let matrix = try random([outputs, inputs])
      let input = try random([products, inputs])
      let output = try random([products, outputs])
      let bias = try device.prepare(random([outputs]), as: .bias)
      let weight = try device.prepare(matrix, as: .matrix)
      let bare = try device.bareProducts(input, weight: matrix, into: output, count: 8)
      let times = try medians(bare)
      guard let fastest = times.indices.min(by: { times[$0] < times[$1] }) else { continue }
      func linear(_ bias: Weight?, accumulate: Bool) -> () throws -> Void {
        {
          try device.linear(
            input, weight: weight, bias: bias, into: output, accumulate: accumulate)
        }
      }
      let measured = try medians([
        bare[fastest], linear(nil, accumulate: false), linear(nil, accumulate: true),
        linear(bias, accumulate: false),
      ])
      let names = [Self.bareName, "linear", "linear, added", "linear, bias"]
      for (name, seconds) in zip(names, measured) {
        add(
          name, work(outputs, inputs), operations: operations(outputs, inputs), seconds: seconds,
          bare: name == Self.bareName ? nil : measured[0])
      }
    }
  }

  /// The same in eight bits, beside the bare products in bfloat16 that were measured before; from inputs
  /// that are quantized already, and from such that are not.
  mutating func measureNarrow(bare: [Row]) throws {
    try measureQuantization()
    let device = device
    for (outputs, inputs) in Self.shapes {
      let matrix = try device.prepare(random([outputs, inputs]), as: .matrix)
      let plain = try random([products, inputs])
      let weight = try device.prepare(random([inputs], .float32), as: .norm)
      let input = try device.makeLinearInput([products, inputs], purpose: "measuring")
      try device.rmsNorm(plain, weight: weight, epsilon: 1e-5, into: input)
      let output = try random([products, outputs])
      func linear(_ input: Tensor, accumulate: Bool) -> () throws -> Void {
        {
          try device.linear(input, weight: matrix, bias: nil, into: output, accumulate: accumulate)
        }
      }
      let measured = try medians([
        linear(input, accumulate: false), linear(input, accumulate: true),
        linear(plain, accumulate: true),
      ])
      let names = ["linear fp8", "linear fp8, added", "linear fp8, quantized, added"]
      for (name, seconds) in zip(names, measured) {
        add(
          name, work(outputs, inputs), operations: operations(outputs, inputs), seconds: seconds,
          bare: bare.first { $0.work == work(outputs, inputs) }?.seconds)
      }
    }
  }
}
