/// A device that models and estimators run on, in parts: each part is a protocol of its own.
///
/// Everything in which devices differ begins here. Operations take and fill tensors that the same
/// backend made. They check shapes and throw ``ComputeError``. They run in the order given, but not
/// always before the call returns: ``MemoryOperations/read(_:)`` and ``DeviceOperations/finish()``
/// wait. Activations are row-major, one token a row, and of the type that
/// ``DeviceCapabilities/activationType`` names.
///
/// No operation has a default. A backend without a kernel of its own for an operation calls
/// ``HostFallback`` by name, which records it.
public protocol Backend: DeviceOperations, MemoryOperations, WeightOperations, LayerOperations,
  ExpertOperations, AttentionOperations, DecodingOperations, EstimationOperations,
  SamplingOperations
{}
