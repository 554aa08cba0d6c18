import Compute

/// The kinds of feed-forward that a decoder layer may have. Each computes x -> y, [rows, hidden], from
/// the normed hidden states.
enum FeedForward: Sendable {
  case gated(GatedMLP)
  case experts(ExpertMLP)
}

/// down(silu(gate(x)) * up(x)).
struct GatedMLP: Sendable {
  /// [intermediate, hidden]
  let gate: Projection
  /// [intermediate, hidden]
  let up: Projection
  /// [hidden, intermediate]
  let down: Projection
}

/// The sum of the outputs of the experts that a router chooses for a row, each a gated MLP with the family's
/// activation, times their weights, and of a shared expert's where there is one.
struct ExpertMLP: Sendable {
  /// [experts, hidden]; keeps its digits, for which experts are chosen hangs on them.
  let router: Projection
  /// [experts]; see `RoutingRule`.
  let routingBias: Weight?
  /// [intermediate, hidden] of each expert.
  let gate: ExpertWeights
  let up: ExpertWeights
  /// [hidden, intermediate] of each expert.
  let down: ExpertWeights
  /// For every row.
  let shared: GatedMLP?
}
