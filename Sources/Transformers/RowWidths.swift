import Compute

/// Elements of a row of each tensor that a block of rows is worked on with: what a ``RowWorkspace``
/// allocates and what a ``MemoryPlan`` counts.
struct RowWidths: Sendable {
  let hidden: Int
  /// Of queries and attention outputs, all heads together.
  let query: Int
  /// Of keys, and of values.
  let keyValue: Int
  /// Of the widest gated MLP; 0 where layers have experts alone.
  let intermediate: Int
  /// How experts are chosen, and the intermediate size of one; nil: there are none.
  let experts: (rule: RoutingRule, width: Int)?

  init(
    hidden: Int, intermediate: Int, attention: AttentionShape,
    experts: (rule: RoutingRule, width: Int)? = nil
  ) {
    self.hidden = hidden
    self.intermediate = intermediate
    self.experts = experts
    query = attention.queryHeads * attention.headDim
    keyValue = attention.keyValueHeads * attention.headDim
  }

  /// Elements in the activations' type: normed hidden states (or a layer's output before its norm),
  /// queries, keys, values, gates and ups.
  var activations: Int { hidden + query + 2 * keyValue + 2 * intermediate }

  /// Bytes of what goes into linear layers in eight bits: an element each of the normed hidden states,
  /// the attention output and the products, and a float32 factor for each of the four kinds of
  /// projections (q k v, o, gate up, down).
  var narrowInputBytes: Int {
    hidden + query + intermediate + 4 * MemoryLayout<Float>.size
  }

  /// Bytes of what experts work on a block of rows with (`ExpertWorkspace`), and of what products in
  /// eight bits take meanwhile.
  func expertBytes(rows: Int, activationBytes: Int, hasNarrowInputs: Bool) -> Int {
    guard let experts else { return 0 }
    let positions = rows * experts.rule.perRow
    // Outputs stand where inputs stood, unless those are narrower.
    let activations = positions * (hidden + experts.width) * activationBytes
    let factor = MemoryLayout<Float>.size
    let narrow = hasNarrowInputs ? positions * (hidden + experts.width + 2 * factor) : 0
    return activations + narrow + rows * experts.rule.experts * MemoryLayout<Float>.size
      + ExpertRouting.byteCount(rows: rows, rule: experts.rule)
  }
}
