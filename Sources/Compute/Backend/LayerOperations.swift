/// Everything of a layer but attention.
public protocol LayerOperations: AnyObject, Sendable {
  /// x[r] = table[ids[r]]. ids: rows, each in 0 ..< vocabulary; table: [vocabulary, hidden].
  func embed(_ ids: [Int32], table: Weight, into x: Tensor) throws

  /// y[r] = x[r] / sqrt(mean(x[r]^2) + epsilon) * weight. x, y: [rows, hidden]; may be the same.
  func rmsNorm(_ x: Tensor, weight: Weight, epsilon: Float, into y: Tensor) throws

  /// y = x * transpose(weight) + bias, added to what y holds if `accumulate`.
  /// x: [rows, in]; weight: [out, in]; bias: [out]; y: [rows, out].
  func linear(_ x: Tensor, weight: Weight, bias: Weight?, into y: Tensor, accumulate: Bool) throws

  /// An uninitialised tensor, [rows, in], for what goes into the linear layers of a layer: filled by ``rmsNorm(_:weight:epsilon:into:)`` or ``swiGLU(gate:up:into:)`` and read by
  /// ``linear(_:weight:bias:into:accumulate:)``. Of
  /// ``DeviceCapabilities/linearInputType``.
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
