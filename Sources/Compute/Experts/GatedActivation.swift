/// What a gated feed-forward makes of an output of its gate and of its up projection.
public enum GatedActivation: Sendable, Hashable {
  /// silu(gate) * up.
  case silu
  /// (u + 1) * g * sigmoid(alpha * g), where g is the gate, at most `limit`, and u is up between -limit and
  /// limit. Source: transformers, `models/gpt_oss`, `GptOssExperts`.
  case clampedSwiGLU(alpha: Float, limit: Float)
}
