import MInference
import StoredNumbers

/// Mixtures of experts: routing, and products of rows with the matrices of their experts.
extension KernelVerifier {
  /// Rows and a rule: few rows and many, groups of experts, experts that no row goes to.
  private static let routings: [(rows: Int, rule: RoutingRule)] = [
    (1, RoutingRule(experts: 1, perRow: 1, score: .softmax, normalizes: true)),
    (1, RoutingRule(experts: 128, perRow: 8, score: .softmax, normalizes: true)),
    (5, RoutingRule(experts: 7, perRow: 3, score: .softmax, normalizes: false, scaling: 1.5)),
    (33, RoutingRule(experts: 128, perRow: 8, score: .softmax, normalizes: true)),
    (300, RoutingRule(experts: 60, perRow: 4, score: .softmax, normalizes: true)),
    (9, RoutingRule(experts: 512, perRow: 32, score: .sigmoid, normalizes: true)),
    (
      70,
      RoutingRule(
        experts: 160, perRow: 6, score: .sigmoid, groups: 8, chosenGroups: 3, normalizes: true,
        scaling: 2.5)
    ),
    (
      3,
      RoutingRule(
        experts: 8, perRow: 3, score: .sigmoid, groups: 4, chosenGroups: 2, normalizes: false)
    ),
  ]

  mutating func checkExperts() {
    for (rows, rule) in Self.routings {
      for hasBias in [false, true] { checkRouting(rows, rule, hasBias: hasBias) }
    }
    for type in [DataType.float32, .float16, .bfloat16] {
      for (rows, experts, perRow, inputs, outputs) in Self.products {
        checkProducts("\(type)", rows, experts, perRow, inputs, outputs) { side, values, shape in
          try side.experts(values, shape, type: type)
        }
      }
    }
    for format in BlockFormat.allCases
    where backend.capabilities.weightFormats.contains(.blocks(format)) {
      checkBlockExperts(format)
    }
    checkFloat8Experts()
  }

  /// Logits that differ by 1/64 at least within a row, so that no rounding changes a choice. They do not lie
  /// about 0, where sums of two sigmoids tie.
  mutating func logits(rows: Int, experts: Int) -> [Float] {
    (0..<rows).flatMap { _ in
      var values = (0..<experts).map { Float($0 - experts / 2) / 64 + 0.75 }
      for index in stride(from: experts - 1, to: 0, by: -1) {
        values.swapAt(index, random.next(below: index + 1))
      }
      return values
    }
  }

  private mutating func checkRouting(_ rows: Int, _ rule: RoutingRule, hasBias: Bool) {
    let logits = logits(rows: rows, experts: rule.experts)
    // Steps that no two sums of a score, or of a logit, and a bias fall together with.
    let step: Float = rule.score == .sigmoid ? 512 : 8192
    let bias = (0..<rule.experts).map { _ in Float(random.next(below: 64)) / step }
    let width = precision.width(24)
    let x = numbers(rows * width)
    let parts = numbers(rows * rule.perRow * width)
    let before = precision.rounded(numbers(rows * width))
    let name =
      "\(rows) rows, \(rule.perRow) of \(rule.experts) by \(rule.score.rawValue)"
      + (rule.groups > 1 ? ", \(rule.chosenGroups) of \(rule.groups) groups" : "")
      + (hasBias ? ", bias" : "")
    func routing(_ side: KernelSide) throws -> ExpertRouting {
      let routing = try ExpertRouting(
        rows: rows, rule: rule, backend: side.backend, purpose: "a verified kernel")
      try side.backend.route(
        side.tensor(logits, [rows, rule.experts], .float32),
        bias: hasBias
          ? side.weight(bias, [rule.experts], type: .float32, as: .norm) : nil, into: routing)
      return routing
    }
    check("route", name, tolerance: 2e-6) { side in
      let routing = try routing(side)
      return [
        try side.backend.read(routing.weights),
        try side.backend.expertCounts(routing).map { Float($0) },
      ]
    }
    check("gatherRows by expert", name, tolerance: 1e-9) { side in
      let y = try side.output([rows * rule.perRow, width])
      try side.backend.gatherRows(side.tensor(x, [rows, width]), by: routing(side), into: y)
      return [try side.backend.read(y)]
    }
    check("addExperts", name, tolerance: 1e-5) { side in
      let y = try side.output([rows, width])
      try side.backend.write(before, to: y)
      try side.backend.addExperts(
        side.tensor(parts, [rows * rule.perRow, width]), by: routing(side), to: y)
      return [try side.backend.read(y)]
    }
  }

