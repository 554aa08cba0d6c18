import Compute

/// The kinds of feed-forward that a decoder layer may have. Each computes x -> y, [rows, hidden], from
/// the normed hidden states.
enum FeedForward: Sendable {
  case gated(GatedMLP)
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
