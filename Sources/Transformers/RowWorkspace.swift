import Compute

/// Intermediate results of up to `rows` tokens within one layer, used again for every block of rows
/// and every layer: memory is bounded by the block, not by the prompt.
struct RowWorkspace {
  let rows: Int
  /// [rows, hidden]; goes into linear layers
  let normed: Tensor
  /// [rows, hidden]; a layer's output that is normed before it is added
  let output: Tensor
  /// [rows, queryHeads, headDim]; queries, then, in place, the attention output
  let q: Tensor
  /// [rows, keyValueHeads, headDim]
  let k: Tensor
  let v: Tensor
  /// [rows, intermediate]
  let gate: Tensor
  let up: Tensor
  /// [rows, intermediate]; goes into a linear layer. nil: the gates' place serves.
  let product: Tensor?
  /// nil: no layer has experts.
  let experts: ExpertWorkspace?

  init(rows: Int, configuration: DecoderConfiguration, backend: any Backend) throws {
    let shape = configuration.attention[0]
    func tensor(_ extents: Int...) throws -> Tensor {
      try backend.makeTensor(
        backend.activationType, [rows] + extents, purpose: "activations of \(rows) rows")
    }
    self.rows = rows
    func input(_ width: Int) throws -> Tensor {
      try backend.makeLinearInput([rows, width], purpose: "activations of \(rows) rows")
    }
    let widths = configuration.rowWidths
    normed = try input(widths.hidden)
    let isNarrow = backend.capabilities.hasNarrowLinearInputs
    output = isNarrow ? try tensor(widths.hidden) : normed
    product = isNarrow ? try input(widths.intermediate) : nil
    q = try tensor(shape.queryHeads, shape.headDim)
    k = try tensor(shape.keyValueHeads, shape.headDim)
    v = try tensor(shape.keyValueHeads, shape.headDim)
    gate = try tensor(widths.intermediate)
    up = try tensor(widths.intermediate)
    experts = try widths.experts.map {
      try ExpertWorkspace(
        rows: rows, hidden: widths.hidden, width: $0.width, rule: $0.rule, backend: backend)
    }
  }

  private init(slicing whole: RowWorkspace, rows: Int, q: Tensor? = nil) {
    self.rows = rows
    normed = whole.normed.slice(rows: 0..<rows)
    self.q = q ?? whole.q.slice(rows: 0..<rows)
    k = whole.k.slice(rows: 0..<rows)
    v = whole.v.slice(rows: 0..<rows)
    gate = whole.gate.slice(rows: 0..<rows)
    up = whole.up.slice(rows: 0..<rows)
    output = whole.output.slice(rows: 0..<rows)
    product = whole.product?.slice(rows: 0..<rows)
    experts = whole.experts?.prefix(rows)
  }

  /// The first `rows` rows of every tensor.
  func prefix(_ rows: Int) -> RowWorkspace { RowWorkspace(slicing: self, rows: rows) }

  /// As many rows of every tensor as `q` has, with queries and attention output in `q`.
  func prefix(queries q: Tensor) -> RowWorkspace { RowWorkspace(slicing: self, rows: q.rows, q: q) }
}
