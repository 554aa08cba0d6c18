import MInference

/// Mixtures of experts of Qwen3-30B-A3B's sizes: routing, and products beside one bare product of the same
/// work, as if all rows went to one expert as large as those that a row passes.
extension KernelSpeed {
  private static let experts = 128
  private static let perRow = 8
  private static let expertHidden = 2048
  private static let expertWidth = 768

  private func work(_ positions: Int, _ outputs: Int, _ inputs: Int) -> String {
    "\(positions) of \(Self.experts) experts x \(inputs) to \(outputs)"
  }

  /// Rows at experts that are asked unequally often: logits of deviation 1, and a bias of each expert, the same
  /// for all rows, uniform in 0 ..< 1.25.
  private mutating func makeRouting(
    _ routedRows: Int
  ) throws -> (logits: Tensor, routing: ExpertRouting) {
    let rule = RoutingRule(
      experts: Self.experts, perRow: Self.perRow, score: .softmax, normalizes: true)
    let logits = try random([routedRows, Self.experts], .float32)
    var values = try device.read(logits)
    var generator = SeededGenerator(seed: 5)
    let bias = (0..<Self.experts).map { _ in Float(generator.next(below: 1000)) / 800 }
    for index in values.indices { values[index] += bias[index % Self.experts] }
    try device.write(values, to: logits)
    let routing = try ExpertRouting(
      rows: routedRows, rule: rule, backend: device, purpose: "measuring")
    try device.route(logits, bias: nil, into: routing)
    return (logits, routing)
  }

  /// - Parameter bare: Bare products that were measured before, where linear layers are narrow; nil:
  ///   they are measured here.
  mutating func measureExperts(bare: [Row]? = nil) throws {
    for rows in Set([8192, 16384].map { min($0, rows) }).sorted() {
      try measureExperts(rows, bare: bare)
    }
  }

  private mutating func measureExperts(_ routedRows: Int, bare: [Row]?) throws {
    let device = device
    let positions = routedRows * Self.perRow
    let (logits, routing) = try makeRouting(routedRows)
    let suffix = bare == nil ? "" : " fp8"
    let x = try random([routedRows, Self.expertHidden])
    var input = x
    if bare != nil {
      input = try device.makeLinearInput(x.shape, purpose: "measuring")
      try device.rmsNorm(
        x, weight: device.prepare(random([Self.expertHidden], .float32), as: .norm), epsilon: 1e-5,
        into: input)
    }
    let gathered = try device.makeLinearInput([positions, Self.expertHidden], purpose: "measuring")
    let products = try random([positions, Self.expertWidth])
    let outputs = try random([positions, Self.expertHidden])
    let shape = "\(routedRows) rows to \(Self.perRow) of \(Self.experts)"
    if bare == nil {
      try add("route", shape, bytes: Double(logits.byteCount + 16 * positions)) {
        try device.route(logits, bias: nil, into: routing)
      }
      try add("add experts", shape, bytes: Double(outputs.byteCount + 2 * x.byteCount)) {
        try device.addExperts(outputs, by: routing, to: x)
      }
    }
    let counts = try device.expertCounts(routing)
    let groups = "groups of \(counts.min() ?? 0) to \(counts.max() ?? 0)"
    try add(
      "gather" + suffix, "\(shape), \(groups)", bytes: Double(gathered.byteCount * 9 / 8)
    ) { try device.gatherRows(input, by: routing, into: gathered) }
    let gate = try device.prepareExperts(
      random([Self.experts, Self.expertWidth, Self.expertHidden]))
    let up = try device.prepareExperts(random([Self.experts, Self.expertWidth, Self.expertHidden]))
    let down = try device.prepareExperts(
      random([Self.experts, Self.expertHidden, Self.expertWidth]))
    let work = [(2 * Self.expertWidth, Self.expertHidden), (Self.expertHidden, Self.expertWidth)]
    // Where inputs are narrow, bare products were measured before.
    let plain = try bare == nil ? work.map { try bareProduct(positions, $0, $1) } : []
    let seconds = try medians(
      [
        { try device.gatedExperts(gathered, gate: gate, up: up, by: routing, into: products) },
        { try device.expertLinear(products, weight: down, by: routing, into: outputs) },
      ] + plain)
    for (number, (outputs, inputs)) in work.enumerated() {
      let described = self.work(positions, outputs, inputs)
      let operations = 2 * Double(positions) * Double(outputs) * Double(inputs)
      let plain =
        bare == nil
        ? seconds[2 + number] : bare?.first { $0.work == described }?.seconds ?? .infinity
      if bare == nil {
        add(Self.bareName, described, operations: operations, seconds: plain, bare: nil)
      }
      add(
        (number == 0 ? "gated experts" : "expert linear") + suffix, "\(described), \(groups)",
        operations: operations, seconds: seconds[number], bare: plain)
    }
  }

  /// The fastest way of the device's library to multiply all positions by one matrix.
  private mutating func bareProduct(
    _ positions: Int, _ outputs: Int, _ inputs: Int
  ) throws -> () throws -> Void {
    let ways = try device.bareProducts(
      random([positions, inputs]), weight: random([outputs, inputs]),
      into: random([positions, outputs]), count: 8)
    let times = try medians(ways)
    return ways[times.indices.min { times[$0] < times[$1] } ?? 0]
  }
}