  /// Rows, experts, experts for a row, inputs, outputs: few positions and many, tiles that are not full,
  /// experts with several tiles and without rows.
  static let products = [
    (1, 1, 1, 1, 1), (1, 8, 2, 65, 33), (8, 128, 8, 64, 40), (30, 5, 3, 130, 67),
    (200, 4, 2, 96, 144), (70, 64, 2, 200, 72),
  ]

  mutating func checkProducts(
    _ format: String, _ rows: Int, _ experts: Int, _ perRow: Int, _ inputs: Int, _ outputs: Int,
    hasEightBitInputs: Bool = false,
    weights: (KernelSide, [Float], [Int]) throws -> ExpertWeights
  ) {
    let (inputs, outputs) = (precision.width(inputs), precision.width(outputs))
    let rule = RoutingRule(experts: experts, perRow: perRow, score: .softmax, normalizes: true)
    let logits = logits(rows: rows, experts: experts)
    let count = rows * perRow * inputs
    let x = hasEightBitInputs ? eightBitNumbers(count) : numbers(count)
    let shape = [experts, outputs, inputs]
    let gate = numbers(experts * outputs * inputs, magnitude: 0.2)
    let up = numbers(experts * outputs * inputs)
    let name = "\(rows) rows to \(perRow) of \(experts) experts of \(outputs) x \(inputs)"
    func run(
      _ side: KernelSide, _ body: (Tensor, ExpertRouting, Tensor) throws -> Void
    ) throws -> [[Float]] {
      let routing = try ExpertRouting(
        rows: rows, rule: rule, backend: side.backend, purpose: "a verified kernel")
      try side.backend.route(
        side.tensor(logits, [rows, experts], .float32), bias: nil, into: routing)
      let y = try side.output([rows * perRow, outputs])
      try body(side.tensor(x, [rows * perRow, inputs]), routing, y)
      return [try side.backend.read(y)]
    }
    check("expertLinear \(format)", name, tolerance: 1e-5) { side in
      try run(side) { x, routing, y in
        try side.backend.expertLinear(x, weight: weights(side, up, shape), by: routing, into: y)
      }
    }
    check("gatedExperts \(format)", name, tolerance: 1e-5) { side in
      try run(side) { x, routing, y in
        try side.backend.gatedExperts(
          x, gate: weights(side, gate, shape), up: weights(side, up, shape), by: routing, into: y)
      }
    }
    let biases = [numbers(experts * outputs), numbers(experts * outputs)]
    func biased(_ side: KernelSide, _ values: [Float], _ number: Int) throws -> ExpertWeights {
      try weights(side, values, shape).with(
        bias: side.weight(biases[number], [experts, outputs], type: .float32, as: .norm))
    }
    check("expertLinear \(format)", name + ", biases", tolerance: 1e-5) { side in
      try run(side) { x, routing, y in
        try side.backend.expertLinear(x, weight: biased(side, up, 0), by: routing, into: y)
      }
    }
    // A limit that many gates and ups are beyond. Products of random blocks are so large that what is left of
    // them within a limit would be their rounding.
    let limit: Float = hasEightBitInputs ? .greatestFiniteMagnitude : 1.5
    // Up plus one multiplies the rounding of a gate, and the limit bounds what both are compared with. Inputs that a
    // backend holds in bfloat16 are rounded on both sides.
    let roundsInputs = precision.roundsForBFloat16Weights && format == "bfloat16"
    let tolerance = precision.isHalf ? 3e-2 : roundsInputs ? 5e-2 : 1e-5
    check("gatedExperts \(format)", name + ", biases, clamped", tolerance: tolerance) { side in
      try run(side) { x, routing, y in
        try side.backend.gatedExperts(
          x, gate: biased(side, gate, 0), up: biased(side, up, 1),
          activation: .clampedSwiGLU(alpha: 1.702, limit: limit), by: routing, into: y)
      }
    }
  }

