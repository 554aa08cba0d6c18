import Compute

/// Elements of a row of each tensor that a block of rows is worked on with: what a ``RowWorkspace``
/// allocates and what a ``MemoryPlan`` counts.
struct RowWidths: Sendable, Equatable {
  let hidden: Int
  /// Of queries and attention outputs, all heads together.
  let query: Int
  /// Of keys, and of values.
  let keyValue: Int
  let intermediate: Int

  init(hidden: Int, intermediate: Int, attention: AttentionShape) {
    self.hidden = hidden
    self.intermediate = intermediate
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
}
