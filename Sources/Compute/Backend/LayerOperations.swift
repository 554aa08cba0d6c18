/// Everything of a layer but attention.
public protocol LayerOperations: AnyObject, Sendable {
  /// x[r] = table[ids[r]]. ids: rows, each in 0 ..< vocabulary; table: [vocabulary, hidden].
  func embed(_ ids: [Int32], table: Tensor, into x: Tensor) throws

  /// y[r] = x[r] / sqrt(mean(x[r]^2) + epsilon) * weight. x, y: [rows, hidden]; may be the same.
  func rmsNorm(_ x: Tensor, weight: Tensor, epsilon: Float, into y: Tensor) throws

  /// y = x * transpose(weight) + bias, added to what y holds if `accumulate`.
  /// x: [rows, in]; weight: [out, in] in any type; bias: [out]; y: [rows, out].
  func linear(_ x: Tensor, weight: Tensor, bias: Tensor?, into y: Tensor, accumulate: Bool) throws

  /// A matrix of a layer, [out, in], as this backend multiplies by it: the matrix itself, or a
  /// narrower form that replaces it. Embeddings and output layers stay as they are.
  func makeLinearWeight(_ weight: Tensor) throws -> Tensor

  /// An uninitialised tensor, [rows, in], for what goes into linear layers with such weights: filled
  /// by ``rmsNorm(_:weight:epsilon:into:)`` or ``swiGLU(gate:up:into:)`` and read by
  /// ``linear(_:weight:bias:into:accumulate:)``. Of the activations' type, or narrower.
  func makeLinearInput(_ shape: [Int], purpose: String) throws -> Tensor

  /// Turns x in place. x: [rows, heads, headDim]; row r stands at position firstPosition + r.
  func rotate(_ x: Tensor, _ rotary: RotaryEmbedding, firstPosition: Int) throws

  /// gate = silu(gate) * up. Both [rows, intermediate].
  func swiGLU(gate: Tensor, up: Tensor) throws

  /// input = silu(gate) * up, all [rows, intermediate], into a tensor of
  /// ``makeLinearInput(_:purpose:)`` that is narrower than the activations.
  func swiGLU(gate: Tensor, up: Tensor, into input: Tensor) throws

  /// y += x, of equal shapes.
  func add(_ x: Tensor, to y: Tensor) throws
}