  private mutating func checkBlockExperts(_ format: BlockFormat) {
    for (rows, experts, perRow, blocks, outputs) in [(2, 6, 2, 3, 40), (90, 4, 2, 2, 72)] {
      let inputs = blocks * format.elementsPerBlock
      let matrices = (0..<experts).map { _ in
        StoredBlocks(format, rows: outputs, width: inputs, &random)
      }
      // What the numbers would be is of no interest: the blocks are the weights.
      checkProducts(
        format.rawValue, rows, experts, perRow, inputs, outputs, hasEightBitInputs: true
      ) { side, _, _ in
        try side.backend.prepareExperts(experts) { try matrices[$0].stored() }
      }
    }
  }

  // MARK: Eight bits

  /// Experts in eight bits against the same arithmetic on numbers quantized alike: inputs row by row,
  /// matrices output by output.
  mutating func checkNarrowExperts() {
    for (rows, experts, perRow, inputs, outputs) in [
      (1, 8, 2, 64, 48), (8, 16, 8, 128, 80), (40, 4, 2, 208, 144), (200, 6, 3, 384, 272),
    ] {
      checkNarrowExperts(rows, experts, perRow, inputs, outputs)
    }
  }

  private mutating func checkNarrowExperts(
    _ rows: Int, _ experts: Int, _ perRow: Int, _ inputs: Int, _ outputs: Int
  ) {
    let rule = RoutingRule(experts: experts, perRow: perRow, score: .softmax, normalizes: true)
    let logits = logits(rows: rows, experts: experts)
    let x = precision.rounded(numbers(rows * inputs))
    let shape = [experts, outputs, inputs]
    func matrices(_ magnitude: Float) -> [Float] {
      numbers(experts * outputs * inputs, magnitude: magnitude).map {
        Float(bitPattern: $0.bitPattern & 0xFFFF_0000)
      }
    }
    let (gate, up) = (matrices(0.2), matrices(1))
    guard let place = place(of: "gatedExperts fp8") else { return }
    let name = "\(rows) rows to \(perRow) of \(experts) experts of \(outputs) x \(inputs)"
    func quantized(_ values: [Float]) -> [Float] {
      Float8Rows(values, width: inputs).values.map { Float($0) }
    }
    func run(
      _ backend: any Backend, _ x: [Float], _ gate: [Float], _ up: [Float]
    ) throws -> ([Float], Bool) {
      let side = KernelSide(backend, precision)
      let routing = try ExpertRouting(
        rows: rows, rule: rule, backend: backend, purpose: "a verified kernel")
      try backend.route(side.tensor(logits, [rows, experts], .float32), bias: nil, into: routing)
      // Rows become narrow where a norm fills them; one of ones leaves numbers of size one.
      let input = try backend.makeLinearInput([rows, inputs], purpose: "a verified kernel")
      try backend.rmsNorm(
        side.tensor(x, [rows, inputs]),
        weight: side.weight(
          Array(repeating: 1, count: inputs), [inputs], type: .float32, as: .norm),
        epsilon: 1e-6, into: input)
      let gathered = try backend.makeLinearInput(
        [rows * perRow, inputs], purpose: "a verified kernel")
      try backend.gatherRows(input, by: routing, into: gathered)
      let y = try side.output([rows * perRow, outputs])
      try backend.gatedExperts(
        gathered, gate: side.experts(gate, shape, type: .bfloat16),
        up: side.experts(up, shape, type: .bfloat16), by: routing, into: y)
      return (try backend.read(y), try side.guardsAreIntact())
    }
    let reference = ReferenceBackend(tile: backend.tileShape(headDim: 64))
    let expected = Result { try run(reference, x, quantized(gate), quantized(up)).0 }
    add(
      place, name, Result { try run(backend, x, gate, up) }, (try? expected.get()) ?? [],
      rows: rows * perRow, tolerance: 0.1)
  }
}
