/// What attention of many rows multiplies.
public enum AttentionPrecision: String, Sendable, Hashable, CaseIterable {
  /// Queries, keys and values as the backend keeps them.
  case native
  /// All of them, and the weights, rounded to float8 (e4m3); sums stay float32.
  case fp8
}
