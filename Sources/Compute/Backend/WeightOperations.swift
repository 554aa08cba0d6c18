/// Preparing weights, once, when a model is loaded.
public protocol WeightOperations: AnyObject, Sendable {
  /// A tensor of a file as this backend uses it. Memory that the backend reads in place stays mapped.
  ///
  /// - Throws: ``ComputeError/unavailable(what:remedy:)`` for a format that is not among
  ///   ``DeviceCapabilities/weightFormats``, by its name; out of memory.
  func prepare(_ stored: StoredTensor, as role: WeightRole) throws -> Weight

  /// The same from numbers of any float type that this backend holds already.
  func prepare(_ numbers: Tensor, as role: WeightRole) throws -> Weight
}

/// What a weight is for, which decides the form that a backend keeps it in.
public enum WeightRole: Sendable, Hashable {
  /// A matrix of a layer, [out, in]; backends with ``DeviceCapabilities/linearInputType`` narrower than
  /// activations multiply by a narrower form.
  case matrix
  /// The embedding or the output layer, [vocabulary, hidden]; keeps its digits.
  case vocabulary
  /// What ``LayerOperations/rmsNorm(_:weight:epsilon:into:)`` multiplies with, [width].
  case norm
  /// What ``LayerOperations/linear(_:weight:bias:into:accumulate:)`` adds, [out].
  case bias
}

extension MemoryOperations {
  /// The elements of a dense weight. Waits.
  ///
  /// - Throws: ``ComputeError/shapeMismatch(operation:detail:)`` for blocks, and for weights with scales.
  public func read(_ weight: Weight) throws -> [Float] { try read(weight.tensor(for: "read")) }
}
