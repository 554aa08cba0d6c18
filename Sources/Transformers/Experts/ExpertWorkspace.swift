import Compute

/// What experts work on a block of rows with; a part of a ``RowWorkspace``.
struct ExpertWorkspace {
  /// [rows, experts] float32
  let logits: Tensor
  let routing: ExpertRouting
  /// [positions, hidden]; what experts read
  let inputs: Tensor
  /// [positions, intermediate]
  let products: Tensor
  /// [positions, hidden]; what experts give
  let outputs: Tensor

  init(rows: Int, hidden: Int, width: Int, rule: RoutingRule, backend: any Backend) throws {
    let purpose = "experts' activations of \(rows) rows"
    logits = try backend.makeTensor(.float32, [rows, rule.experts], purpose: purpose)
    routing = try ExpertRouting(rows: rows, rule: rule, backend: backend, purpose: purpose)
    let positions = routing.positions
    inputs = try backend.makeLinearInput([positions, hidden], purpose: purpose)
    products = try backend.makeTensor(
      backend.activationType, [positions, width], purpose: purpose)
    outputs =
      backend.capabilities.hasNarrowLinearInputs
      ? try backend.makeTensor(backend.activationType, [positions, hidden], purpose: purpose)
      : inputs
  }

  private init(slicing whole: ExpertWorkspace, rows: Int) {
    logits = whole.logits.slice(rows: 0..<rows)
    routing = whole.routing.prefix(rows)
    let positions = 0..<routing.positions
    inputs = whole.inputs.slice(rows: positions)
    products = whole.products.slice(rows: positions)
    outputs = whole.outputs.slice(rows: positions)
  }

  /// The same for the first `rows` rows.
  func prefix(_ rows: Int) -> ExpertWorkspace { ExpertWorkspace(slicing: self, rows: rows) }
}
