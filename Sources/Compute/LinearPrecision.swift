/// What linear layers of a GPU multiply.
public enum LinearPrecision: String, Sendable, Hashable, CaseIterable {
  /// Weights and inputs in bfloat16, as checkpoints hold them.
  case bf16
  /// Both in eight bits (e4m3): weights with a factor for each output, quantized when they are loaded,
  /// inputs with a factor for each row, quantized as they come. Embedding and output layer stay bfloat16.
  case fp8
}
